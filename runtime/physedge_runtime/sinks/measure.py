"""What of a mask goes into a log: how much, where, in pixels of the frame that was captured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import FrameSpec
from physedge_runtime.resize import Geometry, geometry
from physedge_runtime.results import Segmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One class in one mask.

    Attributes:
        area_fraction: Share of the looked-at part of the frame, 0 to 1.
        centroid_px: x and y in pixels of the frame, pixel centres at halves; None for an empty region.
        box_px: Left, top, right, bottom in pixels of the frame, right and bottom exclusive; None for an empty region.
        largest_probability: Of the class anywhere, 0 to 1.
    """

    area_fraction: float
    centroid_px: tuple[float, float] | None
    box_px: tuple[int, int, int, int] | None
    largest_probability: float


def regions(result: Segmentation, spec: FrameSpec | None) -> dict[str, Region]:
    """Every class but the background, by name.

    Args:
        result: Mask and probabilities on the network's grid.
        spec: How the frame came to the grid; None where the whole frame was stretched.
    """
    way = way_to_grid(result, spec)
    rows = slice(way.grid_top, way.grid_top + way.grid_height)
    columns = slice(way.grid_left, way.grid_left + way.grid_width)
    mask, probability = result.mask[rows, columns], result.probability[:, rows, columns]
    found = {}
    for label, name in enumerate(result.classes[1:], start=1):
        plane = probability[0] if probability.shape[0] == 1 else probability[label]
        found[name] = _region(mask == label, float(plane.max()), way)
    return found


def way_to_grid(result: Segmentation, spec: FrameSpec | None) -> Geometry:
    """Where the looked-at part of the frame lies, and where it lands on the grid."""
    if spec is None:
        spec = FrameSpec(height=result.mask.shape[0], width=result.mask.shape[1])
    return geometry(spec, *result.frame_shape)


def _region(is_inside: NDArray[np.bool_], largest_probability: float, way: Geometry) -> Region:
    count = int(is_inside.sum())
    share = count / is_inside.size
    if not count:
        return Region(area_fraction=0.0, centroid_px=None, box_px=None, largest_probability=largest_probability)
    in_row, in_column = is_inside.sum(axis=1), is_inside.sum(axis=0)
    scale_y, scale_x = (way.bottom - way.top) / way.grid_height, (way.right - way.left) / way.grid_width
    rows, columns = np.flatnonzero(in_row), np.flatnonzero(in_column)
    centre_y = float((np.arange(in_row.size) + 0.5) @ in_row) / count
    centre_x = float((np.arange(in_column.size) + 0.5) @ in_column) / count
    return Region(
        area_fraction=share,
        centroid_px=(way.left + centre_x * scale_x, way.top + centre_y * scale_y),
        box_px=(
            way.left + int(columns[0] * scale_x),
            way.top + int(rows[0] * scale_y),
            way.left + round((columns[-1] + 1) * scale_x),
            way.top + round((rows[-1] + 1) * scale_y),
        ),
        largest_probability=largest_probability,
    )
