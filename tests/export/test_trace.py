"""The traced graph does what the module does, tells nothing of the machine, and refuses what it must."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from physedge_export.graph import TracedGraph
from physedge_export.trace import trace
from physedge_runtime.errors import BuildError
from physedge_runtime.frame import Colour

HERE = Path(__file__).parent


def load_networks() -> object:
    specification = importlib.util.spec_from_file_location("tiny_networks", HERE / "tiny_networks.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["tiny_networks"] = module
    specification.loader.exec_module(module)
    return module


tiny = sys.modules.get("tiny_networks") or load_networks()


def build(kind: str, *arguments: object) -> nn.Module:
    torch.manual_seed(3)
    network = getattr(tiny, kind)(*arguments)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


def run(graph: TracedGraph, values: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(graph.model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: values}), strict=True))


def frames(batch: int = 1, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (batch, 16, 24, channels), dtype=np.uint8)


def reference(network: nn.Module, pixels: np.ndarray) -> torch.Tensor:
    planes = torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2)
    with torch.no_grad():
        return network((planes / 255 - 0.4) / 0.2)


@pytest.fixture(scope="module")
def segmenter() -> nn.Module:
    return build("Segmenter")


@pytest.fixture(scope="module")
def graph(segmenter: nn.Module) -> TracedGraph:
    return trace(segmenter, tiny.segmentation_spec())


def test_the_graph_takes_the_raw_picture_and_answers_with_probabilities(
    segmenter: nn.Module, graph: TracedGraph
) -> None:
    answer = run(graph, frames())
    assert list(answer) == ["probability"]
    np.testing.assert_allclose(answer["probability"], reference(segmenter, frames()).sigmoid(), atol=2e-6)
    (given,) = onnx.load_from_string(graph.model).graph.input
    assert (given.name, given.type.tensor_type.elem_type) == ("frame", onnx.TensorProto.UINT8)
    assert graph.outputs[0].shape == (1, 1, 16, 24)
    assert (graph.opset, graph.torch_version) == (18, torch.__version__)


def test_nodes_are_named_by_their_module_and_islands_are_known(graph: TracedGraph) -> None:
    assert "stem.1/Conv" in graph.module_of_node  # the normalisation swallowed the convolution before it
    assert {graph.module_of_node[name] for name in graph.float_nodes} == {"flow", "flow.neighbours", "input", "output"}
    assert {"flow.neighbours/Conv", "input/Cast", "output/Sigmoid"} <= graph.float_nodes
    assert "head/Conv" not in graph.float_nodes


def test_a_class_may_be_declared_float(segmenter: nn.Module) -> None:
    spec = tiny.segmentation_spec(float_modules=("torch.nn.modules.container.Sequential",))
    assert "stem.2/Relu" in trace(segmenter, spec).float_nodes


def test_a_declared_class_that_is_not_there_is_named(segmenter: nn.Module) -> None:
    with pytest.raises(BuildError, match=r"PE-TRACE-007.*other\.Diffusion.*tiny_networks\.Diffusion"):
        trace(segmenter, tiny.segmentation_spec(float_modules=("other.Diffusion",)))


def test_nothing_tells_of_the_machine(graph: TracedGraph) -> None:
    assert not re.search(rb"\.py\b|/home|/usr|/root|/opt|site-packages|tiny_networks", graph.model)
    assert str(HERE).encode() not in graph.model
    model = onnx.load_from_string(graph.model)
    assert {item.key for node in model.graph.node for item in node.metadata_props} == {"physedge.float"}


def test_the_same_network_gives_the_same_bytes_in_another_process(graph: TracedGraph) -> None:
    code = f"""
