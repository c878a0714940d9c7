"""Trust signals in the graph: each rises where it should, by shapes whose value is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from physedge.models.blocks.diffusion import AtrousDiffusion
from physedge.models.pmrnet_e import pmrnet_e
from physedge.models.pmrnet_s import pmrnet_s
from physedge.models.reparameterise import reparameterise
from physedge.models.signals import (
    HalvedForeground,
    RangeGrowth,
    SignallingSegmentation,
    Unsureness,
    declared_signals,
    with_signals,
)
from physedge_export.graph import graph_outputs
from physedge_export.trace import trace
from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.frame import FrameSpec
from physedge_runtime.spec import ModelSpec, Task
from physedge_runtime.trust import PREFIX, signals_of


def disk(side_px: int = 64, radius_px: float = 16.0, centre: tuple[float, float] = (32.0, 32.0)) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(side_px), torch.arange(side_px), indexing="ij")
    inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius_px**2
    return inside.to(torch.float32)[None, None]


def test_the_network_is_unsure_by_what_is_missing_to_one_inside_the_mask() -> None:
    unsure = Unsureness()
    mask, inner = disk(), disk(radius_px=8.0)
    area = mask.sum().item() + 1
    assert unsure(mask).item() == 0.0
    assert unsure(0.75 * mask).item() == pytest.approx(0.25 * (area - 1) / area)
    weight = 0.5 * inner.sum().item()  # at one half the ramp is one half
    expected = 0.5 * weight / (area - inner.sum().item() + weight)
    assert unsure(torch.where(inner > 0, 0.5, mask)).item() == pytest.approx(expected)
    assert unsure(torch.zeros(1, 1, 64, 64)).item() == 0.0


def test_background_leak_does_not_add_up_to_a_mask() -> None:
    foreground = HalvedForeground()(torch.full((1, 1, 64, 64), -5.0))
    assert foreground.sum().item() > 5
    assert Unsureness()(foreground).item() == 0.0


def test_a_diffusion_never_widens_its_range_and_a_broken_one_is_seen() -> None:
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(2, 3, 16, 16, generator=generator)
    diffusion, growth = AtrousDiffusion(3), RangeGrowth()
    quarter, source = torch.full_like(u, 0.25), torch.randn(2, 3, 1, 1, generator=generator)
    assert growth(u, diffusion(u, quarter, source)).max().item() < 1e-5
    assert growth(u, diffusion(u, 4.0 * quarter, source)).max().item() > 0.05


@pytest.mark.parametrize("factory", [pmrnet_e, pmrnet_s])
def test_several_classes_have_the_same_signals(factory: Callable[..., nn.Module]) -> None:
    network = with_signals(reparameterise(factory(classes=3)))
    answers = network(torch.rand(2, 3, 32, 32))
    assert answers["logits"].shape == (2, 3, 32, 32)
    assert {name: tuple(value.shape) for name, value in answers.items() if name != "logits"} == {
        PREFIX + name: (2, 1) for name in declared_signals(network)
    }
    signals = torch.cat([value for name, value in answers.items() if name != "logits"])
    assert 0.0 <= signals.min() and signals.max() <= 1.0


def test_a_network_that_segments_nothing_is_left_as_it_is() -> None:
    plain = torch.nn.Conv2d(3, 1, 1)
    assert with_signals(plain) is plain
    assert declared_signals(plain) == {}


def test_the_graph_gives_the_same_signals_as_torch() -> None:
    torch.manual_seed(0)
    network = with_signals(reparameterise(pmrnet_e()))
    assert isinstance(network, SignallingSegmentation)
    spec = ModelSpec(
        name="s", task=Task.SEGMENTATION, classes=("background", "lesion"), frame=FrameSpec(height=32, width=32)
    )
    traced = trace(network, spec)
    import onnx

    outputs = {output.name: output.shape for output in graph_outputs(onnx.load_from_string(traced.model))}
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    request = EngineRequest(graph=traced.model, graph_sha256="", input_shape=(1, 32, 32, 3), outputs=outputs, threads=1)
    with open_engine("onnxruntime", request) as engine:
        found = signals_of(engine.infer(picture))
    image = (torch.from_numpy(picture).permute(0, 3, 1, 2).to(torch.float32) / 255 - 0.5) / 0.25
    with torch.no_grad():
        expected = {
            name.removeprefix(PREFIX): value.item() for name, value in network(image).items() if name != "logits"
        }
    assert set(found) == set(declared_signals(network))
    assert found == pytest.approx(expected, abs=1e-4)
