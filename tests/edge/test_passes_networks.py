"""Every pass of every target on our own networks as they were trained: the same answers, from real pictures on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from physedge.deploy.golden import golden_frames
from physedge.deploy.network import demo_weights, load_weights
from physedge.models.physnet import physnet_e
from physedge.models.registry import factory_options, find
from physedge_export.graph import TracedGraph
from physedge_export.passes.base import GraphPass, run_passes
from physedge_export.passes.table import PASSES
from physedge_export.trace import trace
from physedge_runtime.frame import Frame, FrameSpec
from physedge_runtime.resize import prepare

SIDE = 64
CASES = sorted({(make.__name__, make) for passes in PASSES.values() for make in passes}, key=lambda case: case[0])


@cache
def traced(name: str) -> TracedGraph:
    """The network as it was trained, nothing folded: all that a pass may find is still there."""
    torch.manual_seed(5)
    network = find(name).build()
    if name == "pmrnet_e":
        load_weights(network, demo_weights(name))
    else:
        network.train()(torch.randn(2, 3, SIDE, SIDE))  # statistics of a picture
    return trace(network.eval(), find(name).spec.model_copy(update={"frame": FrameSpec(height=SIDE, width=SIDE)}))


@cache
def frames() -> tuple[NDArray[np.uint8], ...]:
    spec = find("pmrnet_e").spec.model_copy(update={"frame": FrameSpec(height=SIDE, width=SIDE)})
    assert spec.frame is not None
    return tuple(prepare(Frame(pixels=frame), spec.frame)[np.newaxis] for frame in golden_frames(spec))


def answers(model: bytes) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(["probability"], {"frame": frame})[0] for frame in frames()])


@pytest.mark.parametrize("name", ["pmrnet_e", "pmrnet_s"])
@pytest.mark.parametrize(("_title", "make"), CASES, ids=[title for title, _ in CASES])
def test_a_pass_keeps_the_answers(name: str, _title: str, make: Callable[[], GraphPass]) -> None:
    graph = traced(name)
    data, _ = run_passes(graph.model, [make()])
    expected = answers(graph.model)
    assert expected.std() > 1e-3
    assert np.abs(answers(data) - expected).max() < 1e-5


@pytest.mark.parametrize("target", PASSES)
def test_all_passes_of_a_target_together(target: str) -> None:
    graph = traced("pmrnet_e")
    data, report = run_passes(graph.model, [make() for make in PASSES[target]])
    assert np.abs(answers(data) - answers(graph.model)).max() < 1e-5
    # Eleven pairs of parallel kernels became one each, and no normalisation is left anywhere.
    assert report.changed["sum_convolutions"] == 11
    before, after = (
        Counter(node.op_type for node in onnx.load_from_string(model).graph.node) for model in (graph.model, data)
    )
    assert before["Conv"] - after["Conv"] == 11
    assert "BatchNormalization" in before and "BatchNormalization" not in after


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_an_output_that_is_next_to_nothing_is_held_against_its_own_rounding(target: str) -> None:
    torch.manual_seed(5)
    spec = find("physnet_e").spec
    network = physnet_e(**factory_options(spec))
    network.train()(torch.randn(2, 3, 224, 224))
    with torch.no_grad():  # cells that are next to surely sound: a density of 1e-7
        network.block.density.output.project.bias -= 16.0
    graph = trace(network.eval(), spec)
    _, report = run_passes(graph.model, [make() for make in PASSES[target]])
    assert any(report.changed.values())
