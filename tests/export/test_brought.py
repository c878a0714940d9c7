"""A network that comes as ONNX is given the shipped input and answer, or refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from physedge_export.brought import graph_from_onnx
from physedge_export.graph import TracedGraph
from physedge_export.scrub import checked_bytes
from physedge_runtime.errors import BuildError
from physedge_runtime.frame import FrameSpec, VoltageSpec
from physedge_runtime.spec import ModelSpec, Normalise, Task

HEIGHT, WIDTH = 8, 12
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
KERNEL = np.random.default_rng(0).normal(size=(3, 3, 1, 1)).astype(np.float32)


def spec(classes: int = 2, **more: object) -> ModelSpec:
    return ModelSpec(
        name="own",
        task=Task.SEGMENTATION,
        classes=("background", "a", "b")[:classes],
        frame=FrameSpec(height=HEIGHT, width=WIDTH),
        normalise=Normalise(mean=MEAN, std=STD),
        **more,  # type: ignore[arg-type]
    )


def write(
    tmp_path: Path,
    *,
    planes: int = 1,
    ending: str = "",
    shape: tuple[int | str, ...] = (1, 3, HEIGHT, WIDTH),
    kernel: np.ndarray = KERNEL,
    opset: int = 18,
    kind: int = TensorProto.FLOAT,
) -> Path:
    nodes = [helper.make_node("Conv", ["image", "kernel"], ["y"], name="/head/Conv", doc_string="/home/someone/net.py")]
    if kind == TensorProto.UINT8:
        nodes = [
            helper.make_node("Cast", ["image"], ["f"], name="cast", to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["f"], ["t"], name="turn", perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["t", "kernel"], ["y"], name="/head/Conv"),
        ]
    if ending:
        nodes.append(helper.make_node(ending, ["y"], ["z"], name="end", **({"axis": 1} if ending == "Softmax" else {})))
    graph = helper.make_graph(
        nodes,
        "own",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("z" if ending else "y", TensorProto.FLOAT, ("n", planes, "h", "w"))],
        [numpy_helper.from_array(kernel[:planes], "kernel")],
    )
    path = tmp_path / "own.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (1, HEIGHT, WIDTH, 3), dtype=np.uint8)


def answer(graph: TracedGraph, given: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph.model, providers=["CPUExecutionProvider"])
    return session.run(["probability"], {"frame": given})[0]


def logits(planes: int = 1) -> np.ndarray:
    normalised = (picture().astype(np.float64) / 255 - MEAN) / STD
    return np.einsum("bhwc,kc->bkhw", normalised, KERNEL[:planes, :, 0, 0].astype(np.float64))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("shape", [(1, 3, HEIGHT, WIDTH), ("n", 3, "h", "w")])
def test_a_float_network_is_wrapped(tmp_path: Path, shape: tuple[int | str, ...]) -> None:
    graph = graph_from_onnx(write(tmp_path, shape=shape), spec())
    np.testing.assert_allclose(answer(graph, picture()), sigmoid(logits()), atol=1e-5)
    assert graph.outputs[0].shape == (1, 1, HEIGHT, WIDTH)
    assert graph.module_of_node["head/Conv"] == "head"
    assert b"someone" not in graph.model


def test_several_classes_become_a_softmax(tmp_path: Path) -> None:
    share = np.exp(logits(3)) / np.exp(logits(3)).sum(axis=1, keepdims=True)
    graph = graph_from_onnx(write(tmp_path, planes=3), spec(3))
    np.testing.assert_allclose(answer(graph, picture()), share, atol=1e-5)


def test_a_sigmoid_that_is_there_already_is_not_put_twice(tmp_path: Path) -> None:
    graph = graph_from_onnx(write(tmp_path, ending="Sigmoid"), spec())
    np.testing.assert_allclose(answer(graph, picture()), sigmoid(logits()), atol=1e-5)


def test_a_graph_that_takes_the_raw_picture_keeps_its_own_scaling(tmp_path: Path) -> None:
    graph = graph_from_onnx(write(tmp_path, shape=(1, HEIGHT, WIDTH, 3), kind=TensorProto.UINT8), spec())
    raw = np.einsum("bhwc,kc->bkhw", picture().astype(np.float64), KERNEL[:1, :, 0, 0].astype(np.float64))
    np.testing.assert_allclose(answer(graph, picture()), sigmoid(raw), atol=1e-5)


def test_an_old_operator_set_is_converted(tmp_path: Path) -> None:
    graph = graph_from_onnx(write(tmp_path, opset=13), spec())
    assert graph.opset == 18


def test_declared_float_nodes_are_marked_by_the_beginning_of_their_name(tmp_path: Path) -> None:
    graph = graph_from_onnx(write(tmp_path), spec(float_modules=("/head",)))
    assert "head/Conv" in graph.float_nodes
    with pytest.raises(BuildError, match=r"PE-TRACE-007.*tail"):
        graph_from_onnx(write(tmp_path), spec(float_modules=("tail",)))


def test_a_reconstruction_keeps_its_answer(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["v", "r"], ["flat"], name="linear"),
            helper.make_node("Reshape", ["flat", "s"], ["picture"], name="form"),
        ],
        "tank",
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, (1, 6))],
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, (1, 4, 4))],
        [
            numpy_helper.from_array(np.ones((6, 16), np.float32), "r"),
            numpy_helper.from_array(np.array([1, 4, 4], np.int64), "s"),
        ],
    )
    path = tmp_path / "tank.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    volts = VoltageSpec(count=6, electrodes=4, protocol="adjacent")
    ready = graph_from_onnx(path, ModelSpec(name="tank", task=Task.RECONSTRUCTION, voltages=volts))
    assert [output.name for output in ready.outputs] == ["image"]
    assert onnx.load_from_string(ready.model).graph.input[0].name == "voltages"


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"PE-TRACE-021.*float \(1, 3, 9, 12\).*uint8 \(1, 8, 12, 3\)"):
        graph_from_onnx(write(tmp_path, shape=(1, 3, 9, WIDTH)), spec())
    with pytest.raises(BuildError, match=r"PE-TRACE-005.*\(1, 1, 8, 12\).*\(1, 3, 8, 12\)"):
        graph_from_onnx(write(tmp_path), spec(3))
    bad = KERNEL.copy()
    bad[0, 0] = np.inf
    with pytest.raises(BuildError, match=r"PE-TRACE-001: 1 of 3 values of the weight kernel"):
        graph_from_onnx(write(tmp_path, kernel=bad), spec())


def test_a_file_that_is_no_graph_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"\x08\x07 not a graph")
    with pytest.raises(BuildError, match="PE-TRACE-020"):
        graph_from_onnx(path, spec())
    with pytest.raises(BuildError, match="PE-TRACE-020"):
        graph_from_onnx(tmp_path / "absent.onnx", spec())


def test_operators_too_old_to_be_converted_are_refused(tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, HEIGHT, WIDTH))
    answer_value = helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3, HEIGHT, WIDTH))
    pad = helper.make_node("Pad", ["image"], ["y"], paddings=[0] * 8)  # the converter knows no way from Pad-1 on
    model = helper.make_model(
        helper.make_graph([pad], "old", [value], [answer_value]),
        opset_imports=[helper.make_opsetid("", 1)],
        ir_version=3,
    )
    onnx.save(model, tmp_path / "old.onnx")
    with pytest.raises(BuildError, match=r"PE-TRACE-022: .* uses operator set 1, "):
        graph_from_onnx(tmp_path / "old.onnx", spec())


def test_a_graph_that_breaks_the_standard_is_not_packed(tmp_path: Path) -> None:
    model = onnx.load(write(tmp_path))
    model.graph.node[0].input[1] = "nowhere"
    with pytest.raises(BuildError, match=r"PE-TRACE-008: .*nowhere"):
        checked_bytes(model)
