"""Half precision: types by the rules, one rounding, islands in float32."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from physedge_export.half import half_model
from physedge_export.marks import mark_float
from physedge_runtime.errors import BuildError


def model(*, weight: float = 0.25, island: bool = True) -> onnx.ModelProto:
    """Conv -> island (Mul) -> Relu -> ReduceMean, and the Relu as a second output."""
    kernel = np.full((2, 2, 1, 1), weight, np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["a"], name="stem/Conv"),
        helper.make_node("Mul", ["a", "gain"], ["b"], name="flow/Mul"),
        helper.make_node("Relu", ["b"], ["features"], name="stem/Relu"),
        helper.make_node("Mul", ["features", "gain"], ["c"], name="stem/Mul"),
        helper.make_node("ReduceMean", ["c", "axes"], ["mean"], name="pool/ReduceMean", keepdims=0),
    ]
    if island:
        mark_float(nodes[1])
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 2, 4, 4))],
        [
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, (1, 2)),
            helper.make_tensor_value_info("features", TensorProto.FLOAT, (1, 2, 4, 4)),
        ],
        [
            numpy_helper.from_array(kernel, "kernel"),
            numpy_helper.from_array(np.array(1.0 / 3.0, np.float32), "gain"),
            numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def types(half: onnx.ModelProto) -> dict[str, int]:
    values = (*half.graph.value_info, *half.graph.input, *half.graph.output)
    return {value.name: value.type.tensor_type.elem_type for value in values}


def input_types(half: onnx.ModelProto, name: str) -> list[int]:
    known = types(half) | {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    node = next(node for node in half.graph.node if node.name == name)
    return [known[given] for given in node.input]


def test_types_follow_the_rules() -> None:
    half = half_model(model())
    onnx.checker.check_model(half, full_check=True)
    assert input_types(half, "stem/Conv") == [TensorProto.FLOAT16, TensorProto.FLOAT16]
    assert input_types(half, "flow/Mul") == [TensorProto.FLOAT, TensorProto.FLOAT]
    assert input_types(half, "stem/Mul") == [TensorProto.FLOAT16, TensorProto.FLOAT16]
    assert input_types(half, "pool/ReduceMean")[0] == TensorProto.FLOAT  # a sum may leave the range of float16
    known = types(half)
    assert (known["x"], known["mean"], known["features"]) == (TensorProto.FLOAT,) * 3


def test_no_value_is_cast_twice() -> None:
    half = half_model(model())
    casts = [tuple(node.input) for node in half.graph.node if node.op_type == "Cast"]
    assert len(casts) == len(set(casts)) == 5  # x, into and out of the island, into the mean, the second output


def test_the_answer_stays_within_half_precision() -> None:
    given = np.random.default_rng(2).normal(size=(1, 2, 4, 4)).astype(np.float32)
    full, half = (
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": given})
        for m in (model(), half_model(model()))
    )
    for exact, rounded in zip(full, half, strict=True):
        np.testing.assert_allclose(rounded, exact, atol=4 * float(np.finfo(np.float16).eps))


def test_a_weight_beyond_the_range_is_named_unless_it_lies_in_an_island() -> None:
    with pytest.raises(BuildError, match=r"PE-TRACE-010: the weight kernel reaches 7e\+04"):
        half_model(model(weight=7e4))
    kept = model(weight=7e4)
    mark_float(kept.graph.node[0])
    half_model(kept)


def test_the_given_model_is_not_changed() -> None:
    given = model()
    before = given.SerializeToString(deterministic=True)
    half_model(given)
    assert given.SerializeToString(deterministic=True) == before


def test_control_flow_is_refused() -> None:
    given = model()
    branch = helper.make_graph([], "b", [], [])
    given.graph.node[2].attribute.append(helper.make_attribute("then_branch", branch))
    with pytest.raises(BuildError, match="PE-TRACE-011"):
        half_model_without_inference(given)


def half_model_without_inference(given: onnx.ModelProto) -> None:
    from physedge_export.half import _Halving

    _Halving(given).run()
