"""NNCF on OpenVINO's representation: right in OpenVINO, physics in float, accuracy control that gives layers back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge_calibrate.nncf import QuantizedIr, quantize_ir, quantize_ir_with_accuracy_control
from physedge_runtime.errors import BuildError, UsageError
from physedge_runtime.telemetry import silence_openvino

silence_openvino()
openvino = pytest.importorskip("openvino")
pytest.importorskip("nncf")
pytestmark = pytest.mark.filterwarnings("ignore")

Frames = list[NDArray[np.uint8]]


def answers(model: bytes, weights: bytes | None, frames: Frames) -> NDArray[np.float32]:
    core = openvino.Core()
    read = core.read_model(model) if weights is None else core.read_model(model, weights)
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    return np.concatenate([compiled(frame[None])["probability"].copy() for frame in frames])


def error(candidate: NDArray[np.float32], reference: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((candidate - reference) ** 2)) / reference.std())


@pytest.fixture(scope="module")
def quantised(small_network: bytes, physics_nodes: tuple[str, ...], calibration_frames: Frames) -> QuantizedIr:
    return quantize_ir(small_network, calibration_frames, float_nodes=physics_nodes)


def test_the_quantised_network_is_close_to_full_precision(
    quantised: QuantizedIr, small_network: bytes, other_frames: Frames
) -> None:
    reference = answers(small_network, None, other_frames)
    assert error(answers(quantised.xml, quantised.weights, other_frames), reference) < 0.10


def test_everything_but_the_physics_is_quantised(quantised: QuantizedIr) -> None:
    macs = {"stem": 8 * 27, "depth": 8 * 9, "mix": 8 * 8, "laplacian": 8 * 9, "head": 8}
    whole = sum(macs.values())
    assert quantised.int8_mac_share == pytest.approx((whole - macs["laplacian"]) / whole)
    assert quantised.calibration_count == 16


def test_the_same_images_give_the_same_bytes_and_no_paths(
    quantised: QuantizedIr,
    small_network: bytes,
    physics_nodes: tuple[str, ...],
    calibration_frames: Frames,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert quantize_ir(small_network, calibration_frames, float_nodes=physics_nodes) == quantised
    assert b"/tmp" not in quantised.xml
    assert capsys.readouterr().out == ""


def test_accuracy_control_gives_layers_back_until_the_bound_holds(
    quantised: QuantizedIr,
    small_network: bytes,
    physics_nodes: tuple[str, ...],
    calibration_frames: Frames,
    other_frames: Frames,
) -> None:
    reference = answers(small_network, None, other_frames)

    def score(index: int, outputs: Mapping[str, NDArray[np.float32]]) -> float:
        return 1.0 - float(np.abs(outputs["probability"][0] - reference[index]).mean())

    full = 1.0 - float(np.abs(answers(quantised.xml, quantised.weights, other_frames) - reference).mean())
    bound = 0.5 * (1.0 - full)
    controlled = quantize_ir_with_accuracy_control(
        small_network, calibration_frames, other_frames, score, max_drop=bound, float_nodes=physics_nodes
    )
    kept = answers(controlled.xml, controlled.weights, other_frames)
    assert float(np.abs(kept - reference).mean()) <= bound
    assert controlled.int8_mac_share < quantised.int8_mac_share
    assert "accuracy control" in controlled.method


def test_no_images_are_refused(small_network: bytes) -> None:
    with pytest.raises(UsageError, match="PE-CALIB-001"):
        quantize_ir(small_network, [])


def test_a_failure_of_the_quantiser_is_told_in_one_sentence(small_network: bytes, calibration_frames: Frames) -> None:
    def score(_index: int, _outputs: Mapping[str, NDArray[np.float32]]) -> float:
        raise RuntimeError("no score today")

    with pytest.raises(BuildError, match=r"PE-CALIB-002: NNCF stopped \(no score today"):
        quantize_ir_with_accuracy_control(small_network, calibration_frames, calibration_frames, score, max_drop=0.1)


def test_an_island_that_openvino_takes_apart_and_names_anew_stays_in_float() -> None:
    """Its results come to the last bit, however far beyond the calibrated range its values go."""
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    weight = numpy_helper.from_array(generator.normal(size=(8, 1, 3, 3)).astype(np.float32), "weight")
    back = numpy_helper.from_array(generator.normal(size=(1, 8, 3, 3)).astype(np.float32), "back")
    mixing = numpy_helper.from_array(generator.normal(size=(64, 16)).astype(np.float32), "mixing")
    shape = numpy_helper.from_array(np.array([1, 64], np.int64), "shape")
    nodes = [
        helper.make_node("Conv", ["frame", "weight"], ["a"], name="one/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="one/Relu"),
        helper.make_node("Conv", ["b", "back"], ["image"], name="two/Conv", pads=[1, 1, 1, 1]),
        helper.make_node("Reshape", ["frame", "shape"], ["flat"], name="trust/Reshape"),
        helper.make_node("MatMul", ["flat", "mixing"], ["mixed"], name="trust/MatMul"),
        helper.make_node("ReduceL2", ["mixed"], ["trust_rest"], name="trust/ReduceL2", keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "island",
        [helper.make_tensor_value_info("frame", TensorProto.FLOAT, (1, 1, 8, 8))],
        [
            helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 1, 8, 8)),
            helper.make_tensor_value_info("trust_rest", TensorProto.FLOAT, ()),
        ],
        [weight, back, mixing, shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    frames = [generator.normal(size=(1, 1, 8, 8)).astype(np.float32) for _ in range(8)]
    island = [node.name for node in nodes if node.name.startswith("trust/")]
    made = quantize_ir(model, frames, float_nodes=island)
    assert made.int8_mac_share > 0.8
    core = openvino.Core()
    precise = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    full, small = (
        core.compile_model(read, "CPU", precise)
        for read in (core.read_model(model), core.read_model(made.xml, made.weights))
    )
    for scale in (1.0, 30.0):
        frame = scale * frames[0]
        assert float(small(frame)["trust_rest"]) == pytest.approx(float(full(frame)["trust_rest"]), rel=1e-5)
        assert not np.array_equal(small(frame)["image"], full(frame)["image"])
