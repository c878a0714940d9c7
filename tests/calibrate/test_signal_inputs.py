"""What a trust signal of a quantised graph reads."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper, parser

from physedge_calibrate.quantize import quantize_signed, quantize_unsigned

GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
net (uint8[1,16,16,3] frame) => (float[1,2,16,16] probability, float[1,1] trust_range)
{
    wide = Cast<to = 1>(frame)
    image = Transpose<perm = [0, 3, 1, 2]>(wide)
    inner = Conv<kernel_shape = [1, 1]>(image, inner_weight)
    outer = Conv<kernel_shape = [1, 1]>(inner, outer_weight)
    probability = Sigmoid(outer)
    largest = ReduceMax<keepdims = 0>(inner, axes)
    trust_range = ReduceMean<keepdims = 1>(largest, last)
}
"""


def network() -> bytes:
    generator = np.random.default_rng(0)
    model = parser.parse_model(GRAPH)
    weights = {
        "inner_weight": generator.normal(size=(4, 3, 1, 1)).astype(np.float32) / 100,
        "outer_weight": generator.normal(size=(2, 4, 1, 1)).astype(np.float32),
        "axes": np.array([1, 2], np.int64),
        "last": np.array([1], np.int64),
    }
    for place, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}{place}"
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@pytest.mark.parametrize("form", ["onnxruntime", "openvino", "tensorrt"])
def test_a_signal_reads_what_was_computed_and_not_its_rounding(form: str) -> None:
    frames = list(np.random.default_rng(1).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8))
    if form == "tensorrt":
        quantised = quantize_signed(network(), frames, input_name="frame").model
    else:
        quantised = quantize_unsigned(network(), frames, input_name="frame", engine=form).model  # type: ignore[arg-type]
    model = onnx.load_from_string(quantised)
    makers = {output: node for node in model.graph.node for output in node.output}
    signal = next(node for node in model.graph.node if node.op_type == "ReduceMax")
    assert makers[signal.input[0]].op_type == "Conv"
    assert any(node.op_type == "QuantizeLinear" and node.input[0] == signal.input[0] for node in model.graph.node)

    model.graph.output.append(helper.make_tensor_value_info(signal.input[0], onnx.TensorProto.FLOAT, None))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    told, inner = session.run(["trust_range", signal.input[0]], {"frame": frames[0][np.newaxis]})
    np.testing.assert_allclose(told, inner.max(axis=(1, 2)).mean(axis=1, keepdims=True), rtol=1e-6)
