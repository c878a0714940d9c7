"""The mask at the frame's size in C: the same bytes and figures as in Python, whatever the probability is."""

from __future__ import annotations

import ctypes as c
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from native_library import Native, OpenNet, Region
from tiny_network import tiny_contents

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Crop, Fit, FrameSpec
from physedge_runtime.frame_mask import labels_on_frame
from physedge_runtime.manifest import Output
from physedge_runtime.results import Segmentation, StageTimes
from physedge_runtime.sinks.measure import regions

SHAPES = {
    "stretch": FrameSpec(height=24, width=40),
    "letterbox": FrameSpec(height=24, width=40, fit=Fit.LETTERBOX),
    "crop": FrameSpec(height=33, width=17, crop=Crop(left=0.1, top=0.2, width=0.55, height=0.7)),
}
SIZES = [(48, 80), (101, 67), (24, 40), (33, 17), (240, 401), (7, 5), (1, 1), (720, 3)]


def values(seed: int, planes: int, spec: FrameSpec) -> np.ndarray:
    """Blobs, noise, values at the threshold, beyond 0 to 1, and what is no number."""
    generator = np.random.default_rng(seed)
    field = generator.random((planes, spec.height, spec.width))
    if seed % 2:  # smooth: most pixels lie between points of one class
        for axis in (1, 2):
            field = np.mean([np.roll(field, shift, axis) for shift in range(-3, 4)], axis=0)
        field = (field - field.mean()) * 4 + 0.5
    field[generator.random(field.shape) < 0.05] = 0.3
    field[generator.random(field.shape) < 0.01] = np.nan if seed == 3 else 1.5
    return field.astype(np.float32)


def result_of(probability: np.ndarray, size: tuple[int, int], threshold: float) -> Segmentation:
    planes = probability.shape[0]
    return Segmentation(
        frame_id=0,
        captured_ns=0,
        age_ms=0.0,
        stages=StageTimes(),
        mask=np.zeros(probability.shape[1:], np.uint8),
        probability=probability,
        classes=tuple(f"class {number}" for number in range(max(planes, 2))),
        frame_shape=size,
        threshold=threshold,
    )


@pytest.mark.parametrize("planes", [1, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_bytes_and_figures_are_those_of_python(
    shape: str, planes: int, write_tiny: Callable[..., Path], native: Native
) -> None:
    spec, manifest = SHAPES[shape], tiny_contents()[0]
    names = ("background", "lesion") if planes == 1 else tuple(f"class {number}" for number in range(planes))
    model = manifest.spec.model_copy(update={"frame": spec, "threshold": 0.3, "classes": names})
    outputs = (Output(name="probability", shape=(planes, spec.height, spec.width)),)
    golden = np.zeros((planes, spec.height, spec.width), "<f4").tobytes()  # the fake is not held to it
    path = write_tiny(spec=model, outputs=outputs, contents={"golden/0.probability": golden})
    with native.open(path, engine=b"fake") as net:
        for seed in range(4):
            net.outputs["probability"][...] = probability = values(seed, planes, spec)
            for size in SIZES:
                expected = result_of(probability, size, 0.3)
                net.result.frame_height_px, net.result.frame_width_px = size
                np.testing.assert_array_equal(labels(native, net, size), labels_on_frame(expected, spec))
                check_regions(native, net, expected, spec)


def labels(native: Native, net: OpenNet, size: tuple[int, int]) -> np.ndarray:
    found = np.full((size[0], size[1] + 5), 9, np.uint8)
    native.check(
        lambda e: native.library.physedge_net_frame_mask(
            net.handle, c.byref(net.result), found.ctypes.data, found.strides[0], e
        )
    )
    assert (found[:, size[1] :] == 9).all()  # nothing behind a row is written to
    return found[:, : size[1]]


def check_regions(native: Native, net: OpenNet, expected: Segmentation, spec: FrameSpec) -> None:
    for number, wanted in enumerate(regions(expected, spec).values(), start=1):
        region = Region()
        native.check(
            lambda e, number=number, region=region: native.library.physedge_net_region(  # type: ignore[misc]
                net.handle, c.byref(net.result), number, c.byref(region), e
            )
        )
        assert bool(region.is_empty) == (wanted.box_px is None)
        assert region.area_fraction == pytest.approx(wanted.area_fraction, abs=1e-12)
        if wanted.centroid_px is not None:
            assert (region.centroid_x_px, region.centroid_y_px) == pytest.approx(wanted.centroid_px, abs=1e-6)
            assert (region.left_px, region.top_px, region.right_px, region.bottom_px) == wanted.box_px


def test_without_the_probability_there_is_no_mask(write_tiny: Callable[..., Path], native: Native) -> None:
    with native.open(write_tiny(), engine=b"fake") as net:
        net.result.frame_height_px, net.result.frame_width_px = 40, 50
        labels(native, net, (40, 50))
        net.result.output_floats[0] -= 1
        with pytest.raises(UsageError, match="PE-NATIVE-001"):
            labels(native, net, (40, 50))
        net.result.output_floats[0] += 1
        with pytest.raises(UsageError, match="PE-NATIVE-001"):
            native.check(
                lambda e: native.library.physedge_net_frame_mask(net.handle, c.byref(net.result), net.handle, 49, e)
            )
        net.result.output[0] = None
        with pytest.raises(UsageError, match="PE-NATIVE-001"):
            labels(native, net, (40, 50))
