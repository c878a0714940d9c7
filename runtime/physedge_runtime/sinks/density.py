"""A density drawn on its picture, with its evolution as a strip of small maps at the right edge."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import FrameSpec
from physedge_runtime.resize import Geometry, geometry
from physedge_runtime.results import Classification
from physedge_runtime.sources.opencv import import_opencv

Picture = NDArray[np.uint8]

DENSITY = "density"
# Below it nothing is tinted: the picture under a density that is nowhere must stay as it is.
_VISIBLE_FROM = 0.05
_STRONGEST_TINT = 0.55
_CONTOURS = ((0.5, 0, (235, 235, 235)), (0.5, -1, (0, 159, 230)))  # level, plane, blue-green-red
_HALO = (20, 20, 20)
_STRIP_SHARE = 0.15
_SMALLEST_STRIP_PX = 24


def draw_density(canvas: Picture, result: Classification, spec: FrameSpec | None) -> None:
    """Tint the picture by the last density, draw where the first (white) and the last (orange) reach one half.

    Args:
        canvas: (height, width, 3), blue first, of the frame's size; drawn on.
        result: With a map `density` (time, row, column); without one nothing is drawn.
        spec: How the frame came to the grid; None where the whole frame was stretched.
    """
    density = result.maps.get(DENSITY)
    if density is None or density.ndim != 3:
        return
    cv2 = import_opencv()
    way = geometry(spec or FrameSpec(height=64, width=64), canvas.shape[0], canvas.shape[1])
    part = canvas[way.top : way.bottom, way.left : way.right]
    last = _to_frame(density[-1], way, spec)
    strength = np.clip((last - _VISIBLE_FROM) / (1.0 - _VISIBLE_FROM), 0.0, 1.0)[:, :, np.newaxis] * _STRONGEST_TINT
    strength[last < _VISIBLE_FROM] = 0.0
    part[:] = (part + strength * (_coloured(last).astype(np.float32) - part)).astype(np.uint8)
    line_px = max(1, round(part.shape[0] / 240))
    drawn = np.ascontiguousarray(part)
    for level, plane, colour in _CONTOURS:
        inside = (_to_frame(density[plane], way, spec) > level).astype(np.uint8)
        outlines, _ = cv2.findContours(inside, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, _HALO, line_px + 2, cv2.LINE_AA)
        cv2.drawContours(drawn, outlines, -1, colour, line_px, cv2.LINE_AA)
    part[:] = drawn
    _draw_strip(canvas, density, result.times_days)


def _draw_strip(canvas: Picture, density: NDArray[np.float32], times_days: tuple[float, ...]) -> None:
    cv2 = import_opencv()
    height, width = canvas.shape[:2]
    side = int(min(_STRIP_SHARE * height, 0.2 * width))
    if side < _SMALLEST_STRIP_PX:
        return
    for index, plane in enumerate(density):
        top = index * (side + 2)
        tile = _coloured(cv2.resize(np.ascontiguousarray(plane), (side, side), interpolation=cv2.INTER_LINEAR))
        canvas[top : top + side, width - side :] = tile
        cv2.rectangle(canvas, (width - side, top), (width - 1, top + side - 1), (120, 120, 120), 1)
        if index < len(times_days):
            where, scale = (width - side + 3, top + side - 4), side / 130
            cv2.putText(
                canvas, f"{times_days[index]:.0f} d", where, cv2.FONT_HERSHEY_SIMPLEX, scale, (235,) * 3, 1, cv2.LINE_AA
            )


def _to_frame(plane: NDArray[np.float32], way: Geometry, spec: FrameSpec | None) -> NDArray[np.float32]:
    """A plane on the looked-at part of the frame, without the margins that fill the grid."""
    cv2 = import_opencv()
    if spec is not None:
        plane = cv2.resize(np.ascontiguousarray(plane), (spec.width, spec.height), interpolation=cv2.INTER_LINEAR)
        rows = slice(way.grid_top, way.grid_top + way.grid_height)
        columns = slice(way.grid_left, way.grid_left + way.grid_width)
        plane = plane[rows, columns]
    size = (way.right - way.left, way.bottom - way.top)
    return np.asarray(cv2.resize(np.ascontiguousarray(plane), size, interpolation=cv2.INTER_LINEAR), np.float32)


def _coloured(plane: NDArray[np.float32]) -> Picture:
    """0 to 1 in the colours of a flame, which rise in brightness for everybody's eyes."""
    cv2 = import_opencv()
    levels = np.clip(plane * 255.0, 0, 255).astype(np.uint8)
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO), np.uint8)
