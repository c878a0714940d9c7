"""The sweep over layers against quantising each alone the long way round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge_calibrate.emulation import emulate
from physedge_calibrate.quantize import QuantizedModel, quantize_unsigned
from physedge_calibrate.sensitivity import (
    LayerSensitivity,
    draw_sensitivity,
    layer_sensitivity,
    layers_to_keep_in_float,
)
from physedge_runtime.errors import UsageError

Frames = list[NDArray[np.uint8]]


def answers(model: bytes, frames: Frames) -> NDArray[np.float64]:
    outputs = emulate(model, frames, input_name="frame")
    return np.concatenate([output["probability"].ravel() for output in outputs]).astype(np.float64)


def error_of(model: bytes, reference: bytes, frames: Frames) -> float:
    whole = answers(reference, frames)
    return float(np.sqrt(np.mean((answers(model, frames) - whole) ** 2)) / whole.std())


@pytest.fixture(scope="module")
def quantised(small_network: bytes, physics_nodes: tuple[str, ...], calibration_frames: Frames) -> QuantizedModel:
    return quantize_unsigned(small_network, calibration_frames, input_name="frame", float_nodes=physics_nodes)


@pytest.fixture(scope="module")
def layers(small_network: bytes, quantised: QuantizedModel, other_frames: Frames) -> tuple[LayerSensitivity, ...]:
    return layer_sensitivity(small_network, quantised, other_frames, input_name="frame")


def test_every_quantised_layer_is_ranked(layers: tuple[LayerSensitivity, ...], quantised: QuantizedModel) -> None:
    assert {layer.node for layer in layers} == set(quantised.quantised_nodes)
    errors = [layer.error for layer in layers]
    assert errors == sorted(errors, reverse=True)
    assert min(errors) > 0
    assert sum(layer.mac_share for layer in layers) == pytest.approx(quantised.int8_mac_share)


def test_each_error_is_that_of_a_graph_with_this_layer_alone_quantised(
    layers: tuple[LayerSensitivity, ...],
    small_network: bytes,
    physics_nodes: tuple[str, ...],
    calibration_frames: Frames,
    other_frames: Frames,
) -> None:
    names = {layer.node for layer in layers}
    for layer in layers:
        alone = quantize_unsigned(
            small_network,
            calibration_frames,
            input_name="frame",
            float_nodes=[*physics_nodes, *(names - {layer.node})],
        )
        assert alone.quantised_nodes == (layer.node,)
        assert layer.error == pytest.approx(error_of(alone.model, small_network, other_frames), rel=0.05)


def test_errors_of_layers_add_as_squares(
    layers: tuple[LayerSensitivity, ...], small_network: bytes, quantised: QuantizedModel, other_frames: Frames
) -> None:
    together = error_of(quantised.model, small_network, other_frames)
    assert np.sqrt(sum(layer.error**2 for layer in layers)) == pytest.approx(together, rel=0.5)


def test_progress_and_the_number_of_images(
    small_network: bytes, quantised: QuantizedModel, other_frames: Frames
) -> None:
    seen: list[tuple[int, int]] = []
    few = layer_sensitivity(
        small_network,
        quantised,
        iter(other_frames * 10),
        input_name="frame",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    same = layer_sensitivity(small_network, quantised, other_frames * 2, input_name="frame")
    assert few == same


def test_no_images_are_refused(small_network: bytes, quantised: QuantizedModel) -> None:
    with pytest.raises(UsageError, match="PE-CALIB-001"):
        layer_sensitivity(small_network, quantised, [], input_name="frame")


def layer(node: str, error: float, mac_share: float) -> LayerSensitivity:
    return LayerSensitivity(node=node, operator="Conv", mac_share=mac_share, error=error)


def test_the_layers_left_in_float_remove_the_error_cheaply() -> None:
    ranked = [layer("big", 0.4, 0.5), layer("head", 0.3, 0.01), layer("stem", 0.2, 0.02), layer("mid", 0.1, 0.1)]
    assert layers_to_keep_in_float(ranked, error_share=0.25, mac_share=0.1) == ("head",)
    assert layers_to_keep_in_float(ranked, error_share=0.4, mac_share=0.1) == ("head", "stem")
    assert layers_to_keep_in_float(ranked, error_share=0.0) == ()
    assert layers_to_keep_in_float([]) == ()


def test_the_picture_is_written(layers: tuple[LayerSensitivity, ...], tmp_path: Path) -> None:
    draw_sensitivity(tmp_path / "sensitivity.png", layers, labels={"stem": "network.stem"})
    assert (tmp_path / "sensitivity.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
