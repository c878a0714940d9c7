"""The deployed network computes what the trained one computes, with nothing left to fold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from physedge.models.blocks.convolution import ConvNorm, SeparableNorm, depthwise, pointwise
from physedge.models.blocks.coupling import FreeCoupling, SymplecticCoupling
from physedge.models.blocks.derivative import DirectionalDerivative
from physedge.models.blocks.downsample import StridedDownsample
from physedge.models.blocks.edge_form import (
    AtrousContext,
    BoundaryFusion,
    EdgeCoupling,
    FoldingDownsample,
    Refinement,
)
from physedge.models.blocks.fold import Foldable, summed, with_input
from physedge.models.blocks.gradient_coupling import GradientCoupling
from physedge.models.blocks.memory import PrototypeMemory
from physedge.models.blocks.rotation import RotatedMaximum, RotatedScales
from physedge.models.pmrnet import PMRNet, pmrnet
from physedge.models.pmrnet_e import PMRNetE, pmrnet_e
from physedge.models.reparameterise import reparameterise

NETWORKS: dict[str, Callable[[], PMRNet | PMRNetE]] = {
    "pmrnet": lambda: pmrnet(),
    "pmrnet strict": lambda: pmrnet(physics="strict"),
    "pmrnet_e": lambda: pmrnet_e(auxiliary=True),
    "pmrnet_e strict": lambda: pmrnet_e(physics="strict"),
    "pmrnet_e gini, grey, two classes": lambda: pmrnet_e(entropy="gini", channels=1, classes=2),
}


def settled(network: nn.Module, *example: Tensor) -> nn.Module:
    """Evaluation mode, with the statistics of the example, as after training."""
    for norm in norms(network):
        norm.momentum = None
    with torch.no_grad():
        network.train()(*example)
    return network.eval()


def unsettled(network: nn.Module, *example: Tensor) -> nn.Module:
    """Evaluation mode, with statistics near those of the example but off, and with scales of either sign."""
    generator = torch.Generator().manual_seed(7)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator).to(like)

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() <= 1:
                parameter.add_(0.3 * noise(parameter))
        for norm in norms(network):
            norm.weight[::5] *= -1.0
        settled(network, *example)
        for norm in norms(network):
            assert norm.running_mean is not None and norm.running_var is not None
            norm.running_mean += 0.3 * noise(norm.running_mean) * norm.running_var.sqrt()
            norm.running_var *= torch.exp(0.3 * noise(norm.running_var))
    return network


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_keep_their_function(name: str) -> None:
    torch.manual_seed(3)
    network = NETWORKS[name]()
    image = torch.randn(2, network.channels, 48, 64)
    settled(network, image)
    with torch.no_grad():
        logits = network(image)
        assert (reparameterise(network)(image) - logits).abs().max() < 1e-4
    assert 0.1 < logits.std() < 10.0


@pytest.mark.parametrize("name", NETWORKS)
def test_every_output_is_the_same_in_double_precision(name: str) -> None:
    torch.manual_seed(3)
    network = NETWORKS[name]().double()
    image = torch.randn(2, network.channels, 48, 32).double()
    unsettled(network, image)
    deployed = reparameterise(network)
    assert isinstance(deployed, PMRNet | PMRNetE)
    with torch.no_grad():
        expected, found = network.forward_with_auxiliary(image), deployed.forward_with_auxiliary(image)
    assert len(found.auxiliary) == len(expected.auxiliary) == len(getattr(network, "auxiliary", ()))
    for a, b in zip(
        (expected.logits, *expected.auxiliary, *expected.boundary),
        (found.logits, *found.auxiliary, *found.boundary),
        strict=True,
    ):
        assert a.std() > 0.0
        assert (a - b).abs().max() < 1e-9


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_left_to_fold(name: str) -> None:
    deployed = reparameterise(NETWORKS[name]())
    left = [type(part).__name__ for part in deployed.modules()]
    assert not [kind for kind in left if "BatchNorm" in kind]
    assert not [part for part in deployed.modules() if isinstance(part, Foldable)]
    assert not {"DirectionalDerivative", "RotatedMaximum", "StepSize"} & set(left)
    assert not any(parameter.requires_grad for parameter in deployed.parameters())
    assert not deployed.training


def pictures(*shapes: tuple[int, int, int]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    return tuple(torch.randn(2, *shape, generator=generator) for shape in shapes)


@pytest.mark.parametrize(
    ("block", "inputs"),
    [
        (ConvNorm(depthwise(6, 3), depthwise(6, 5), activation=nn.ReLU()), pictures((6, 9, 7))),
        (SeparableNorm(4, 6, activation=nn.SiLU()), pictures((4, 9, 7))),
        (DirectionalDerivative(5), pictures((5, 9, 7))),
        (FreeCoupling(4, bounded=True), pictures((4, 9, 7), (4, 9, 7))),
        (SymplecticCoupling(4, bounded=False), pictures((4, 9, 7), (4, 9, 7))),
        (EdgeCoupling(8, "paper"), pictures((8, 9, 7))),
        (EdgeCoupling(8, "strict"), pictures((8, 9, 7))),
        (FoldingDownsample(8, 16), pictures((8, 8, 6))),
        (AtrousContext(8, 16), pictures((8, 9, 7))),
        (BoundaryFusion(8, 6), pictures((8, 4, 5), (6, 8, 10))),
        (Refinement(8), pictures((8, 9, 7))),
        (GradientCoupling(8, "paper"), pictures((8, 9, 7))),
        (RotatedScales(16, "paper"), pictures((16, 9, 7))),
        (RotatedScales(16, "strict"), pictures((16, 9, 7))),
        (PrototypeMemory(16, 5), pictures((16, 9, 7))),
        (StridedDownsample(6, 8, "paper"), pictures((6, 8, 6))),
        (StridedDownsample(6, 8, "strict"), pictures((6, 8, 6))),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_blocks_keep_their_function_up_to_the_border(block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    exact = tuple(value.double() for value in inputs)
    unsettled(block.double(), *exact)
    deployed = reparameterise(block)
    with torch.no_grad():
        expected, found = block(*exact), deployed(*exact)
    for a, b in zip(expected, found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-11, rtol=0)


def test_parallel_kernels_become_one() -> None:
    folded = reparameterise(ConvNorm(depthwise(6, 3), depthwise(6, 5)))
    assert isinstance(folded, nn.Conv2d)
    assert folded.kernel_size == (5, 5) and folded.bias is not None


def test_training_uses_the_common_kernel_and_teaches_both() -> None:
    block = ConvNorm(depthwise(6, 3), depthwise(6, 5)).double()
    (x,) = (value.double() for value in pictures((6, 9, 7)))
    apart = block.norm(block.branches[0](x) + block.branches[1](x))
    expected = torch.autograd.grad(apart.square().sum(), list(block.parameters()))
    together = block(x)
    torch.testing.assert_close(together, apart)
    for found, wanted in zip(
        torch.autograd.grad(together.square().sum(), list(block.parameters())), expected, strict=True
    ):
        torch.testing.assert_close(found, wanted, atol=1e-9, rtol=1e-9)


def test_folding_downsample_is_one_strided_convolution() -> None:
    folded = reparameterise(FoldingDownsample(4, 6))
    convolutions = [part for part in folded.modules() if isinstance(part, nn.Conv2d)]
    assert [(part.kernel_size, part.stride) for part in convolutions] == [((2, 2), (2, 2))]


def test_rotations_are_four_constant_kernels() -> None:
    branch = reparameterise(RotatedScales(16, "strict")).branches
    assert isinstance(branch, nn.ModuleList)
    for part in branch:
        assert not [inner for inner in part.modules() if isinstance(inner, RotatedMaximum)]
        assert len([inner for inner in part.modules() if isinstance(inner, nn.Conv2d)]) == 4


def test_a_step_too_small_to_divide_by_stays_a_factor() -> None:
    block = EdgeCoupling(8, "paper").double()
    torch.nn.init.constant_(block.coupling.step.value, -9.0)
    (x,) = pictures((8, 9, 7))
    unsettled(block, x.double())
    deployed = reparameterise(block)
    assert max(parameter.abs().max().item() for parameter in deployed.parameters()) < 1e3
    with torch.no_grad():
        torch.testing.assert_close(block(x.double()), deployed(x.double()), atol=1e-11, rtol=0)


def test_the_trained_network_is_not_changed() -> None:
    network = pmrnet_e().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    deployed = reparameterise(network)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    shared = {value.data_ptr() for value in network.parameters()} & {
        value.data_ptr() for value in deployed.parameters()
    }
    assert not shared


def test_folding_twice_changes_nothing() -> None:
    image = pictures((3, 16, 16))[0]
    once = reparameterise(pmrnet_e())
    twice = reparameterise(once)
    assert torch.equal(once(image), twice(image))


def test_what_cannot_be_folded_is_refused() -> None:
    with pytest.raises(ValueError, match="no common kernel"):
        summed([pointwise(4, 4), nn.Conv2d(4, 4, 3, stride=2, padding=1, bias=False)])
    with pytest.raises(ValueError, match="pointwise convolution only"):
        with_input(depthwise(4), factor=1.0, shift=0.5)
