"""The one resize: from a raw frame to the picture that the graph takes in, the same bytes on every machine.

A separable triangle filter whose width grows with the reduction (so that nothing aliases), in whole numbers:

    weights     rounded to 11 bits, each row summing to exactly 2048
    rows        v = floor((sum(weight * pixel) + 64) / 128)            at most 12 bits
    columns     p = floor((sum(weight * v) + 2^14) / 2^15)             8 bits

Rows come first. Every product and every partial sum stays below 2^24, so float32 holds it exactly: the sums may be
taken in any
order, by any BLAS, with or without fused multiply-add, and the bytes do not change. An integer implementation in
another language
gives the same picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import Colour, Fit, Frame, FrameSpec, check_frame

_WEIGHT_ONE = 2048
_ROW_SHIFT = 128.0
_COLUMN_SHIFT = 32768.0
# Output pixels of one product. More make its zeros dearer, fewer make it too small for BLAS; measured.
_BLOCK_ROWS = 8
_BLOCK_COLUMNS = 4
# OpenBLAS, which numpy's wheels bring, shares a product above this many multiply-adds among all cores. For products as
# small as these its threads cost more than they save, and where the cores have other work they wait for each other.
_PRODUCTS_ON_ONE_THREAD = 2**18


@dataclass(frozen=True, slots=True)
class _Block:
    """Outputs `start:stop` depend on inputs `first:last` through `weights`: (output, input) for the rows."""

    start: int
    stop: int
    first: int
    last: int
    weights: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """Where the looked-at part of a frame lies, and where it lands on the grid; all in whole pixels.

    Attributes:
        top, bottom, left, right: The crop in the frame.
        grid_top, grid_left: Corner of the picture on the grid (not 0 under a letterbox).
        grid_height, grid_width: Size of the picture on the grid.
    """

    top: int
    bottom: int
    left: int
    right: int
    grid_top: int
    grid_left: int
    grid_height: int
    grid_width: int


@lru_cache(maxsize=64)
def geometry(spec: FrameSpec, height_px: int, width_px: int) -> Geometry:
    """The way from a frame of this size to the grid of `spec`."""
    top, bottom, left, right = spec.crop.pixels(height_px, width_px) if spec.crop else (0, height_px, 0, width_px)
    if spec.fit is Fit.STRETCH:
        grid_height, grid_width = spec.height, spec.width
    else:
        scale = min(spec.height / (bottom - top), spec.width / (right - left))
        grid_height = min(spec.height, max(1, round((bottom - top) * scale)))
        grid_width = min(spec.width, max(1, round((right - left) * scale)))
    return Geometry(
        top=top,
        bottom=bottom,
        left=left,
        right=right,
        grid_top=(spec.height - grid_height) // 2,
        grid_left=(spec.width - grid_width) // 2,
        grid_height=grid_height,
        grid_width=grid_width,
    )


def prepare(frame: Frame, spec: FrameSpec, out: NDArray[np.uint8] | None = None) -> NDArray[np.uint8]:
    """Bring a raw frame to the declared form.

    Args:
        frame: uint8 (height, width, 3) or (height, width), any size, in `frame.colour` order.
        spec: The declared form.
        out: uint8 (height, width, channel) of the declared shape, written and handed back; a new array where None.

    Returns:
        uint8 (height, width, channel). A grey spec takes 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601); a grey frame
        fills three
        channels.

    Raises:
        UsageError: The frame is no picture (`PE-FRAME-001`).
    """
    check_frame(frame)
    pixels = frame.pixels if frame.pixels.ndim == 3 else frame.pixels[:, :, np.newaxis]
    way = geometry(spec, pixels.shape[0], pixels.shape[1])
    picture = resample(pixels[way.top : way.bottom, way.left : way.right], way.grid_height, way.grid_width)
    picture = _recolour(picture, frame.colour, spec.colour)
    if out is None:
        out = np.zeros(spec.shape, np.uint8)
    elif spec.fit is Fit.LETTERBOX:
        out[...] = 0
    rows = slice(way.grid_top, way.grid_top + way.grid_height)
    columns = slice(way.grid_left, way.grid_left + way.grid_width)
    out[rows, columns] = picture
    return out


def labels_to_grid(labels: NDArray[np.uint8], spec: FrameSpec) -> NDArray[np.uint8]:
    """Bring a label picture (height, width) to the grid by the nearest pixel centre; outside a letterbox is 0."""
    way = geometry(spec, labels.shape[0], labels.shape[1])
    rows = way.top + nearest(way.bottom - way.top, way.grid_height)
    columns = way.left + nearest(way.right - way.left, way.grid_width)
    grid = np.zeros((spec.height, spec.width), labels.dtype)
    inside = slice(way.grid_top, way.grid_top + way.grid_height), slice(way.grid_left, way.grid_left + way.grid_width)
    grid[inside] = labels.take(rows, axis=0).take(columns, axis=1)
    return grid


def to_frame(grid: NDArray[np.uint8], spec: FrameSpec, frame_shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Bring labels on the grid (height, width) back to the frame by the nearest centre; 0 outside the crop."""
    way = geometry(spec, *frame_shape)
    rows = way.grid_top + nearest(way.grid_height, way.bottom - way.top)
    columns = way.grid_left + nearest(way.grid_width, way.right - way.left)
    # One side after the other, with `take`: an eighth of the time of indexing both at once.
    part = grid.take(columns, axis=1).take(rows, axis=0)
    if part.shape == tuple(frame_shape):
        return part
    labels = np.zeros(frame_shape, grid.dtype)
    labels[way.top : way.bottom, way.left : way.right] = part
    return labels


