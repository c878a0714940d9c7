"""What float islands of a quantised graph hand to each other."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

from physedge_calibrate.quantize import quantize_signed, quantize_unsigned

GRAPH = """
<ir_version: 8, opset_import: ["" : 18]>
net (float[1,1,8,8] frame) => (float[1,1,8,8] image, float[1,1,8,8] linear_image)
{
    linear = Mul(frame, two)
    hidden = Conv<kernel_shape = [1, 1]>(linear, inner)
    bent = Relu(hidden)
    change = Conv<kernel_shape = [1, 1]>(bent, outer)
    image = Add(linear, change)
    linear_image = Slice(linear, from, to)
}
"""
ISLAND = ("linear/Mul", "output/Add")


def network() -> bytes:
    generator = np.random.default_rng(0)
    model = parser.parse_model(GRAPH)
    weights = {
        "two": np.array([2.0], np.float32),
        "inner": generator.normal(size=(4, 1, 1, 1)).astype(np.float32),
        "outer": generator.normal(size=(1, 4, 1, 1)).astype(np.float32),
        "from": np.array([0, 0, 0, 0], np.int64),
        "to": np.array([1, 1, 8, 8], np.int64),
    }
    names = ("linear/Mul", "a/Conv", "a/Relu", "b/Conv", "output/Add", "output/Slice")
    for name, node in zip(names, model.graph.node, strict=True):
        node.name = name
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


@pytest.mark.parametrize("form", ["onnxruntime", "openvino", "tensorrt"])
def test_a_linear_image_reaches_the_sum_unrounded(form: str) -> None:
    frames = [np.random.default_rng(k).normal(size=(1, 1, 8, 8)).astype(np.float32) for k in range(8)]
    if form == "tensorrt":
        model = quantize_signed(network(), frames, input_name="frame", float_nodes=ISLAND).model
    else:
        model = quantize_unsigned(
            network(),
            frames,
            input_name="frame",
            float_nodes=ISLAND,
            engine=form,  # type: ignore[arg-type]
        ).model
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    # Far below one quantum of the calibrated range, about 0.06: the convolutions see nothing of it.
    tiny = np.full((1, 1, 8, 8), 1e-3, np.float32)
    nothing, small = (session.run(["image", "linear_image"], {"frame": frame}) for frame in (0 * tiny, tiny))
    np.testing.assert_allclose(small[0] - nothing[0], 2e-3, rtol=1e-4)
    np.testing.assert_allclose(small[1], 2e-3, rtol=1e-6)
    assert any(node.op_type == "QuantizeLinear" for node in onnx.load_from_string(model).graph.node)
