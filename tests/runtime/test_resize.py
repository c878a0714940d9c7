"""The resize against its definition in whole numbers, and against what analysis says of a filter."""

from __future__ import annotations

import numpy as np
import pytest

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Colour, Crop, Fit, Frame, FrameSpec
from physedge_runtime.resize import filter_weights, geometry, labels_to_grid, prepare, to_frame


def integer_side(source_px: int, target_px: int) -> np.ndarray:
    weights, first = filter_weights(source_px, target_px)
    dense = np.zeros((target_px, source_px + weights.shape[1]), np.int64)
    for row, (start, values) in enumerate(zip(first, weights, strict=True)):
        dense[row, start : start + len(values)] = values
    assert not dense[:, source_px:].any()
    return dense[:, :source_px]


def resize_in_integers(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    rows = (np.einsum("ij,jkc->ikc", integer_side(pixels.shape[0], height), pixels.astype(np.int64)) + 64) // 128
    return ((np.einsum("ij,kjc->kic", integer_side(pixels.shape[1], width), rows) + 2**14) // 2**15).astype(np.uint8)


@pytest.mark.parametrize("size", [(480, 640), (288, 384), (97, 61), (31, 300), (1, 1), (64, 48), (720, 33)])
def test_float_and_integer_arithmetic_give_the_same_bytes(size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    picture = prepare(Frame(pixels=pixels), FrameSpec(height=64, width=48))
    np.testing.assert_array_equal(picture, resize_in_integers(pixels, 64, 48))


def test_extreme_pixels_stay_within_the_exact_range_of_float32() -> None:
    pixels = np.full((2000, 1500, 3), 255, np.uint8)
    assert (prepare(Frame(pixels=pixels), FrameSpec(height=64, width=64)) == 255).all()


def test_weights_sum_to_one_and_are_never_negative() -> None:
    for source, target in ((480, 256), (256, 480), (7, 1000), (1000, 8)):
        weights, _ = filter_weights(source, target)
        assert (weights.sum(axis=1) == 2048).all()
        assert (weights >= 0).all()


def test_same_size_is_the_identity() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (32, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(prepare(Frame(pixels=pixels), FrameSpec(height=32, width=40)), pixels)


def test_a_linear_ramp_stays_the_ramp() -> None:
    ramp = np.repeat(np.linspace(0, 255, 512).round().astype(np.uint8)[np.newaxis, :, np.newaxis], 16, axis=0)
    picture = prepare(Frame(pixels=np.repeat(ramp, 3, axis=2)), FrameSpec(height=16, width=128)).astype(float)
    expected = (np.arange(128) + 0.5) * 4 / 512 * 255
    np.testing.assert_allclose(picture[:, 4:-4, 0], np.broadcast_to(expected[4:-4], (16, 120)), atol=1.5)


def test_a_fine_checkerboard_becomes_grey_instead_of_aliasing() -> None:
    board = ((np.indices((512, 512)).sum(axis=0) % 2) * 255).astype(np.uint8)
    picture = prepare(Frame(pixels=board), FrameSpec(height=100, width=100))
    assert abs(float(picture.mean()) - 127.5) < 1
    assert picture[2:-2, 2:-2].astype(float).std() < 6


def test_mean_brightness_is_kept() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    assert abs(float(prepare(Frame(pixels=pixels), FrameSpec(height=64, width=64)).mean()) - float(pixels.mean())) < 0.6


def test_channel_orders_lead_to_the_same_picture() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    spec = FrameSpec(height=32, width=32)
    swapped = Frame(pixels=np.ascontiguousarray(pixels[:, :, ::-1]), colour=Colour.BGR)
    np.testing.assert_array_equal(prepare(Frame(pixels=pixels), spec), prepare(swapped, spec))
    grey = FrameSpec(height=32, width=32, colour=Colour.GREY)
    np.testing.assert_array_equal(prepare(Frame(pixels=pixels), grey), prepare(swapped, grey))


def test_a_grey_frame_fills_three_channels_and_luma_follows_bt601() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (32, 32), dtype=np.uint8)
    picture = prepare(Frame(pixels=pixels), FrameSpec(height=32, width=32))
    assert (picture == pixels[:, :, np.newaxis]).all()
    red = np.zeros((32, 32, 3), np.uint8)
    red[:, :, 0] = 255
    assert (prepare(Frame(pixels=red), FrameSpec(height=32, width=32, colour=Colour.GREY)) == 76).all()


def test_letterbox_keeps_the_aspect_and_clears_a_reused_buffer() -> None:
    spec = FrameSpec(height=64, width=64, fit=Fit.LETTERBOX)
    out = np.full(spec.shape, 99, np.uint8)
    prepare(Frame(pixels=np.full((50, 100, 3), 200, np.uint8)), spec, out)
    assert (out[16:48] == 200).all()
    assert not out[:16].any()
    assert not out[48:].any()


def test_crop_looks_only_inside() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[25:75, 25:75] = 180
    spec = FrameSpec(height=16, width=16, crop=Crop(left=0.25, top=0.25, width=0.5, height=0.5))
    assert (prepare(Frame(pixels=pixels), spec) == 180).all()


@pytest.mark.parametrize("fit", list(Fit))
def test_labels_return_to_the_frame_where_they_came_from(fit: Fit) -> None:
    spec = FrameSpec(height=256, width=256, fit=fit, crop=Crop(left=0.1, top=0.0, width=0.8, height=0.9))
    labels = np.zeros((300, 400), np.uint8)
    labels[100:180, 120:260] = 3
    back = to_frame(labels_to_grid(labels, spec), spec, (300, 400))
    assert set(np.unique(back)) == {0, 3}
    assert (back != labels).mean() < 0.005


def test_geometry_covers_the_grid_when_stretched() -> None:
    way = geometry(FrameSpec(height=64, width=32), 7, 9)
    assert (way.grid_height, way.grid_width, way.grid_top, way.grid_left) == (64, 32, 0, 0)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4,), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(pixels: np.ndarray) -> None:
    with pytest.raises(UsageError, match="PE-FRAME-001"):
        prepare(Frame(pixels=pixels), FrameSpec(height=16, width=16))


@pytest.mark.parametrize("side", [0, 7, 5000])
def test_sides_out_of_range_are_refused(side: int) -> None:
    with pytest.raises(UsageError, match="PE-SPEC-001"):
        FrameSpec(height=side, width=64)


def test_a_crop_that_leaves_the_frame_is_refused() -> None:
    with pytest.raises(UsageError, match="PE-SPEC-003"):
        Crop(left=0.5, top=0, width=0.6, height=1)