def nearest(source_px: int, target_px: int) -> NDArray[np.intp]:
    """For each of `target_px` pixels the nearest of `source_px` pixels along one side."""
    centres = (2 * np.arange(target_px, dtype=np.int64) + 1) * source_px // (2 * target_px)
    return np.minimum(centres, source_px - 1).astype(np.intp)


def resample(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """A picture at another size: uint8 (height, width, channel), by the filter that the module describes."""
    source_height, source_width, channels = pixels.shape
    if (source_height, source_width) == (height, width):
        return pixels  # the weights are then the identity: 2048 * p / 128 / 2048 * 128 = p
    rows = np.empty((height, source_width * channels), np.float32)
    for block in _blocks(source_height, height, _BLOCK_ROWS):
        part = pixels[block.first : block.last].astype(np.float32, order="C").reshape(-1, source_width * channels)
        out = rows[block.start : block.stop]
        for piece in _pieces(part.shape[1], block.weights.size):
            np.matmul(block.weights, part[:, piece], out=out[:, piece])
        _round(out, _ROW_SHIFT)
    columns = np.empty((height, width * channels), np.float32)
    for block in _interleaved_blocks(source_width, width, channels):
        part, out = rows[:, block.first : block.last], columns[:, block.start : block.stop]
        for piece in _pieces(height, block.weights.size):
            np.matmul(part[piece], block.weights, out=out[piece])
    _round(columns, _COLUMN_SHIFT)
    return columns.astype(np.uint8).reshape(height, width, channels)


@lru_cache(maxsize=512)
def _pieces(count: int, products: int) -> tuple[slice, ...]:
    """`count` rows or columns of `products` multiply-adds each, in pieces that stay on one thread."""
    step = max(1, _PRODUCTS_ON_ONE_THREAD // products)
    return tuple(slice(start, min(start + step, count)) for start in range(0, count, step))


def _round(values: NDArray[np.float32], shift: float) -> None:
    values += np.float32(shift / 2)
    values *= np.float32(1 / shift)  # a power of two: exact
    np.floor(values, out=values)


@lru_cache(maxsize=128)
def _blocks(source_px: int, target_px: int, block_px: int) -> tuple[_Block, ...]:
    """The filter of one side, cut into blocks so that the band matrix is multiplied without most of its zeros."""
    weights, first = filter_weights(source_px, target_px)
    taps = weights.shape[1]
    blocks = []
    for start in range(0, target_px, block_px):
        stop = min(start + block_px, target_px)
        low, high = int(first[start]), int(first[stop - 1]) + taps
        dense = np.zeros((stop - start, high - low), np.float32)
        for row in range(start, stop):
            offset = int(first[row]) - low
            dense[row - start, offset : offset + taps] = weights[row]
        high = min(high, source_px)
        blocks.append(_Block(start, stop, low, high, np.ascontiguousarray(dense[:, : high - low])))
    return tuple(blocks)


@lru_cache(maxsize=128)
def _interleaved_blocks(source_px: int, target_px: int, channels: int) -> tuple[_Block, ...]:
    """The filter of a row whose pixels hold `channels` values side by side, weights as (input, output).

    The zeros between channels cost less than taking the channels apart and putting them together again.
    """
    return tuple(
        _Block(
            start=block.start * channels,
            stop=block.stop * channels,
            first=block.first * channels,
            last=block.last * channels,
            weights=np.ascontiguousarray(np.kron(block.weights, np.eye(channels, dtype=np.float32)).T),
        )
        for block in _blocks(source_px, target_px, _BLOCK_COLUMNS)
    )


def filter_weights(source_px: int, target_px: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The whole-number filter of one side.

    Args:
        source_px: Pixels before.
        target_px: Pixels after.

    Returns:
        Weights (target, tap), each row summing to 2048, and the first source pixel of each target pixel (target,).
        Taps that would
        lie past the last pixel have weight 0.
    """
    scale = source_px / target_px
    support = max(1.0, scale)
    centres = (np.arange(target_px) + 0.5) * scale
    first = np.maximum(np.floor(centres - support).astype(np.int64), 0)
    taps = min(int(np.ceil(2 * support)) + 1, source_px)
    index = first[:, np.newaxis] + np.arange(taps)
    distance = np.abs(index + 0.5 - centres[:, np.newaxis]) / support
    weights = np.where(index < source_px, np.maximum(0.0, 1.0 - distance), 0.0)
    weights = np.rint(_WEIGHT_ONE * weights / weights.sum(axis=1, keepdims=True)).astype(np.int64)
    rows = np.arange(target_px)
    weights[rows, weights.argmax(axis=1)] += _WEIGHT_ONE - weights.sum(axis=1)
    return weights, first


def _recolour(picture: NDArray[np.uint8], source: Colour, target: Colour) -> NDArray[np.uint8]:
    channels = picture.shape[2]
    if target is Colour.GREY:
        if channels == 1:
            return picture
        red, blue = (0, 2) if source is Colour.RGB else (2, 0)
        wide = picture.astype(np.uint32)
        grey = 299 * wide[:, :, red] + 587 * wide[:, :, 1] + 114 * wide[:, :, blue]
        return ((grey + 500) // 1000).astype(np.uint8)[:, :, np.newaxis]
    if channels == 1:
        return np.broadcast_to(picture, (*picture.shape[:2], 3))
    return picture if source is target else picture[:, :, ::-1]
