"""The mask at the frame's size: the probability is brought there, then the threshold; the same bytes on every machine.

Bilinear between the centres of the grid's pixels, held at the border, in whole numbers:

    values      one plane: q = floor(2048 (p - threshold)); several: q = floor(2048 p + 1/2); p as float32
    weights     of the second of two neighbours: floor(2048 f + 1/2), f its share; the first has the rest of 2048
    rows        v = floor(sum(weight * q) / 1024)
    columns     s = sum(weight * v)
    the class   one plane: 1 where s >= 0; several: the plane with the largest s, the first of equal ones

One plane is at least its threshold exactly where q >= 0, so a frame of the grid's own size has the grid's own mask. Of
several planes such a frame takes the grid's mask as it is. No sum passes 2^23, which float32 holds exactly, so a BLAS
may add in any order; the C library does the same with integers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.decode import foreground
from physedge_runtime.frame import FrameSpec
from physedge_runtime.resize import geometry
from physedge_runtime.results import Segmentation

_ONE = 2048
_ROW_SHIFT = 1024.0
_BLOCK_ROWS, _BLOCK_COLUMNS = 128, 64


def labels_on_frame(result: Segmentation, spec: FrameSpec | None) -> NDArray[np.uint8]:
    """The class of every pixel of the frame; computed once for a result, however many ask.

    Args:
        result: Its probability is brought to the frame.
        spec: How the frame came to the grid; None where the whole frame was stretched.

    Returns:
        uint8 (height, width) of the frame, not to be written to: 0 background and outside of what was looked at.
    """
    kept = result.kept.get(spec)
    if kept is None:
        height, width = result.probability.shape[1:]
        way = spec or FrameSpec(height=height, width=width)
        kept = mask_on_frame(result.probability, result.threshold, way, result.frame_shape)
        kept.flags.writeable = False
        result.kept[spec] = kept
    return kept


def mask_on_frame(
    probability: NDArray[np.float32], threshold: float, spec: FrameSpec, frame_shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Bring the probability to the frame, then decide.

    Args:
        probability: float32 (class, height, width) on the grid, 0 to 1; one plane is the foreground of two classes.
        threshold: Of one plane.
        spec: How the frame came to the grid.
        frame_shape: (height, width) in pixels.

    Returns:
        uint8 (height, width): the class, 0 background and outside of what was looked at.
    """
    way = geometry(spec, *frame_shape)
    rows = slice(way.grid_top, way.grid_top + way.grid_height)
    columns = slice(way.grid_left, way.grid_left + way.grid_width)
    planes = np.asarray(probability[:, rows, columns], np.float32)
    if planes.shape[0] > 1:  # what is no number would be the largest
        planes = np.where(np.isnan(planes), np.float32(0), planes)
    grid = foreground(planes, threshold)
    labels = np.zeros(frame_shape, np.uint8)
    part = labels[way.top : way.bottom, way.left : way.right]
    if part.shape == grid.shape:
        part[...] = grid
    elif grid.any():
        _fill(part, grid, _whole_numbers(planes, threshold))
    return labels


def _whole_numbers(planes: NDArray[np.float32], threshold: float) -> NDArray[np.float32]:
    """Whole numbers of at most 2048; what is no number counts as background."""
    if planes.shape[0] == 1:
        above = np.fmax(planes - np.float32(threshold), np.float32(-1))
        scaled: NDArray[np.float32] = np.minimum(above, np.float32(1)) * np.float32(_ONE)
    else:
        within = np.minimum(np.fmax(planes, np.float32(0)), np.float32(1))
        scaled = within * np.float32(_ONE) + np.float32(0.5)
    return np.floor(scaled)


def _fill(part: NDArray[np.uint8], grid: NDArray[np.uint8], values: NDArray[np.float32]) -> None:
    """Fill in the pixels that lie between grid points of which one at least is no background; the others are 0."""
    down, across = _side(grid.shape[0], part.shape[0]), _side(grid.shape[1], part.shape[1])
    top, bottom = _reach(np.flatnonzero(grid.any(axis=1)), down[0])
    left, right = _reach(np.flatnonzero(grid.any(axis=0)), across[0])
    first, second, second_weight = down[0][top:bottom], down[1][top:bottom], down[2][top:bottom, np.newaxis]
    mixed = values[:, first] * (np.float32(_ONE) - second_weight) + values[:, second] * second_weight
    mixed = np.floor(mixed * np.float32(1 / _ROW_SHIFT))
    for start in range(left - left % _BLOCK_COLUMNS, right, _BLOCK_COLUMNS):
        first_column, weights = _columns(grid.shape[1], part.shape[1], start)
        stop = start + weights.shape[1]
        sources = mixed[:, :, first_column : first_column + weights.shape[0]]
        for first_row in range(0, bottom - top, _BLOCK_ROWS):
            piece = sources[:, first_row : first_row + _BLOCK_ROWS]
            row = top + first_row
            part[row : row + piece.shape[1], start:stop] = _decided(piece, weights)


def _decided(sources: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.uint8] | int:
    """The classes of a block of pixels; one number where it is the same for all of one plane."""
    if sources.shape[0] == 1 and (sources.min() >= 0 or sources.max() < 0):
        return int(sources[0, 0, 0] >= 0)
    best = sources[0] @ weights
    if sources.shape[0] == 1:
        inside: NDArray[np.uint8] = (best >= 0).view(np.uint8)
        return inside
    labels = np.zeros(best.shape, np.uint8)
    for label in range(1, sources.shape[0]):
        here = sources[label] @ weights
        labels[here > best] = label
        np.maximum(best, here, out=best)
    return labels


def _reach(inside: NDArray[np.intp], first: NDArray[np.intp]) -> tuple[int, int]:
    """The pixels of one side whose two neighbours on the grid may hold one of these points."""
    return int(np.searchsorted(first, inside[0] - 1, "left")), int(np.searchsorted(first, inside[-1], "right"))


@lru_cache(maxsize=64)
def _side(grid_px: int, frame_px: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float32]]:
    """For every pixel of one side: its two neighbours on the grid, and the weight of the second of 2048."""
    place = np.maximum((2 * np.arange(frame_px, dtype=np.int64) + 1) * grid_px - frame_px, 0)
    first, rest = place // (2 * frame_px), place % (2 * frame_px)
    weight = (rest * _ONE + frame_px) // (2 * frame_px)
    weight[first >= grid_px - 1] = 0
    first = np.minimum(first, grid_px - 1)
    second = np.minimum(first + 1, grid_px - 1)
    return first.astype(np.intp), second.astype(np.intp), weight.astype(np.float32)


@lru_cache(maxsize=512)
def _columns(grid_px: int, frame_px: int, start: int) -> tuple[int, NDArray[np.float32]]:
    """Of a block of columns: the first grid column it needs, and the weights (grid column, column)."""
    firsts, seconds, all_weights = _side(grid_px, frame_px)
    block = slice(start, start + _BLOCK_COLUMNS)
    first, second, weight = firsts[block], seconds[block], all_weights[block]
    weights = np.zeros((int(second[-1] - first[0]) + 1, first.size), np.float32)
    place = np.arange(first.size)
    weights[first - first[0], place] += np.float32(_ONE) - weight
    weights[second - first[0], place] += weight
    return int(first[0]), weights
