"""From a raw frame to a result: choice of engine and graph, the golden frames, decoding, trust."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from physedge_runtime import Colour, Frame, Segmentation, TrustState, load
from physedge_runtime.bundle import Bundle
from physedge_runtime.decode import Head, decode, foreground
from physedge_runtime.errors import IntegrityError, UsageError
from physedge_runtime.frame import FrameSpec, VoltageSpec
from physedge_runtime.net import check_voltages
from physedge_runtime.results import Classification, Reconstruction, StageTimes
from physedge_runtime.spec import ModelSpec, Task

Write = Callable[..., Path]


def head() -> Head:
    return Head(frame=Frame(pixels=np.zeros((4, 4, 3), np.uint8)), stages=StageTimes(), age_ms=1.0, engine="x")


def test_a_frame_becomes_a_result_with_its_times(tiny_bundle: Bundle) -> None:
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:30, :, 0] = 255
    with tiny_bundle.open(engine="onnxruntime", threads=1) as net:
        before = time.monotonic_ns()
        result = net.infer(pixels)
    assert isinstance(result, Segmentation)
    assert result.mask.shape == (32, 32)
    assert result.mask[:15].all()
    assert not result.mask[17:].any()
    assert result.frame_shape == (60, 80)
    assert result.captured_ns >= before
    assert 0 < result.stages.inference_ms <= result.age_ms
    assert result.trust.state is TrustState.OK
    assert result.engine.startswith("onnxruntime ")


def test_opencv_order_is_honoured(tiny_bundle: Bundle) -> None:
    blue_in_rgb = np.zeros((32, 32, 3), np.uint8)
    blue_in_rgb[:, :, 2] = 255
    with tiny_bundle.open(engine="onnxruntime") as net:
        as_rgb, as_bgr = net.infer(blue_in_rgb), net.infer(blue_in_rgb, colour=Colour.BGR)
    assert isinstance(as_rgb, Segmentation)
    assert isinstance(as_bgr, Segmentation)
    assert not as_rgb.mask.any()
    assert as_bgr.mask.all()


def test_both_engines_replay_the_golden_frames(tiny_bundle: Bundle) -> None:
    for engine in ("onnxruntime", "openvino"):
        with tiny_bundle.open(engine=engine) as net:
            (replay,) = net.replay_golden(tiny_bundle)
        assert replay.max_error < 1e-4


def test_a_graph_that_answers_otherwise_is_refused_at_open(write_tiny: Write) -> None:
    from tiny_network import tiny_graph

    bundle = load(write_tiny(contents={"model.onnx": tiny_graph(bias=0.1)}))
    with pytest.raises(IntegrityError, match="PE-BUNDLE-020"):
        bundle.open()


def test_golden_outputs_of_nan_are_refused(write_tiny: Write) -> None:
    nothing = np.full((1, 32, 32), np.nan, "<f4").tobytes()
    with pytest.raises(IntegrityError, match="PE-BUNDLE-020"):
        load(write_tiny(contents={"golden/0.probability": nothing})).open()


def test_an_answer_without_any_difference_is_refused(write_tiny: Write) -> None:
    """A graph whose answer is 0 everywhere, in a bundle whose bounds are so wide that no error would show it."""
    from tiny_network import tiny_contents, tiny_graph

    (artefact,) = tiny_contents()[0].artefacts
    faint = np.linspace(0, 0.1, 32 * 32, dtype="<f4").tobytes()
    contents = {"model.onnx": tiny_graph(bias=-200), "golden/0.probability": faint}
    wide = artefact.model_copy(update={"golden_mean_bound": 0.2, "golden_max_bound": 0.2})
    with load(write_tiny(contents=contents, artefacts=(wide,))).open(engine="onnxruntime"):
        pass  # full precision itself varies less than the bound: nothing is known
    narrow = artefact.model_copy(update={"golden_mean_bound": 0.2, "golden_max_bound": 0.09})
    with pytest.raises(IntegrityError, match=r"PE-BUNDLE-022.*one and the same probability everywhere"):
        load(write_tiny(contents=contents, artefacts=(narrow,))).open(engine="onnxruntime")


def test_auto_takes_the_target_if_it_is_here(write_tiny: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = load(write_tiny(target="openvino"))
    with bundle.open() as net:
        assert net.engine_name == "openvino"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "openvino" else True)
    with bundle.open() as net:
        assert net.engine_name == "onnxruntime"


def test_a_precision_that_is_not_there_is_one_sentence(tiny_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match=r"PE-ENGINE-003.*no int8 graph"):
        tiny_bundle.open(precision="int8")


def test_the_fake_engine_opens_any_bundle(tiny_bundle: Bundle) -> None:
    with tiny_bundle.open(engine="fake") as net:
        result = net.infer(np.full((10, 10, 3), 255, np.uint8))
    assert isinstance(result, Segmentation)
    assert result.mask.all()


def test_an_answer_carries_the_signals_and_hides_them_from_its_maps() -> None:
    spec = ModelSpec(name="c", task=Task.CLASSIFICATION, classes=("none", "glioma"), frame=FrameSpec(height=8, width=8))
    outputs = {"probability": np.array([[0.1, 0.9]], np.float32), "trust_mass": np.array([[0.5]], np.float32)}
    result = decode(outputs, spec, head())
    assert isinstance(result, Classification)
    assert (result.parameters, result.maps) == ({}, {})


def test_more_planes_mean_the_most_probable_class() -> None:
    probability = np.zeros((3, 2, 2), np.float32)
    probability[2, 0, 0] = probability[1, 1, 1] = 1
    assert foreground(probability, 0.5).tolist() == [[2, 0], [0, 1]]


def test_a_classification_names_its_label_and_parameters() -> None:
    spec = ModelSpec(name="c", task=Task.CLASSIFICATION, classes=("none", "glioma"), frame=FrameSpec(height=8, width=8))
    outputs = {
        "probability": np.array([[0.1, 0.9]], np.float32),
        "density": np.zeros((1, 5, 8, 8), np.float32),
        "rho_per_day": np.array([0.012], np.float32),
    }
    result = decode(outputs, spec, head())
    assert isinstance(result, Classification)
    assert result.label == "glioma"
    assert result.maps["density"].shape == (5, 8, 8)
    assert result.parameters["rho_per_day"] == pytest.approx(0.012)


def test_a_reconstruction_has_its_image() -> None:
    spec = ModelSpec(
        name="e", task=Task.RECONSTRUCTION, voltages=VoltageSpec(count=208, electrodes=16, protocol="adjacent")
    )
    result = decode({"image": np.ones((1, 64, 64), np.float32)}, spec, head())
    assert isinstance(result, Reconstruction)
    assert result.image.shape == (64, 64)


def test_voltages_of_another_protocol_are_refused() -> None:
    with pytest.raises(UsageError, match=r"PE-FRAME-002.*7 voltages"):
        check_voltages(np.zeros(7), (208,))