import sys
sys.path.insert(0, {str(HERE)!r})
import hashlib, test_trace as t
print(hashlib.sha256(t.trace(t.build("Segmenter"), t.tiny.segmentation_spec()).model).hexdigest())
"""
    finished = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert finished.stdout.strip() == hashlib.sha256(graph.model).hexdigest()
    assert finished.stderr == ""


def test_a_free_batch_axis(segmenter: nn.Module) -> None:
    graph = trace(segmenter, tiny.segmentation_spec(), batch=None)
    assert graph.outputs[0].shape[0] == -1
    for batch in (1, 3):
        answer = run(graph, frames(batch))["probability"]
        np.testing.assert_allclose(answer, reference(segmenter, frames(batch)).sigmoid(), atol=2e-6)


def test_several_classes_become_a_softmax_and_grey_is_one_channel() -> None:
    network = build("Segmenter", 3, 1)
    answer = run(trace(network, tiny.segmentation_spec(classes=3, colour=Colour.GREY)), frames(channels=1))
    np.testing.assert_allclose(answer["probability"].sum(axis=1), 1.0, atol=1e-6)
    expected = reference(network, frames(channels=1)).softmax(dim=1)
    np.testing.assert_allclose(answer["probability"], expected, atol=2e-6)


def test_voltages_become_an_image_and_whatever_else_is_named() -> None:
    network = build("Tank")
    graph = trace(network, tiny.VOLTAGES)
    volts = np.random.default_rng(1).normal(size=(1, 12)).astype(np.float32)
    answer = run(graph, volts)
    assert [output.shape for output in graph.outputs] == [(1, 8, 8), (1, 8, 8)]
    assert list(answer) == ["image", "linear_image"]
    with torch.no_grad():
        expected = network(torch.from_numpy(volts))
    np.testing.assert_allclose(answer["image"], expected["image"][:, 0], atol=1e-6)
    np.testing.assert_allclose(answer["linear_image"], expected["linear_image"], atol=1e-6)


@pytest.mark.parametrize(("form", "other"), [("mapping", "peak"), ("named tuple", "trust"), ("data class", "boundary")])
def test_named_answers_follow_the_main_one(form: str, other: str) -> None:
    graph = trace(build("Wrapped", form), tiny.segmentation_spec())
    assert [output.name for output in graph.outputs] == ["probability", other]


@pytest.mark.parametrize("form", ["pair", "no logits", "a number", "double"])
def test_an_answer_of_another_form_is_refused(form: str) -> None:
    with pytest.raises(BuildError, match=r"PE-TRACE-004.*logits"):
        trace(build("Wrapped", form), tiny.segmentation_spec())


def test_an_answer_of_another_shape_is_refused(segmenter: nn.Module) -> None:
    with pytest.raises(BuildError, match=r"PE-TRACE-005.*\(1, 1, 16, 24\).*\(1, 3, 16, 24\)"):
        trace(segmenter, tiny.segmentation_spec(classes=3))


def test_a_weight_that_is_no_number_is_named() -> None:
    network = build("Segmenter")
    with torch.no_grad():
        network.head.weight[0, 2] = float("nan")
    with pytest.raises(BuildError, match=r"PE-TRACE-001: 1 of 8 values of the weight head\.weight"):
        trace(network, tiny.segmentation_spec())


@pytest.mark.parametrize(
    ("kind", "identifier"),
    [
        ("DataDependent", "PE-TRACE-002"),
        ("WarnsLikeATracer", "PE-TRACE-003"),
        ("Remembers", "PE-TRACE-006"),
        ("DrawsNumbers", "PE-TRACE-006"),
    ],
)
def test_what_cannot_be_traced_faithfully_is_refused(kind: str, identifier: str) -> None:
    with pytest.raises(BuildError, match=identifier) as caught:
        trace(build(kind), tiny.segmentation_spec())
    assert caught.value.exit_status == 6


def test_tracing_is_silent_repeats_itself_and_leaves_the_module_as_it_was(
    segmenter: nn.Module, graph: TracedGraph, capfd: pytest.CaptureFixture[str]
) -> None:
    steps: list[str] = []
    segmenter.train()
    try:
        assert trace(segmenter, tiny.segmentation_spec(), progress=steps.append).model == graph.model
        assert segmenter.training and segmenter.stem.training
    finally:
        segmenter.eval()
    assert capfd.readouterr() == ("", "")
    assert steps == ["tracing the network", "writing the graph"]
