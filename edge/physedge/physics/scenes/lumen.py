"""The wall of a colon: a bent tube with semilunar folds, as a radius over axial position and angle."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import (
    FloatField,
    Floats,
    Reading,
    angle_of,
    read_field,
    smooth_noise,
    smooth_step,
    unit,
)

F32 = NDArray[np.float32]

LENGTH_MM = 200.0
"""Axial period of all tables of the wall."""

TABLE = (512, 512)
"""Cells of the geometry tables: `(axial, angle)`."""

_WINDOW_MM = 6.0
_ROWS_PER_MM = np.float32(TABLE[0] / LENGTH_MM)
_COLUMNS_PER_RAD = np.float32(TABLE[1] / (2.0 * np.pi))


@dataclass(frozen=True, slots=True)
class WallSurface:
    """The wall at some of its points.

    Attributes:
        normal: `(3, point)` unit normal into the lumen.
        cos: `(point,)` cosine of the angle around the centre line.
        sin: `(point,)` its sine.
        row: `(point,)` row of the geometry tables, fractional.
        column: `(point,)` column of the geometry tables, fractional.
    """

    normal: F32
    cos: Floats
    sin: Floats
    row: F32
    column: F32


@dataclass(frozen=True, slots=True, kw_only=True)
class Lumen:
    """A tube around a bent centre line; x and y across it, z along it, the scope near z = 0 looking to +z.

    Attributes:
        radius_mm: Mean radius.
        wall: `(3, axial, angle)` radius (mm), its slope along z, its slope along the angle (mm per radian).
        near_radius: `(axial, angle)` smallest radius within 6 mm: how far a ray may go without looking.
        near_slack: `(axial, angle)` distance to the wall over the radial gap, at least, within 6 mm.
        centre: `(4, axial step)` centre line x, y (mm) and their slopes along z, 16 steps a cell.
    """

    radius_mm: float
    wall: FloatField
    near_radius: FloatField
    near_slack: FloatField
    centre: FloatField

    def _axis_step(self, z_mm: Floats) -> NDArray[np.int32]:
        steps = self.centre.shape[1]
        return np.asarray((z_mm * np.float32(steps / LENGTH_MM)).astype(np.int32) & (steps - 1), dtype=np.int32)

    def _across(self, point: Floats) -> tuple[F32, F32, F32]:
        """Offset from the centre line, x and y, and its length, mm."""
        step = self._axis_step(point[2])
        qx = point[0] - np.take(self.centre[0], step)
        qy = point[1] - np.take(self.centre[1], step)
        return qx, qy, np.sqrt(qx * qx + qy * qy)

    def distance(self, point: Floats) -> tuple[F32, F32]:
        """How far the wall is from `(3, point)` positions, in mm: `(safe, gap)`, both `(point,)`.

        `gap` is the radial gap, negative behind the wall. `safe` never oversteps: the larger of the room to the
        smallest radius nearby and the gap as the steepest slope nearby shortens it.
        """
        qx, qy, reach = self._across(point)
        row, column = point[2] * _ROWS_PER_MM, angle_of(qy, qx) * _COLUMNS_PER_RAD
        cell = (row.astype(np.int32) & (TABLE[0] - 1)) * TABLE[1] + (column.astype(np.int32) & (TABLE[1] - 1))
        gap = read_field(self.wall[0], row, column) - reach
        room = np.take(self.near_radius.reshape(-1), cell) - reach
        sloped = np.take(self.near_slack.reshape(-1), cell) * gap
        return np.minimum(np.maximum(np.float32(0.85) * room, sloped), np.float32(_WINDOW_MM)), gap

    def surface(self, point: Floats) -> WallSurface:
        """The wall at `(3, point)` positions on it."""
        qx, qy, reach = self._across(point)
        row, column = point[2] * _ROWS_PER_MM, angle_of(qy, qx) * _COLUMNS_PER_RAD
        reading = Reading(TABLE, row, column)
        inverse = 1.0 / np.maximum(reach, np.float32(1e-3))
        cos, sin = qx * inverse, qy * inverse
        slope = reading.of(self.wall[2]) * inverse
        step = self._axis_step(point[2])
        # Minus the gradient of reach - radius, with the bending of the centre line taken along.
        normal = np.empty(point.shape, dtype=np.float32)
        normal[0] = -cos - slope * sin
        normal[1] = slope * cos - sin
        bend = np.take(self.centre[2], step) * normal[0] + np.take(self.centre[3], step) * normal[1]
        normal[2] = reading.of(self.wall[1]) - bend
        return WallSurface(unit(normal), cos, sin, row, column)

    def point_on_wall(self, z_mm: float, angle: float) -> tuple[F32, F32]:
        """`(3,)` position and `(3,)` inward normal of the wall at an axial position and an angle."""
        axial = np.array([z_mm], dtype=np.float32)
        column = np.array([angle * TABLE[1] / (2.0 * np.pi)], dtype=np.float32)
        radius = read_field(self.wall[0], axial * _ROWS_PER_MM, column)
        x, y = self.centre[:2, self._axis_step(axial)]
        point = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle), axial]).astype(np.float32)
        return point[:, 0], self.surface(point).normal[:, 0]


def draw_lumen(rng: np.random.Generator, *, clear_mm: float, spot: tuple[float, float], spot_mm: float) -> Lumen:
    """A colon segment whose folds begin in front of the scope and flatten where a polyp sits.

    Args:
        rng: Source of the shape.
        clear_mm: No folds below this z, where the scope moves.
        spot: `(z in mm, angle)` of the polyp's base.
        spot_mm: Radius of the flattened patch.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    radius = rng.uniform(19.0, 25.0)
    z = (np.arange(TABLE[0]) * (LENGTH_MM / TABLE[0]))[:, None]
    angle = (np.arange(TABLE[1]) * (2.0 * np.pi / TABLE[1]))[None, :]
    height = _folds(rng, radius, z, angle)
    height *= smooth_step(((z - clear_mm) / 12.0).astype(np.float32)) * smooth_step(
        ((LENGTH_MM - 10.0 - z) / 20.0).astype(np.float32)
    )
    turn = np.angle(np.exp(1j * (angle - spot[1])))
    apart = np.hypot(z - spot[0], turn * radius)
    height *= 1.0 - 0.85 * np.exp(-((apart / spot_mm) ** 2))
    # Three taeniae pull the cross-section towards a triangle.
    triangle = rng.uniform(0.02, 0.09) * np.cos(3.0 * (angle - rng.uniform(0.0, 2.0 * np.pi)))
    unrest = smooth_noise(rng, TABLE, (16.0, 24.0)) * 0.02 + smooth_noise(rng, TABLE, (5.0, 7.0)) * 0.004
    wall = np.maximum(radius * (1.0 + triangle + unrest) - height, 0.25 * radius).astype(np.float32)
    along = (np.roll(wall, -1, 0) - np.roll(wall, 1, 0)) * (0.5 * TABLE[0] / LENGTH_MM)
    around = (np.roll(wall, -1, 1) - np.roll(wall, 1, 1)) * (0.5 * TABLE[1] / (2.0 * np.pi))
    steepness = np.hypot(along, around / wall)
    cells_per_mm = (TABLE[0] / LENGTH_MM, TABLE[1] / (2.0 * np.pi * 0.6 * radius))
    window = tuple(2 * int(_WINDOW_MM * cells) + 1 for cells in cells_per_mm)
    return Lumen(
        radius_mm=radius,
        wall=np.stack([wall, along, around]).astype(np.float32),
        near_radius=np.asarray(minimum_filter(wall, size=window, mode="wrap"), dtype=np.float32),
        near_slack=(0.8 / np.sqrt(1.0 + maximum_filter(steepness, size=window, mode="wrap") ** 2)).astype(np.float32),
        centre=_centre_line(rng, radius),
    )


