"""A graph in any spelling is written in the one that devices read, and computes what it did."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper
from tiny_network import tiny_graph

from physedge_export.canonical import canonical
from physedge_runtime.errors import IntegrityError
from physedge_runtime.graph_check import check_graph


def wordy_graph() -> bytes:
    """As exporters write: descriptions, notes, typed numbers, sets and fields that nobody needs, weights as inputs."""
    model = onnx.load_from_string(tiny_graph())
    model.doc_string, model.graph.doc_string = "made by hand", "of old"
    model.opset_import[0].domain = "ai.onnx"
    model.opset_import.add(domain="com.microsoft", version=1)
    model.metadata_props.add(key="author", value="x")
    model.graph.quantization_annotation.add(tensor_name="weight")
    weight = model.graph.initializer[0]
    values = onnx.numpy_helper.to_array(weight).ravel()
    weight.ClearField("raw_data")
    weight.float_data.extend(values.tolist())
    weight.doc_string = "a weight"
    model.graph.input.add().CopyFrom(helper.make_tensor_value_info("weight", TensorProto.FLOAT, [1, 3, 1, 1]))
    model.graph.value_info.add().CopyFrom(
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1, 32, 32])
    )
    for node in model.graph.node:
        node.doc_string, node.domain = "at line 3", "ai.onnx"
        node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="at\nline 3")
    model.graph.node[3].metadata_props.add(key="physedge.float", value="1")
    unknown = bytes([0xFA, 0x06, 1, 0x78])  # field 111, which ONNX does not have
    return bytes(model.SerializeToString()) + unknown


def answer(graph: bytes) -> np.ndarray:
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(3).integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
    return np.asarray(session.run(None, {"frame": pixels})[0])


def test_a_graph_in_any_spelling_is_written_in_ours() -> None:
    brought = wordy_graph()
    with pytest.raises(IntegrityError, match="PE-BUNDLE-036"):
        check_graph(brought, origin="brought")
    ours = canonical(brought)
    check_graph(ours, origin="ours")
    np.testing.assert_array_equal(answer(ours), answer(brought))
    kept = [item.key for node in onnx.load_from_string(ours).graph.node for item in node.metadata_props]
    assert kept == ["physedge.float"]


def test_what_is_in_our_spelling_stays_as_it_is() -> None:
    ours = canonical(wordy_graph())
    assert canonical(ours) == ours
    assert canonical(tiny_graph()) == tiny_graph()


def test_numbers_of_every_type_become_raw_bytes() -> None:
    """Typed fields pack some types two to a byte, or one to four bytes: the values are those that were there."""
    kinds = [
        (TensorProto.FLOAT16, np.float16), (TensorProto.DOUBLE, np.float64), (TensorProto.INT8, np.int8),
        (TensorProto.UINT8, np.uint8), (TensorProto.INT64, np.int64), (TensorProto.BOOL, np.bool_),
    ]  # fmt: skip
    model = onnx.load_from_string(tiny_graph())
    for index, (kind, _) in enumerate(kinds):
        model.graph.initializer.append(helper.make_tensor(f"extra{index}", kind, [3], [0, 1, 1]))
    model.graph.initializer.append(helper.make_tensor("four", TensorProto.INT4, [3], [-8, 7, 1]))
    ours = canonical(model.SerializeToString())
    check_graph(ours, origin="ours")
    tensors = {tensor.name: tensor for tensor in onnx.load_from_string(ours).graph.initializer}
    for index, (_, dtype) in enumerate(kinds):
        values = onnx.numpy_helper.to_array(tensors[f"extra{index}"])
        np.testing.assert_array_equal(values, np.array([0, 1, 1], dtype))
    assert onnx.numpy_helper.to_array(tensors["four"]).astype(int).tolist() == [-8, 7, 1]


def test_sizes_that_are_computed_become_constants() -> None:
    """Exporters write: the shape of a value, a part of it, times two, joined: the sizes of a Resize and a Reshape."""
    text = """
    <ir_version: 9, opset_import: ["" : 18]>
    grows (float[1, 2, 4, 4] x) => (float[1, 2, 16, 4] y, float[1, 2, 4, 4] z) {
        shape = Shape(x)
        front = Shape <end = 2> (x)
        two = Constant <value = int64[2] {2, 2}> ()
        from = Constant <value = int64[1] {2}> ()
        to = Constant <value = int64[1] {4}> ()
        back = Slice(shape, from, to)
        twice = Mul(back, two)
        sizes = Concat <axis = 0> (front, twice)
        none = Constant <value_floats = [0.0]> ()
        large = Resize <mode = "nearest"> (x, , , sizes)
        open = Constant <value = int64[2] {-1, 4}> ()
        target = Concat <axis = 0> (front, open)
        y = Reshape(large, target)
        z = Reshape(x, shape)
    }
    """
    brought = onnx.parser.parse_model(text).SerializeToString()
    ours = canonical(brought)
    check_graph(ours, origin="ours")
    kinds = [node.op_type for node in onnx.load_from_string(ours).graph.node]
    assert not set(kinds) & {"Shape", "Slice", "Mul", "Concat"}
    given = np.random.default_rng(4).normal(size=(1, 2, 4, 4)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(None, {"x": given})
        for graph in (brought, ours)
    )
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
