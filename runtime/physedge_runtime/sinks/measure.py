"""What of a mask goes into a log: how much, where, in pixels of the frame that was captured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import FrameSpec
from physedge_runtime.frame_mask import labels_on_frame
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
    """Every class but the background, by name, measured on the mask at the frame's size.

    Args:
        result: Its probability is brought to the frame.
        spec: How the frame came to the grid; None where the whole frame was stretched.
    """
    way = way_to_grid(result, spec)
    rows = slice(way.grid_top, way.grid_top + way.grid_height)
    columns = slice(way.grid_left, way.grid_left + way.grid_width)
    probability = result.probability[:, rows, columns]
    labels = labels_on_frame(result, spec)[way.top : way.bottom, way.left : way.right]
    found = {}
    for label, name in enumerate(result.classes[1:], start=1):
        plane = probability[0] if probability.shape[0] == 1 else probability[label]
        found[name] = _region(labels == label, float(plane.max()), way)
    return found


def way_to_grid(result: Segmentation, spec: FrameSpec | None) -> Geometry:
    """Where the looked-at part of the frame lies, and where it lands on the grid."""
    if spec is None:
        spec = FrameSpec(height=result.mask.shape[0], width=result.mask.shape[1])
    return geometry(spec, *result.frame_shape)


def _region(is_inside: NDArray[np.bool_], largest_probability: float, way: Geometry) -> Region:
    in_row = np.count_nonzero(is_inside, axis=1)
    count = int(in_row.sum())
    if not count:
        return Region(area_fraction=0.0, centroid_px=None, box_px=None, largest_probability=largest_probability)
    in_column = np.count_nonzero(is_inside, axis=0)
    rows, columns = np.flatnonzero(in_row), np.flatnonzero(in_column)
    centre_y = float((np.arange(in_row.size) + 0.5) @ in_row) / count
    centre_x = float((np.arange(in_column.size) + 0.5) @ in_column) / count
    return Region(
        area_fraction=count / is_inside.size,
        centroid_px=(way.left + centre_x, way.top + centre_y),
        box_px=(
            way.left + int(columns[0]),
            way.top + int(rows[0]),
            way.left + int(columns[-1]) + 1,
            way.top + int(rows[-1]) + 1,
        ),
        largest_probability=largest_probability,
    )
