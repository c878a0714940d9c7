"""Profiles: every operator has a kind and a module, and the parts add up to the whole."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from physedge_calibrate.profile import ModuleFinder, OperatorTime, Profile, profile_graph, shortened
from physedge_calibrate.profile_readers import CONCAT, DENSE, DEPTHWISE, POINTWISE, kind_of
from physedge_calibrate.quantize import quantize_unsigned
from physedge_runtime.engines import EngineRequest
from physedge_runtime.errors import UsageError

SIDE, CHANNELS = 96, 32
GENERATOR = np.random.default_rng(2)
ENGINES = pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])


def weights(*shape: int) -> np.ndarray:
    return (GENERATOR.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def graph() -> bytes:
    """Dense, depthwise and pointwise convolutions, large enough that they take the time and not the call."""
    node = helper.make_node
    nodes = [
        node("Cast", ["frame"], ["cast"], name="input/Cast", to=TensorProto.FLOAT),
        node("Transpose", ["cast"], ["picture"], name="input/Transpose", perm=[0, 3, 1, 2]),
        node("Conv", ["picture", "w0"], ["a"], name="stem/Conv", pads=[1] * 4),
        node("Conv", ["a", "w1"], ["b"], name="stage.0.smooth/Conv", pads=[2] * 4, group=CHANNELS),
        node("Relu", ["b"], ["c"], name="stage.0/Relu"),
        node("Concat", ["a", "c"], ["d"], name="stage.1/Concat", axis=1),
        node("Conv", ["d", "w2"], ["e"], name="stage.1.mix/Conv"),
        node("Conv", ["e", "w2"], ["e2"], name="stage.2.mix/Conv"),
        node("Conv", ["e2", "w2"], ["e3"], name="stage.3.mix/Conv"),
        node("Conv", ["e3", "w3"], ["f"], name="head/Conv", pads=[1] * 4),
        node("Sigmoid", ["f"], ["probability"], name="output/Sigmoid"),
    ]
    constants = {
        "w0": weights(CHANNELS, 3, 3, 3),
        "w1": weights(CHANNELS, 1, 5, 5),
        "w2": weights(2 * CHANNELS, 2 * CHANNELS, 1, 1),
        "w3": weights(1, 2 * CHANNELS, 3, 3),
    }
    made = helper.make_model(
        helper.make_graph(
            nodes,
            "three",
            [helper.make_tensor_value_info("frame", TensorProto.UINT8, (1, SIDE, SIDE, 3))],
            [helper.make_tensor_value_info("probability", TensorProto.FLOAT, (1, 1, SIDE, SIDE))],
            [numpy_helper.from_array(values, name) for name, values in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    return onnx.shape_inference.infer_shapes(made, strict_mode=True).SerializeToString()


def frames(count: int = 1) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)


def request(model: bytes) -> EngineRequest:
    return EngineRequest(
        graph=model,
        graph_sha256="0" * 64,
        input_shape=(1, SIDE, SIDE, 3),
        outputs={"probability": (1, 1, SIDE, SIDE)},
    )


@pytest.fixture(scope="module")
def quantised() -> bytes:
    return quantize_unsigned(graph(), list(frames(2)), input_name="frame", engine="openvino").model


@ENGINES
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_operator_belongs_to_a_module_and_the_parts_add_up(engine: str, precision: str, quantised: bytes) -> None:
    model = graph() if precision == "fp32" else quantised
    profile = profile_graph(engine, request(model), frames(), rounds=21)
    # On a busy machine OpenVINO's wall time has the waking of the thread that it hands an inference to: there the parts
    # are held against the processor time, to which the neighbours add what they take from the caches.
    if engine == "onnxruntime":
        assert profile.adds_up, profile.sentence()
    else:
        assert 0.7 < profile.sum_ms / profile.whole_ms < 1.1, profile.sentence()
    modules = set(profile.by_module(2))
    assert modules <= {"input", "stem", "stage.0", "stage.1", "stage.2", "stage.3", "head", "output"}
    assert {"stem", "stage.0", "stage.1", "head"} <= modules
    kinds = profile.by_kind()
    assert {POINTWISE, DEPTHWISE, DENSE} <= set(kinds)
    assert "other" not in kinds
    convolutions = {one.module: one.kind for one in profile.operators if "Conv" in one.kernel}
    assert convolutions["stage.0.smooth"] == DEPTHWISE
    assert convolutions["stage.1.mix"] == POINTWISE
    assert sum(profile.table(2).values()) == pytest.approx(profile.sum_ms)


def test_sums_by_kind_and_by_module_and_whether_they_explain_the_whole() -> None:
    def operator(name: str, kind: str, module: str, milliseconds: float) -> OperatorTime:
        return OperatorTime(name=name, kind=kind, kernel="k", module=module, milliseconds=milliseconds)

    profile = Profile(
        title="engine fp32",
        operators=(
            operator("a", DENSE, "stem", 1.0),
            operator("b", POINTWISE, "stage1.0.mix", 4.0),
            operator("c", CONCAT, "stage1.1", 3.0),
            operator("d", POINTWISE, "stem.late", 0.5),
        ),
        explained=0.85,
        whole_ms=10.0,
        rounds=5,
    )
    assert profile.by_kind() == {POINTWISE: 4.5, CONCAT: 3.0, DENSE: 1.0}
    assert profile.by_module() == {"stem": 1.5, "stage1": 7.0}
    assert profile.by_module(2) == {"stem": 1.0, "stage1.0": 4.0, "stage1.1": 3.0, "stem.late": 0.5}
    assert profile.sum_ms == 8.5 and not profile.adds_up
    assert "explain 85.0% of an inference (more than 10% off" in profile.sentence()
    assert "8.50 ms; without counters 10.00 ms" in profile.sentence()
    assert profile.to_dict()["by_module_ms"] == profile.by_module()
    assert shortened("stage1.0.mix", 2) == "stage1.0"


def test_names_of_engines_lead_to_modules(quantised: bytes) -> None:
    find = ModuleFinder(quantised)
    assert find("stage.1.mix/Conv") == "stage.1.mix"
    assert find("stage.1.mix/Conv/WithoutBiases") == "stage.1.mix"
    assert find("e_nchwc") == "stage.1.mix"  # a value that a node makes
    assert find("a_QuantizeLinear_token_12") == "stem"
    assert find("w0_DequantizeLinear") == "stem"  # a weight belongs to what takes it in
    assert find("Reorder_17") == ""
    assert find("probability_nchwc", convolution=True) == "head"  # with the sigmoid inside
    assert find("probability_nchwc") == "output"


def test_kinds_of_work() -> None:
    assert kind_of("Conv", weight=(8, 1, 3, 3), groups=8) == DEPTHWISE
    assert kind_of("QLinearConv", weight=(8, 8, 1, 1)) == POINTWISE
    assert kind_of("Convolution", weight=(8, 8, 2, 2)) == DENSE
    assert kind_of("Einsum") == "other"


def test_an_engine_without_counters_is_refused() -> None:
    with pytest.raises(UsageError, match="PE-BENCH-004: a profile of the engine fake"):
        profile_graph("fake", request(graph()), frames())
