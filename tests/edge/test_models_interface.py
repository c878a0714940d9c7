"""What a user of the networks meets: shapes, refusals, weights on disk, training, tracing, float islands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from physedge.models.blocks.convolution import SeparableNorm
from physedge.models.blocks.global_flow import LearnedFlow
from physedge.models.pmrnet import PMRNet, pmrnet
from physedge.models.pmrnet_e import PMRNetE, pmrnet_e
from physedge.models.reparameterise import reparameterise
from physedge.models.segmentation import FloatHead
from physedge_runtime.errors import UsageError

Factory = Callable[..., PMRNet | PMRNetE]
FACTORIES = pytest.mark.parametrize("factory", [pmrnet, pmrnet_e])
PHYSICS = pytest.mark.parametrize("physics", ["paper", "strict"])


@FACTORIES
@PHYSICS
@pytest.mark.parametrize(("classes", "channels"), [(1, 3), (4, 1)])
def test_any_size_that_fits(factory: Factory, physics: str, classes: int, channels: int) -> None:
    network = factory(classes=classes, channels=channels, physics=physics).eval()
    for height, width in ((network.multiple, 3 * network.multiple), (32, 48)):
        with torch.no_grad():
            logits = network(torch.randn(2, channels, height, width))
        assert logits.shape == (2, classes, height, width)
        assert logits.dtype == torch.float32


def test_auxiliary_and_boundary_maps_of_pmrnet_e() -> None:
    out = pmrnet_e(classes=2, auxiliary=True).forward_with_auxiliary(torch.randn(2, 3, 32, 64))
    assert out.logits.shape == (2, 2, 32, 64)
    assert [tuple(value.shape) for value in out.auxiliary] == [(2, 2, 4, 8), (2, 2, 8, 16), (2, 2, 16, 32)]
    assert [tuple(value.shape) for value in out.boundary] == [
        (2, 1, 4, 8),
        (2, 1, 8, 16),
        (2, 1, 16, 32),
        (2, 1, 32, 64),
    ]


def test_boundary_maps_of_pmrnet() -> None:
    out = pmrnet().forward_with_auxiliary(torch.randn(2, 3, 16, 24))
    assert out.auxiliary == ()
    assert [tuple(value.shape) for value in out.boundary] == [(2, 1, 4, 6), (2, 1, 8, 12), (2, 1, 16, 24)]


@FACTORIES
def test_the_two_ways_of_running_agree(factory: Factory) -> None:
    network = factory().eval()
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(image), network.forward_with_auxiliary(image).logits)


@pytest.mark.parametrize(
    ("factory", "shape", "message"),
    [
        (pmrnet, (1, 3, 100, 64), r"PE-MODEL-001: an input of 100x64 pixels .* multiples of 8; resize to 96x64"),
        (pmrnet_e, (1, 3, 64, 7), r"PE-MODEL-001: an input of 64x7 pixels .* multiples of 16; resize to 64x16"),
        (pmrnet_e, (1, 3, 0, 16), r"PE-MODEL-001"),
        (pmrnet, (1, 1, 64, 64), r"PE-MODEL-002: an input of shape \(1, 1, 64, 64\); expected \(batch, 3, "),
        (pmrnet_e, (3, 64, 64), r"PE-MODEL-002: an input of shape \(3, 64, 64\)"),
    ],
)
def test_pictures_that_do_not_fit(factory: Factory, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        factory()(torch.zeros(shape))


@FACTORIES
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 0}, "PE-MODEL-003: 0 classes and 3 input channels"),
        ({"channels": 0}, "PE-MODEL-003"),
        ({"physics": "newton"}, "PE-MODEL-004: physics 'newton'; expected 'paper' or 'strict'"),
    ],
)
def test_networks_that_cannot_be_built(factory: Factory, options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        factory(**options)


def test_an_entropy_that_does_not_exist() -> None:
    with pytest.raises(UsageError, match="PE-MODEL-006: entropy 'boltzmann'"):
        pmrnet_e(entropy="boltzmann")  # type: ignore[arg-type]


@FACTORIES
def test_one_seed_gives_one_network(factory: Factory) -> None:
    torch.manual_seed(41)
    first = factory().state_dict()
    torch.manual_seed(41)
    second = factory().state_dict()
    torch.manual_seed(42)
    other = factory().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@FACTORIES
@PHYSICS
def test_weights_come_back_from_a_file(factory: Factory, physics: str, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    network, again = factory(physics=physics).eval(), factory(physics=physics).eval()
    safetensors.save_file(network.state_dict(), tmp_path / "weights.safetensors")
    again.load_state_dict(safetensors.load_file(tmp_path / "weights.safetensors"))
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(image), again(image))


def test_a_deployed_network_passes_over_the_auxiliary_heads() -> None:
    trained, deployed = pmrnet_e(auxiliary=True).eval(), pmrnet_e().eval()
    deployed.load_state_dict(trained.state_dict())
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(trained(image), deployed(image))
    with pytest.raises(RuntimeError, match="Unexpected key"):
        deployed.load_state_dict({**trained.state_dict(), "head.scale": torch.ones(1)})
    with pytest.raises(RuntimeError, match="Missing key"):
        trained.load_state_dict(deployed.state_dict())


@FACTORIES
@PHYSICS
def test_the_loss_of_one_batch_falls(factory: Factory, physics: str) -> None:
    torch.manual_seed(2)
    network = factory(physics=physics).to(memory_format=torch.channels_last)
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 8:20, 10:26] = 1.0
    image = (mask + 0.3 * torch.randn(2, 3, 32, 32)).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    losses = []
    for _ in range(6):
        out = network.forward_with_auxiliary(image)
        loss = nn.functional.binary_cross_entropy_with_logits(out.logits, mask)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] < 2.0
    assert losses[-1] < 0.7 * losses[0]


@FACTORIES
@PHYSICS
def test_every_weight_learns(factory: Factory, physics: str) -> None:
    torch.manual_seed(2)
    network = factory(physics=physics)
    out = network.forward_with_auxiliary(torch.randn(2, 3, 32, 32))
    (out.logits.square().mean() + sum(value.square().mean() for value in out.boundary)).backward()
    without = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


@FACTORIES
@PHYSICS
def test_the_deployed_network_can_be_traced(factory: Factory, physics: str) -> None:
    deployed = reparameterise(factory(physics=physics))
    image = torch.randn(1, 3, 32, 48)
    program = torch.export.export(deployed, (image,))
    torch.testing.assert_close(program.module()(image), deployed(image), atol=1e-5, rtol=1e-5)


ISLANDS = {
    "pmrnet paper": {"FloatHead", "PrototypeAttention", "PictureSource", "LearnedDiffusivity", "LocalVariance"}
    | {"DiffusionStep"},
    "pmrnet strict": {"FloatHead", "PrototypeAttention", "PictureSource", "PhysicalDiffusivity", "LocalVariance"}
    | {"DiffusionStep", "AveragingDiffusion"},
    "pmrnet_e paper": {"FloatHead", "AtrousDiffusion", "EntropyDiffusivity", "Uncertainty", "MeanSource"},
}
ISLANDS["pmrnet_e strict"] = ISLANDS["pmrnet_e paper"]


def islands(network: nn.Module) -> set[str]:
    return {type(part).__name__ for part in network.modules() if getattr(part, "keep_float", False)}


@FACTORIES
@PHYSICS
def test_the_float_islands_are_these(factory: Factory, physics: str) -> None:
    expected = ISLANDS[f"{factory.__name__} {physics}"]
    network = factory(physics=physics)
    assert islands(network) == expected
    folded = {"CosineWeights" if name == "PrototypeAttention" else name for name in expected}
    assert islands(reparameterise(network)) == folded


@FACTORIES
def test_the_head_gives_the_logits(factory: Factory) -> None:
    heads: list[Tensor] = []
    network = factory().eval()
    (head,) = (part for part in network.modules() if isinstance(part, FloatHead))
    head.register_forward_hook(lambda _module, _inputs, out: heads.append(out))
    logits = network(torch.randn(1, 3, 16, 16))
    assert heads[0] is logits


def test_the_paper_flow_keeps_only_its_sums_in_float() -> None:
    flow = LearnedFlow(16)
    assert all(isinstance(kernel, SeparableNorm) and not islands(kernel) for kernel in flow.kernels)
    assert not getattr(flow, "keep_float", False)