def _folds(rng: np.random.Generator, radius: float, z: Floats, angle: Floats) -> FloatField:
    """`(axial, angle)` how far the folds stand into the lumen, mm."""
    height = np.zeros(TABLE, dtype=np.float32)
    position = rng.uniform(8.0, 26.0)
    while position < LENGTH_MM - 8.0:
        middle = rng.uniform(0.0, 2.0 * np.pi)
        distance = np.abs(np.angle(np.exp(1j * (angle - middle))))
        arc = np.exp(-((distance / rng.uniform(0.7, 2.2)) ** rng.uniform(2.0, 4.0)))
        lean = rng.normal(0.0, 2.5) * np.sin(angle - middle) + rng.normal(0.0, 3.0) * np.cos(2.0 * (angle - middle))
        width = rng.uniform(1.6, 3.6)
        # Beyond four and a half broad widths from the leaning crest nothing is left of a fold.
        reach = float(np.abs(lean).max()) + 13.0 * width
        rows = np.flatnonzero(np.abs(z[:, 0] - position) < reach)
        away = np.abs((z[rows] - position - lean) / width).astype(np.float32)
        ridge = np.exp(-(away ** np.float32(1.6))) + np.float32(0.35) * np.exp(-np.square(away / np.float32(2.8)))
        height[rows] = np.maximum(height[rows], (radius * rng.uniform(0.12, 0.5) * arc).astype(np.float32) * ridge)
        position += rng.uniform(9.0, 34.0)
    return height


def _centre_line(rng: np.random.Generator, radius: float) -> FloatField:
    """`(4, axial step)` centre line and its slope; straight at the scope, periodic over the table."""
    z = np.arange(TABLE[0] * 16) * (LENGTH_MM / (TABLE[0] * 16))
    turns = 2.0 * np.pi * z / LENGTH_MM
    line = np.zeros((2, len(z)))
    for harmonic, swing in ((1, 1.1), (2, 0.35)):
        for axis in range(2):
            amplitude = radius * swing * rng.uniform(-1.0, 1.0)
            line[axis] += amplitude * (1.0 - np.cos(harmonic * turns)) / 2.0
    return np.concatenate([line, np.gradient(line, z, axis=1)]).astype(np.float32)
