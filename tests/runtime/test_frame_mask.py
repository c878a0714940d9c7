"""The mask at the frame's size: truth from analysis, then exact arithmetic written another way, then what it is for."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from stream_fakes import FakeNet, answer_to, picture

from physedge_runtime.decode import foreground
from physedge_runtime.frame import Crop, Fit, Frame, FrameSpec
from physedge_runtime.frame_mask import labels_on_frame, mask_on_frame
from physedge_runtime.resize import geometry
from physedge_runtime.results import Signal
from physedge_runtime.sinks.measure import regions
from physedge_runtime.sinks.table import open_sink
from physedge_runtime.stream import StreamedFrame, StreamInfo
from physedge_runtime.stream.loop import stream

SPEC = FrameSpec(height=24, width=32)
SPECS = [
    SPEC,
    FrameSpec(height=24, width=32, fit=Fit.LETTERBOX),
    FrameSpec(height=17, width=29, crop=Crop(left=0.1, top=0.2, width=0.55, height=0.7)),
    FrameSpec(height=24, width=32, fit=Fit.LETTERBOX, crop=Crop(left=0.5, top=0.0, width=0.5, height=1.0)),
]
SIZES = [(48, 64), (67, 41), (24, 32), (60, 97), (7, 5), (1, 1), (1, 90)]


def smooth(seed: int, planes: int, spec: FrameSpec) -> NDArray[np.float32]:
    """Probabilities with slopes, plateaus, values at 0, at 1 and exactly at the threshold."""
    generator = np.random.default_rng(seed)
    coarse = generator.random((planes, 5, 5))
    rows, columns = np.linspace(0, 3.999, spec.height), np.linspace(0, 3.999, spec.width)
    down, across = rows.astype(int), columns.astype(int)
    y, x = (rows - down)[:, None], (columns - across)[None, :]
    corner = [coarse[:, down + a][:, :, across + b] for a in (0, 1) for b in (0, 1)]
    values = (corner[0] * (1 - x) + corner[1] * x) * (1 - y) + (corner[2] * (1 - x) + corner[3] * x) * y
    values = np.round(values * 40) / 40 if seed % 2 else values
    if planes > 1:
        values = np.exp(6 * values) / np.exp(6 * values).sum(axis=0)
    return values.astype(np.float32)


def by_fractions(
    probability: NDArray[np.float32], threshold: float, spec: FrameSpec, shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """The rule as it stands in the document, pixel by pixel, in Python's integers and fractions."""
    way = geometry(spec, *shape)
    planes = probability[:, way.grid_top : way.grid_top + way.grid_height]
    planes = planes[:, :, way.grid_left : way.grid_left + way.grid_width]
    labels = np.zeros(shape, np.uint8)
    height, width = way.bottom - way.top, way.right - way.left
    if (height, width) == planes.shape[1:]:
        labels[way.top : way.bottom, way.left : way.right] = foreground(planes, threshold)
        return labels
    least = Fraction(float(np.float32(threshold)))

    def whole(value: float) -> int:
        if planes.shape[0] == 1:
            return int(min(max((Fraction(value) - least) * 2048, -2048), 2048) // 1)
        return int((min(max(Fraction(value), 0), 1) * 2048 + Fraction(1, 2)) // 1)

    values = [[[whole(float(value)) for value in row] for row in plane] for plane in planes]

    def neighbours(index: int, grid_px: int, frame_px: int) -> tuple[int, int, int]:
        place = (index + Fraction(1, 2)) * grid_px / frame_px - Fraction(1, 2)
        if place <= 0 or place >= grid_px - 1:
            first = 0 if place <= 0 else grid_px - 1
            return first, first, 0
        share = place - place // 1
        return int(place // 1), int(place // 1) + 1, int((share * 2048 + Fraction(1, 2)) // 1)

    across = [neighbours(column, way.grid_width, width) for column in range(width)]
    for row in range(height):
        above, below, down = neighbours(row, way.grid_height, height)
        mixed = [
            [(a * (2048 - down) + b * down) // 1024 for a, b in zip(p[above], p[below], strict=True)] for p in values
        ]
        for column, (left, right, weight) in enumerate(across):
            sums = [plane[left] * (2048 - weight) + plane[right] * weight for plane in mixed]
            label = int(sums[0] >= 0) if len(sums) == 1 else sums.index(max(sums))
            labels[way.top + row, way.left + column] = label
    return labels


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("planes", [1, 3])
def test_the_rule_is_followed_to_the_last_pixel(spec: FrameSpec, size: tuple[int, int], planes: int) -> None:
    for seed in range(2):
        probability = smooth(seed, planes, spec)
        found = mask_on_frame(probability, 0.475, spec, size)
        np.testing.assert_array_equal(found, by_fractions(probability, 0.475, spec, size))


@pytest.mark.parametrize("planes", [1, 4])
def test_a_frame_of_the_grids_size_has_the_grids_mask(planes: int) -> None:
    probability = np.random.default_rng(5).random((planes, 24, 32), np.float32)
    probability[0, :4] = np.float32(0.3)
    np.testing.assert_array_equal(
        mask_on_frame(probability, 0.3, SPEC, (24, 32)), foreground(probability, 0.3).astype(np.uint8)
    )


def test_a_straight_edge_lies_where_the_probability_is_the_threshold() -> None:
    probability = np.tile(np.linspace(0, 1, 32, dtype=np.float32), (1, 24, 1))  # p = x / 31 at centres x = 0 ... 31
    mask = mask_on_frame(probability, 0.25, SPEC, (240, 3200))
    edge = int(mask[100].argmax())
    assert edge == pytest.approx((0.25 * 31 + 0.5) * 100, abs=1.5)
    assert (mask == mask[100]).all()


def test_an_oblique_edge_is_a_line_and_no_stairs() -> None:
    rows, columns = np.mgrid[0:24, 0:32]
    probability = np.clip(0.5 + 0.08 * (columns - 0.5 * rows - 8), 0, 1).astype(np.float32)[np.newaxis]
    mask = mask_on_frame(probability, 0.5, SPEC, (480, 640))
    inside = slice(60, 420)
    edge = mask.argmax(axis=1)[inside].astype(float)
    row_px = (np.arange(480)[inside] + 0.5) / 20 - 0.5
    true_px = (8 + 0.5 * row_px + 0.5) * 20
    assert np.abs(edge - true_px).max() < 1.0  # a stair of the grid is 20 pixels wide


@pytest.mark.parametrize("size", [(12, 16), (300, 500)])
def test_what_is_no_number_is_background(size: tuple[int, int]) -> None:
    probability = np.full((1, 24, 32), np.nan, np.float32)
    assert not mask_on_frame(probability, 0.5, SPEC, size).any()
    assert not mask_on_frame(np.full((1, 24, 32), -np.inf, np.float32), 0.5, SPEC, size).any()
    assert mask_on_frame(np.full((1, 24, 32), np.inf, np.float32), 0.5, SPEC, size).all()


def test_it_is_computed_once_and_never_for_another_answer() -> None:
    result = answer_to(Frame(pixels=picture(0, (480, 640))))
    first = labels_on_frame(result, SPEC)
    assert labels_on_frame(result, SPEC) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1
    other = replace(result, probability=np.zeros_like(result.probability))
    assert not labels_on_frame(other, SPEC).any()


def test_figures_are_those_of_the_mask_at_the_frames_size() -> None:
    result = replace(
        answer_to(Frame(pixels=picture(0, (481, 643)))), probability=smooth(0, 1, SPEC), classes=("background", "x")
    )
    labels = labels_on_frame(result, SPEC)
    found: Any = regions(result, SPEC)["x"]
    rows, columns = np.nonzero(labels)
    assert found.area_fraction == pytest.approx(labels.mean(), abs=1e-12)
    assert found.centroid_px == pytest.approx((columns.mean() + 0.5, rows.mean() + 0.5), abs=1e-9)
    assert found.box_px == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def oblique() -> Any:
    """An answer whose border runs obliquely through the grid, to a frame of 480x640."""
    rows, columns = np.mgrid[0:24, 0:32]
    probability = np.clip(0.5 + 0.08 * (columns - 0.5 * rows - 8), 0, 1).astype(np.float32)[np.newaxis]
    grey = Frame(pixels=np.full((480, 640, 3), 100, np.uint8))
    result = replace(answer_to(grey), probability=probability, mask=foreground(probability, 0.5))
    shown = StreamedFrame(frame=grey, result=result, signal=Signal.LIVE, captured_ns=0, at_ns=0, age_ms=0.0)
    return shown, labels_on_frame(result, SPEC)


INFO = StreamInfo(source="x", live=False, period_ns=None, engine="e", classes=("a", "b"), frame_spec=SPEC)


def test_the_film_tints_and_outlines_exactly_this_mask() -> None:
    pytest.importorskip("cv2", reason="the extra camera is not installed")
    from physedge_runtime.sinks.overlay import Overlay

    shown, labels = oblique()
    drawn = Overlay(INFO).draw(shown, with_bar=False)
    assert drawn is not None
    changed = (drawn != 100).any(axis=2)
    inner = np.zeros_like(changed)
    inner[8:-8, 8:-8] = True
    for shift in ((0, 8), (8, 0), (-8, 0), (0, -8)):
        inner &= np.roll(labels, shift, (0, 1)) == labels
    np.testing.assert_array_equal(changed[inner], labels[inner] == 1)
    outline = drawn[~inner]
    assert len(np.unique(outline, axis=0)) > 20  # anti-aliased: many shades between line, halo and picture


def test_openigtlink_sends_exactly_this_mask() -> None:
    pytest.importorskip("pyigtl", reason="the extra igtl is not installed")
    from physedge_runtime.sinks.igtl import IgtlSink

    shown, labels = oblique()
    sink = IgtlSink("127.0.0.1", 0)
    sink.open(INFO)
    try:
        np.testing.assert_array_equal(sink._labels(shown), labels)
    finally:
        sink.close()


def test_a_dicom_segmentation_holds_exactly_this_mask(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
    pytest.importorskip("highdicom", reason="the extra dicom is not installed")
    from stream_dicom import write_dicom

    shown, labels = oblique()
    source = write_dicom(tmp_path / "source.dcm", np.full((2, 480, 640), 100, np.uint8))
    net = FakeNet(lambda frame: replace(shown.result, frame_id=frame.frame_id))
    with stream(net, str(source), sinks=[open_sink(f"dicom:{tmp_path}/seg.dcm")]) as running:
        running.wait()
    np.testing.assert_array_equal(pydicom.dcmread(tmp_path / "seg.dcm").pixel_array[0], labels)
