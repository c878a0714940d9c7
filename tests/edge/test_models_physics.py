"""What the strict forms promise for every weight, where the paper's forms break it, and known defects of the field."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.coupling import FreeCoupling, SymplecticCoupling
from physedge.models.blocks.derivative import DirectionalDerivative
from physedge.models.blocks.diffusion import AtrousDiffusion, five_point_degree
from physedge.models.blocks.downsample import ShiftAndGain, StridedDownsample, TanhNudge
from physedge.models.blocks.edge_form import AtrousContext, EntropyDiffusivity, FoldingDownsample, Uncertainty
from physedge.models.blocks.gated_residual import GatedResidual
from physedge.models.blocks.global_flow import (
    AveragingDiffusion,
    LearnedDiffusivity,
    LearnedFlow,
    LocalVariance,
    PhysicalDiffusivity,
)
from physedge.models.blocks.gradient_coupling import GradientMagnitude
from physedge.models.blocks.memory import PrototypeAttention
from physedge.models.blocks.rotation import RotatedBranch, RotatedMaximum, RotatedScales
from physedge.models.pmrnet import pmrnet


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(11)


def scrambled(module: nn.Module) -> nn.Module:
    """The module in float64 and evaluation mode with random weights and statistics."""
    module.double().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter))
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                assert part.running_mean is not None and part.running_var is not None
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2.0)
    return module


# --- Coupling ---------------------------------------------------------------------------------------------------------

CHANNELS = 5


def jacobian(coupling: nn.Module, z: Tensor) -> Tensor:
    """d[q'; p'] / d[q; p] at one pixel, (2 channel, 2 channel)."""

    def step(flat: Tensor) -> Tensor:
        q, p = flat.reshape(1, 2 * CHANNELS, 1, 1).chunk(2, dim=1)
        out: Tensor = coupling(q, p)
        return out.flatten()

    found = torch.autograd.functional.jacobian(step, z)
    assert isinstance(found, Tensor)
    return found


def symplectic_defect(coupling: nn.Module) -> float:
    z = torch.randn(2 * CHANNELS, dtype=torch.float64)
    jac = jacobian(coupling, z)
    eye, zero = torch.eye(CHANNELS, dtype=torch.float64), torch.zeros(CHANNELS, CHANNELS, dtype=torch.float64)
    omega = torch.cat((torch.cat((zero, eye), dim=1), torch.cat((-eye, zero), dim=1)))
    return (jac.T @ omega @ jac - omega).abs().max().item()


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_strict_coupling_is_symplectic_for_any_weights(seed: int, bounded: bool) -> None:
    torch.manual_seed(seed)
    coupling = scrambled(SymplecticCoupling(CHANNELS, bounded=bounded))
    assert symplectic_defect(coupling) < 1e-10
    determinant = torch.linalg.det(jacobian(coupling, torch.randn(2 * CHANNELS, dtype=torch.float64)))
    assert determinant.item() == pytest.approx(1.0, abs=1e-10)


def test_paper_coupling_is_not_symplectic() -> None:
    assert symplectic_defect(scrambled(FreeCoupling(CHANNELS, bounded=True))) > 1e-2


def test_strict_coupling_is_two_sequential_gradient_steps() -> None:
    coupling = scrambled(SymplecticCoupling(CHANNELS, bounded=False))
    q, p = torch.randn(2, 1, CHANNELS, 1, 1, dtype=torch.float64)

    def gradient(shear: nn.Module, x: Tensor) -> Tensor:
        """A^T (a * tanh(BN(A x))) by matrices."""
        matrix = shear.inward.weight[:, :, 0, 0]
        strength = functional.softplus(shear.strength)
        assert bool((strength >= 0).all())
        bent = torch.tanh(shear.norm((matrix @ x.flatten()).reshape(1, -1, 1, 1))).flatten()
        return (matrix.T @ (strength * bent)).reshape_as(x)

    step = coupling.step.value
    q_next = q + step * gradient(coupling.kinetic, p)
    p_next = p - step * gradient(coupling.potential, q_next)
    torch.testing.assert_close(coupling(q, p), torch.cat((q_next, p_next), dim=1), atol=1e-12, rtol=0)


def test_paper_coupling_is_the_formula_with_a_free_matrix() -> None:
    coupling = scrambled(FreeCoupling(CHANNELS, bounded=True))
    q, p = torch.randn(2, 2, CHANNELS, 3, 4, dtype=torch.float64)
    stored = coupling.mix.branches[0].weight
    printed = torch.cat((stored[:, CHANNELS:], -stored[:, :CHANNELS]), dim=1)  # W, which acts on [p; -q].
    turned = coupling.mix.norm(functional.conv2d(torch.cat((p, -q), dim=1), printed))
    expected = torch.cat((q, p), dim=1) + torch.sigmoid(coupling.step.value) * torch.tanh(turned)
    torch.testing.assert_close(coupling(q, p), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("bounded", "start"), [(True, 0.5), (False, 0.1)])
def test_steps_start_where_they_should(bounded: bool, start: float) -> None:
    assert FreeCoupling(2, bounded=bounded).step().item() == pytest.approx(start)


# --- Diffusion --------------------------------------------------------------------------------------------------------


def field(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64)


def diffusion_cases() -> list[tuple[nn.Module, float]]:
    """The strict recursions with random kernels, and the largest diffusivity that each allows."""
    return [(scrambled(AveragingDiffusion(4)), 1.0), (AtrousDiffusion(4).double(), 0.25)]


@pytest.mark.parametrize("case", [0, 1], ids=["3x3 averages", "a-trous"])
@pytest.mark.parametrize("height_width", [(9, 7), (3, 20), (1, 1)])
def test_the_range_never_grows_without_a_source(case: int, height_width: tuple[int, int]) -> None:
    diffusion, largest = diffusion_cases()[case]
    none = torch.zeros(1, 4, 1, 1, dtype=torch.float64)
    for share in (torch.rand, torch.ones, torch.zeros):
        u = 10.0 * field(3, 4, *height_width)
        out = diffusion(u, largest * share(u.shape, dtype=torch.float64), none)
        low, high = u.amin(dim=(2, 3)), u.amax(dim=(2, 3))
        assert bool((out.amin(dim=(2, 3)) >= low - 1e-12).all())
        assert bool((out.amax(dim=(2, 3)) <= high + 1e-12).all())


@pytest.mark.parametrize("case", [0, 1], ids=["3x3 averages", "a-trous"])
def test_a_constant_field_stays_constant(case: int) -> None:
    diffusion, largest = diffusion_cases()[case]
    constant = torch.full((1, 4, 6, 5), 3.5, dtype=torch.float64)
    none = torch.zeros(1, 4, 1, 1, dtype=torch.float64)
    out = diffusion(constant, largest * torch.rand_like(constant), none)
    torch.testing.assert_close(out, constant, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("case", "steps"), [(0, 3), (1, 4)], ids=["3x3 averages", "a-trous"])
def test_a_source_adds_at_most_a_tenth_per_step(case: int, steps: int) -> None:
    diffusion, largest = diffusion_cases()[case]
    u, source = field(2, 4, 8, 8), torch.tanh(field(2, 4, 1, 1))
    out = diffusion(u, largest * torch.rand_like(u), source)
    assert out.abs().max() <= u.abs().max() + 0.1 * steps * source.abs().max() + 1e-12
    still = diffusion(u, torch.zeros_like(u), source)
    torch.testing.assert_close(still, u + 0.1 * steps * source)


def test_the_bound_of_a_quarter_is_needed() -> None:
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    board = (1.0 - 2.0 * ((rows + columns) % 2)).double()[None, None]
    none = torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    diffusion = AtrousDiffusion(1, steps=1).double()
    assert diffusion(board, torch.full_like(board, 0.25), none).abs().max() <= 1.0
    assert diffusion(board, torch.full_like(board, 0.5), none).abs().max() == pytest.approx(3.0)


def test_paper_flow_is_no_diffusion() -> None:
    flow = LearnedFlow(16).eval()
    flow.source.requires_grad_(False)
    nn.init.zeros_(flow.source.mixer.widen.weight)
    constant = torch.full((1, 16, 6, 6), 2.0)
    with torch.no_grad():
        u = flow(constant) - constant
    assert (u - constant).abs().max() > 0.1


@pytest.mark.parametrize("reach", [1, 2, 4])
def test_laplacian_of_a_paraboloid(reach: int) -> None:
    y, x = torch.meshgrid(torch.arange(16.0).double(), torch.arange(14.0).double(), indexing="ij")
    paraboloid = (x**2 + y**2)[None, None]
    found = AtrousDiffusion(1).double().laplacian(paraboloid, reach)
    inside = found[..., reach:-reach, reach:-reach]
    torch.testing.assert_close(inside, torch.full_like(inside, 4.0 * reach**2))


def test_the_degree_counts_the_neighbours_inside() -> None:
    degree = five_point_degree(3, 4, 1, like=torch.zeros(1))
    assert degree[0, 0].tolist() == [[2, 3, 3, 2], [3, 4, 4, 3], [2, 3, 3, 2]]
    far = five_point_degree(5, 5, 2, like=torch.zeros(1))[0, 0]
    assert far[0, 0] == 2 and far[1, 1] == 2 and far[2, 2] == 4 and far[2, 0] == 3
    assert five_point_degree(4, 4, 8, like=torch.zeros(1)).max() == 0


def test_zero_flux_is_edge_padding_at_reach_one_only() -> None:
    u = field(1, 1, 8, 8)

    def edge_padded(reach: int) -> Tensor:
        padded = functional.pad(u, (reach,) * 4, mode="replicate")
        kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).double()[None, None]
        return functional.conv2d(padded, kernel, dilation=reach)

    diffusion = AtrousDiffusion(1).double()
    torch.testing.assert_close(diffusion.laplacian(u, 1), edge_padded(1))
    assert (diffusion.laplacian(u, 2) - edge_padded(2)).abs().max() > 0.1


def test_a_trous_diffusion_reaches_fifteen_cells() -> None:
    impulse = torch.zeros(1, 1, 33, 33)
    impulse[..., 16, 16] = 1.0
    out = AtrousDiffusion(1)(impulse, torch.full_like(impulse, 0.2), torch.zeros(1, 1, 1, 1))
    columns = out[0, 0].abs().sum(dim=0).nonzero().flatten()
    assert (columns.min().item(), columns.max().item()) == (16 - 15, 16 + 15)


def test_averaging_kernels_are_averages() -> None:
    kernels = torch.stack(scrambled(AveragingDiffusion(4)).kernels())
    assert kernels.shape == (3, 4, 1, 3, 3)
    assert kernels.min() > 0
    torch.testing.assert_close(kernels.sum(dim=(-1, -2)), torch.ones(3, 4, 1, dtype=torch.float64))


# --- Diffusivity, variance, uncertainty -------------------------------------------------------------------------------


def test_variance_is_zero_in_homogeneous_areas_up_to_the_border() -> None:
    torch.testing.assert_close(LocalVariance()(torch.full((1, 2, 5, 6), 7.0)), torch.zeros(1, 2, 5, 6))
    step = torch.zeros(1, 1, 9, 12)
    step[..., 6:] = 1.0
    variance = LocalVariance()(step)
    assert variance[..., 5:7].min() > 0.05
    assert variance[..., :3].max() == 0.0


def test_variance_is_the_formula() -> None:
    x = field(1, 1, 5, 5)
    mean = torch.stack([x[0, 0, i - 1 : i + 2, j - 1 : j + 2].mean() for i in (1, 2, 3) for j in (1, 2, 3)])
    centre = (x[0, 0, 1:4, 1:4] - mean.reshape(3, 3)).square().mean()
    torch.testing.assert_close(LocalVariance()(x)[0, 0, 2, 2], centre)


def test_strict_diffusivity_falls_with_variance_and_rises_with_uncertainty() -> None:
    diffusivity = scrambled(PhysicalDiffusivity(16))
    variance = torch.linspace(0.0, 50.0, 64, dtype=torch.float64).reshape(1, 1, 8, 8).expand(1, 16, 8, 8)
    uncertainty = torch.full((1, 1, 8, 8), 0.7, dtype=torch.float64)
    falling = diffusivity.diffusivity(uncertainty, variance).flatten(2).diff(dim=-1)
    assert bool((falling < 0).all())
    rising = diffusivity.diffusivity(variance[:, :1] / 50.0, torch.full_like(variance, 2.0)).flatten(2).diff(dim=-1)
    assert bool((rising > 0).all())


def test_strict_diffusivity_is_a_fraction() -> None:
    diffusivity = scrambled(PhysicalDiffusivity(16))
    for size in (0.0, 1.0, 1e4):
        found = diffusivity(size * field(2, 16, 8, 8))
        assert 0.0 <= found.min() and found.max() <= 1.0 + 1e-12


def test_high_variance_means_low_diffusion() -> None:
    diffusivity = PhysicalDiffusivity(16).double()
    nn.init.zeros_(diffusivity.score.weight)  # Undecided everywhere: only the variance is left.
    picture = torch.zeros(1, 16, 12, 12, dtype=torch.float64)
    picture[..., 6:] = 6.0
    found = diffusivity(picture)
    assert found[..., 5:7].max() < 0.5
    torch.testing.assert_close(found[..., :3], torch.ones_like(found[..., :3]))


def test_paper_diffusivity_may_rise_with_the_variance() -> None:
    diffusivity = LearnedDiffusivity(16).double()
    nn.init.ones_(diffusivity.mixer.squeeze.weight)
    nn.init.ones_(diffusivity.mixer.widen.weight)
    flat, rough = torch.zeros(1, 16, 8, 8, dtype=torch.float64), field(1, 16, 8, 8)
    assert diffusivity(rough).mean() > diffusivity(flat).mean()


@pytest.mark.parametrize("form", ["shannon", "gini"])
def test_uncertainty_is_one_when_undecided_and_zero_when_sure(form: str) -> None:
    uncertainty = Uncertainty(form)  # type: ignore[arg-type]
    undecided = uncertainty(torch.full((1, 32, 2, 2), -4.0))
    torch.testing.assert_close(undecided, torch.ones(1, 1, 2, 2))
    sure = torch.zeros(1, 32, 2, 2)
    sure[:, 3] = 200.0
    torch.testing.assert_close(uncertainty(sure), torch.zeros(1, 1, 2, 2))
    assert torch.isfinite(uncertainty(1e4 * torch.randn(1, 32, 2, 2))).all()


def test_two_equal_choices_are_log_two_uncertain() -> None:
    logits = torch.full((1, 32, 1, 1), -1e3)
    logits[:, :2] = 0.0
    assert Uncertainty("shannon")(logits).item() == pytest.approx(math.log(2) / math.log(32))
    assert Uncertainty("gini")(logits).item() == pytest.approx(0.5 * 32 / 31)


def test_edge_diffusivity_stays_within_a_quarter() -> None:
    diffusivity = scrambled(EntropyDiffusivity(8, "shannon"))
    found = diffusivity(100.0 * field(1, 8, 6, 6))
    assert 0.0 <= found.min() and found.max() <= 0.25


def test_edge_context_diffuses_within_its_bound() -> None:
    context = scrambled(AtrousContext(16, 8))
    u = context.project(field(1, 16, 12, 12))
    out = context.diffusion(u, context.diffusivity(u), context.source(u))
    low, high = u.amin(dim=(2, 3)), u.amax(dim=(2, 3))
    assert bool((out.amin(dim=(2, 3)) >= low - 0.4 - 1e-12).all())
    assert bool((out.amax(dim=(2, 3)) <= high + 0.4 + 1e-12).all())


# --- Rotations, scales, downsampling ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_strict_rotations_are_equivariant(dilation: int, turns: int) -> None:
    branch = scrambled(RotatedBranch(6, shared=True, dilation=dilation))
    x = field(1, 6, 10, 10)
    rotated = branch(torch.rot90(x, turns, dims=(2, 3)))
    torch.testing.assert_close(rotated, torch.rot90(branch(x), turns, dims=(2, 3)), atol=1e-12, rtol=0)


def test_paper_rotations_are_equal_only_at_the_start() -> None:
    maximum = RotatedMaximum(6, shared=False).double()
    x = field(1, 6, 10, 10)

    def defect() -> float:
        return (maximum(torch.rot90(x, 1, dims=(2, 3))) - torch.rot90(maximum(x), 1, dims=(2, 3))).abs().max().item()

    assert defect() < 1e-12
    scrambled(maximum)
    assert defect() > 0.1


def footprint(module: nn.Module, channels: int) -> int:
    """Width of the square of inputs that the middle output looks at, pixels."""
    x = torch.randn(1, channels, 21, 21, dtype=torch.float64, requires_grad=True)
    module.double().eval()(x)[..., 10, 10].sum().backward()
    assert x.grad is not None
    touched = x.grad.abs().sum(dim=(0, 1, 2)).nonzero().flatten()
    return int(touched.max() - touched.min()) + 1


def test_strict_scales_have_three_receptive_fields() -> None:
    strict = [footprint(branch, 16) for branch in RotatedScales(16, "strict").branches]
    paper = [footprint(branch, 16) for branch in RotatedScales(16, "paper").branches]
    assert strict == [3, 5, 7]
    assert paper == [3, 3, 3]


def test_scale_weights_are_shares() -> None:
    weights = scrambled(RotatedScales(16, "paper").weights)(field(2, 16, 5, 4))
    assert weights.shape == (2, 3, 5, 4) and weights.min() > 0
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2, 5, 4, dtype=torch.float64))


def test_strict_nudge_is_the_formula_as_printed() -> None:
    nudge = scrambled(ShiftAndGain(4))
    x = field(1, 4, 6, 5)
    separate, dense = nudge.fields
    both = dense.norm(dense.branches[0](separate(x)))
    expected = x + nudge.strength * (torch.tanh(both[:, :4]) + torch.sigmoid(both[:, 4:]) * x)
    torch.testing.assert_close(nudge(x), expected)


def test_paper_nudge_is_at_most_a_tenth() -> None:
    x = 50.0 * field(1, 4, 6, 5)
    moved = (scrambled(TanhNudge(4))(x) - x).abs().max().item()
    assert 0.09 < moved <= 0.1 + 1e-9


def test_folding_downsample_is_space_to_depth_and_a_pointwise_layer() -> None:
    down = scrambled(FoldingDownsample(3, 8))
    x = field(2, 3, 8, 6)
    weight = down.branches[0].weight.reshape(8, 12, 1, 1)
    expected = torch.relu(down.norm(functional.conv2d(functional.pixel_unshuffle(x, 2), weight)))
    torch.testing.assert_close(down(x), expected)


def test_strided_downsample_is_a_convolution_and_a_mean() -> None:
    down = scrambled(StridedDownsample(3, 8, "paper"))
    x = field(1, 3, 8, 6)
    moved = down.couple(x)
    low = functional.silu(down.low.norm(functional.conv2d(moved, down.low.branches[0].weight, stride=2, padding=1)))
    mean = moved.reshape(1, 3, 4, 2, 3, 2).mean(dim=(3, 5))
    high = down.high.norm(functional.conv2d(mean, down.high.branches[0].weight))
    torch.testing.assert_close(down(x), low + down.share * high)
    assert StridedDownsample(3, 8, "paper").share.item() == pytest.approx(0.3)


# --- Defects seen elsewhere -------------------------------------------------------------------------------------------


def test_a_vertical_ramp_in_one_channel_has_a_gradient_in_that_channel_only() -> None:
    ramp = torch.zeros(1, 4, 8, 8)
    ramp[:, 0] = 3.0 * torch.arange(8.0)[:, None]
    gradient = GradientMagnitude(4)(ramp)
    torch.testing.assert_close(gradient[:, 0, 1:-1, 1:-1], torch.full((1, 6, 6), 3.0 / math.sqrt(2.0)))
    assert gradient[:, 1:].abs().max() == 0.0


def test_a_directional_derivative_of_a_ramp() -> None:
    derivative = DirectionalDerivative(6)
    y, x = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
    ramp = (2.0 * x + 5.0 * y).expand(1, 6, 7, 9)
    expected = 2.0 * torch.cos(derivative.angle) + 5.0 * torch.sin(derivative.angle)
    found = derivative(ramp)[0, :, 1:-1, 1:-1]
    torch.testing.assert_close(found, expected[:, None, None].expand(6, 5, 7), atol=1e-4, rtol=1e-5)


def test_step_counts_are_those_of_the_paper() -> None:
    for physics in ("paper", "strict"):
        network = pmrnet(physics=physics)  # type: ignore[arg-type]
        steps = {
            name: len([part for part in stage.modules() if isinstance(part, GatedResidual)])
            for name, stage in network.named_children()
        }
        assert {name: number for name, number in steps.items() if number} == {
            "encoder2": 2,
            "encoder3": 3,
            "bottleneck": 3,
        }
    assert len(LearnedFlow(16).steps) == len(AveragingDiffusion(16).steps) == 3


def test_prototype_weights_are_cosines() -> None:
    attention = PrototypeAttention(32, 5).double()
    query = field(1, 16, 3, 3)
    weights = attention.weights(query)
    torch.testing.assert_close(weights, attention.weights(7.0 * query))
    keys = attention.prototypes[:, :16]
    cosine = functional.cosine_similarity(query[0, :, 1, 1][None], keys, dim=1)
    torch.testing.assert_close(weights[0, :, 1, 1], torch.softmax(10.0 * cosine, dim=0))
