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
