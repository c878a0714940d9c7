"""`pmrnet_s`: its physics holds for every weight, deployed it is the same function, its sizes suit the kernels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.fold import Foldable
from physedge.models.blocks.wave import EnergyGradient, WaveCoupling, WaveStage
from physedge.models.pmrnet_s import PMRNetS, pmrnet_s
from physedge.models.registry import find
from physedge.models.reparameterise import reparameterise
from physedge.models.strict import pmrnet_s as strict
from physedge_runtime.errors import UsageError

CHANNELS, SIDE = 2, 3


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(13)


def scrambled(module: nn.Module) -> nn.Module:
    """In float64 and evaluation mode, with random weights and statistics."""
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


def jacobian(coupling: nn.Module, z: Tensor) -> Tensor:
    """d[q'; p'] / d[q; p] on a whole grid."""

    def step(flat: Tensor) -> Tensor:
        q, p = flat.reshape(2, 1, CHANNELS, SIDE, SIDE).unbind()
        return torch.cat([half.flatten() for half in coupling(q, p)])

    found = torch.autograd.functional.jacobian(step, z)
    assert isinstance(found, Tensor)
    return found


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("deployed", [False, True])
def test_the_wave_is_symplectic_on_the_whole_grid(seed: int, kernel_size: int, deployed: bool) -> None:
    torch.manual_seed(seed)
    coupling = scrambled(WaveCoupling(CHANNELS, 4, kernel_size))
    half = CHANNELS * SIDE * SIDE
    jac = jacobian(reparameterise(coupling) if deployed else coupling, torch.randn(2 * half, dtype=torch.float64))
    eye, zero = torch.eye(half, dtype=torch.float64), torch.zeros(half, half, dtype=torch.float64)
    omega = torch.cat((torch.cat((zero, eye), dim=1), torch.cat((-eye, zero), dim=1)))
    assert (jac - torch.eye(2 * half, dtype=torch.float64)).abs().max() > 1e-2  # it does something
    assert (jac.T @ omega @ jac - omega).abs().max() < 1e-10
    assert torch.linalg.det(jac).item() == pytest.approx(1.0, abs=1e-9)


def test_an_outward_convolution_of_its_own_would_not_be_symplectic() -> None:
    coupling = scrambled(WaveCoupling(CHANNELS, 4, 3))
    folded = reparameterise(coupling)
    last = [part for part in folded.modules() if isinstance(part, nn.Conv2d)][-1]
    with torch.no_grad():
        last.weight.add_(torch.randn_like(last.weight))
    half = CHANNELS * SIDE * SIDE
    jac = jacobian(folded, torch.randn(2 * half, dtype=torch.float64))
    eye, zero = torch.eye(half, dtype=torch.float64), torch.zeros(half, half, dtype=torch.float64)
    omega = torch.cat((torch.cat((zero, eye), dim=1), torch.cat((-eye, zero), dim=1)))
    assert (jac.T @ omega @ jac - omega).abs().max() > 1e-2


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_a_move_is_the_gradient_of_its_energy(kernel_size: int) -> None:
    move = scrambled(EnergyGradient(3, 5, kernel_size))
    assert isinstance(move, EnergyGradient) and move.norm.running_var is not None
    with torch.no_grad():  # BN without a scale: with one the gradient has it too
        move.norm.weight.copy_(torch.sqrt(move.norm.running_var + move.norm.eps))
    x = torch.randn(2, 3, 6, 4, dtype=torch.float64, requires_grad=True)
    spread = x if move.spread is None else move.spread(x)
    strength = functional.softplus(move.strength)
    energy = (strength[:, None, None] * torch.relu(move.norm(move.inward(spread))).square() / 2).sum()
    (expected,) = torch.autograd.grad(energy, x)
    torch.testing.assert_close(move(x), expected, atol=1e-10, rtol=0)
    assert bool((strength >= 0).all())


def test_momenta_begin_as_derivatives_of_the_positions() -> None:
    stage = WaveStage(4, 8, moves=1)
    kernel = stage.derivative.kernel()
    torch.testing.assert_close(kernel.sum(dim=(1, 2, 3)), torch.zeros(8))
    potential = stage.moves[0].potential.spread
    before = potential.weight.clone()
    stage.start_from_derivatives()
    torch.testing.assert_close(potential.weight, 0.1 * before + kernel)


def test_sizes_suit_the_kernels() -> None:
    network = pmrnet_s()
    assert sum(parameter.numel() for parameter in network.parameters()) <= 870_000
    widths = {part.out_channels for part in network.modules() if isinstance(part, nn.Conv2d)} - {1, 16}
    assert all(width % 32 == 0 for width in widths), widths
    # Nothing but the stem at half of the side, nothing at all at the full one.
    seen: dict[int, list[str]] = {}
    for name, part in network.named_modules():
        if isinstance(part, nn.Conv2d):
            part.register_forward_hook(
                lambda _part, _given, out, name=name: seen.setdefault(out.shape[-1], []).append(name)
            )
    network.eval()(torch.zeros(1, 3, 64, 64))
    assert seen[32] == ["stem.branches.0"]
    assert max(seen) == 32


def test_deployed_it_is_the_same_function_with_nothing_left_to_fold() -> None:
    network = scrambled_gently(pmrnet_s(auxiliary=True))
    deployed = reparameterise(network)
    assert isinstance(deployed, PMRNetS)
    image = torch.randn(2, 3, 48, 32).double()
    with torch.no_grad():
        expected, found = network.forward_with_auxiliary(image), deployed.forward_with_auxiliary(image)
    for a, b in zip(
        (expected.logits, *expected.auxiliary, *expected.boundary),
        (found.logits, *found.auxiliary, *found.boundary),
        strict=True,
    ):
        assert a.std() > 0
        torch.testing.assert_close(a, b, atol=1e-8, rtol=1e-9)
    assert not [part for part in deployed.modules() if isinstance(part, Foldable | nn.BatchNorm2d)]


def scrambled_gently(network: nn.Module) -> nn.Module:
    """Statistics of an example, offsets off zero: scales stay those of a network that learns."""
    network.double()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() <= 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
        for part in network.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = None
        network.train()(torch.randn(2, 3, 48, 32).double())
    return network.eval()


@pytest.mark.parametrize(("classes", "channels"), [(1, 3), (4, 1)])
def test_any_size_that_fits(classes: int, channels: int) -> None:
    network = pmrnet_s(classes=classes, channels=channels, auxiliary=True).eval()
    for height, width in ((16, 48), (32, 48)):
        with torch.no_grad():
            out = network.forward_with_auxiliary(torch.randn(2, channels, height, width))
        assert out.logits.shape == (2, classes, height, width) and out.logits.dtype == torch.float32
        assert [tuple(value.shape) for value in out.auxiliary] == [(2, classes, height // 8, width // 8)]
        assert [value.shape[-1] for value in out.boundary] == [width // 8, width // 4]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match=r"PE-MODEL-001: an input of 100x64 pixels .* multiples of 16; resize"):
        pmrnet_s()(torch.zeros(1, 3, 100, 64))
    with pytest.raises(UsageError, match="PE-MODEL-003: 0 classes"):
        pmrnet_s(classes=0)


def test_every_weight_learns_and_the_loss_falls() -> None:
    torch.manual_seed(2)
    network = pmrnet_s().to(memory_format=torch.channels_last)
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:20, 10:26] = 1.0
    image = (mask + 0.3 * torch.randn(2, 3, 32, 32)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    losses = []
    for _ in range(6):
        out = network.forward_with_auxiliary(image)
        loss = functional.binary_cross_entropy_with_logits(out.logits, mask)
        optimiser.zero_grad()
        (loss + 1e-3 * sum(value.square().mean() for value in out.boundary)).backward()
        if not losses:
            without = [name for name, one in network.named_parameters() if one.grad is None or not one.grad.any()]
            assert without == []
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_it_is_registered_traced_and_loaded_like_the_others(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    network = find("pmrnet_s").build(classes=1, channels=3, physics="paper", auxiliary=True).eval()
    assert isinstance(network, PMRNetS) and len(network.auxiliary) == 1
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    again = strict().eval()
    again.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    image = torch.randn(1, 3, 32, 48)
    deployed = reparameterise(again)
    with torch.no_grad():
        assert torch.equal(network(image), again(image))
        torch.testing.assert_close(deployed(image), network(image), atol=1e-3, rtol=1e-3)
    program = torch.export.export(deployed, (image,))
    torch.testing.assert_close(program.module()(image), deployed(image), atol=1e-4, rtol=1e-4)
    floats = {type(part).__name__ for part in network.modules() if getattr(part, "keep_float", False)}
    assert floats == {"FloatHead", "AtrousDiffusion", "EntropyDiffusivity", "Uncertainty", "MeanSource"}
