"""From pixels to points of the scene: the scope's lens, and rays followed to the first surface they meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import Floats, dot
from physedge.physics.scenes.lumen import Lumen
from physedge.physics.scenes.polyp import Polyp, smooth_minimum

F32 = NDArray[np.float32]

FAR_MM = 150.0
"""Rays that meet nothing this far away end there, in the dark."""

_BLOCK = 12288

# How far a predicted step may exceed the safe one: more is faster, and jumps over thin folds.
_STRIDE = np.float32(1.4)
# A ray has arrived when the level, about its distance to the surface, is below this share of a pixel there.
_CLOSE_PIXELS = np.float32(0.2)
# Least step, in pixels: without it a ray that grazes a surface would creep along it. Too long a step costs nothing,
# since what is behind a surface is taken back to it.
_LEAST_PIXELS = np.float32(3.0)


@dataclass(frozen=True, slots=True)
class Surfaces:
    """Wall and polyp together; `polyp` is None in a scene without one."""

    lumen: Lumen
    polyp: Polyp | None

    def look(self, point: Floats) -> tuple[F32, F32]:
        """How far each point is from the surfaces, mm: `(safe, level)`, both `(point,)`.

        A ray may go on by `safe`; `level` is 0 on the surface and negative behind it, not a distance.
        """
        safe, level = self.lumen.distance(point)
        if self.polyp is None:
            return safe, level
        offset = point - self.polyp.centre[:, None]
        away = np.sqrt(dot(offset, offset)) - np.float32(self.polyp.reach_mm)
        near = np.flatnonzero(away < 1.0)
        if len(near):
            joined, _ = smooth_minimum(level[near], self.polyp.distance(point[:, near]), self.polyp.blend_mm)
            away[near] = np.float32(0.8) * joined
            level[near] = joined
        return np.minimum(safe, away), level

    def polyp_share(self, point: Floats) -> tuple[F32, F32]:
        """Share of the polyp in the surface at each point, above a half it is polyp, and the polyp's distance."""
        assert self.polyp is not None
        distance = self.polyp.distance(point)
        return smooth_minimum(self.lumen.distance(point)[1], distance, self.polyp.blend_mm)[1], distance


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the scope is, in lumen coordinates.

    Attributes:
        origin: `(3,)` position of the lens, mm.
        turn: `(3, 3)` rotation from the camera's axes (right, down, forward) to the lumen's.
    """

    origin: F32
    turn: F32


@dataclass(frozen=True, slots=True)
class Lens:
    """An equidistant wide-angle lens: a ray at angle theta lands `focal_px * theta` from the middle.

    Attributes:
        focal_px: Pixels per radian.
        height_px: Picture height.
        width_px: Picture width.
    """

    focal_px: float
    height_px: int
    width_px: int

    def directions(self, coarseness: int = 1) -> F32:
        """`(3, row, column)` unit rays of every `coarseness`-th pixel block's middle."""
        rows = -(-self.height_px // coarseness)
        columns = -(-self.width_px // coarseness)
        v = (np.arange(rows) + 0.5) * coarseness - 0.5 * self.height_px
        u = (np.arange(columns) + 0.5) * coarseness - 0.5 * self.width_px
        right, down = np.meshgrid(u, v)
        return self.ray(right.astype(np.float32), down.astype(np.float32))

    def ray(self, right_px: F32, down_px: F32) -> F32:
        """`(3, ...)` unit rays of points given from the picture's middle."""
        reach = np.hypot(right_px, down_px)
        angle = reach / np.float32(self.focal_px)
        side = np.sin(angle) / np.maximum(reach, np.float32(1e-6))
        return np.stack([right_px * side, down_px * side, np.cos(angle)]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Patience:
    """How far a ray is followed.

    Attributes:
        steps: Most steps.
        pixel_rad: Angle between neighbouring rays: what is finer than that is not looked for.
    """

    steps: int
    pixel_rad: float


def follow(
    surfaces: Surfaces, origin: F32, rays: F32, start_mm: Floats, patience: Patience, otherwise_mm: F32 | None = None
) -> F32:
    """`(ray,)` distance to the first surface, by sphere tracing (J. C. Hart, The Visual Computer 12 (1996) 527-545).

    The safe step is lengthened, within `_STRIDE`, towards the root that the last two levels of the ray predict (the
    secant rule).

    Args:
        surfaces: What can be met.
        origin: `(3,)` start of all rays.
        rays: `(3, ray)` unit directions.
        start_mm: `(ray,)` distance known to be free.
        patience: When to stop.
        otherwise_mm: `(ray,)` distance of rays that have met nothing by then: they graze an edge and pass.
            Where None they stay in front of that edge.
    """
    reached = np.empty(len(start_mm), dtype=np.float32)
    for block in blocks(len(start_mm)):
        reached[block], under_way = _follow_block(surfaces, origin, rays[:, block], start_mm[block], patience)
        if otherwise_mm is not None:
            reached[block][under_way] = otherwise_mm[block][under_way]
    return reached


def blocks(count: int) -> Iterator[slice]:
    """Slices that cover `count` points in pieces whose arrays stay in the processor's cache."""
    return (slice(begin, begin + _BLOCK) for begin in range(0, count, _BLOCK))


def _follow_block(
    surfaces: Surfaces, origin: F32, rays: F32, start_mm: Floats, patience: Patience
) -> tuple[F32, NDArray[np.intp]]:
    """Distances, and which rays had not arrived."""
    reached = start_mm.astype(np.float32)
    active = np.arange(rays.shape[1])
    travelled, heading = reached, rays
    last_level, step = np.full_like(reached, np.inf), np.zeros_like(reached)
    for _ in range(patience.steps):
        safe, level = surfaces.look(origin[:, None] + heading * travelled)
        pixel_mm = np.float32(patience.pixel_rad) * travelled
        fall = last_level - level
        secant = np.abs(level * step) / np.maximum(np.abs(fall), np.float32(1e-6)) * (fall > 0.0)
        onward = np.maximum(np.minimum(secant, _STRIDE * safe), np.maximum(safe, _LEAST_PIXELS * pixel_mm))
        # Behind the surface: back to where the line between the last two levels crosses it.
        step = np.where(level > 0.0, onward, -np.minimum(secant, np.abs(step)))
        arrived = level < _CLOSE_PIXELS * pixel_mm
        travelled = travelled + step * ~(arrived & (level > 0.0))
        last_level = level
        under_way = ~arrived & (travelled < FAR_MM)
        keep = np.flatnonzero(under_way)
        if len(keep) < len(active):
            reached[active] = travelled
            active, travelled, heading = active[keep], travelled[keep], np.take(heading, keep, axis=1)
            last_level, step = level[keep], step[keep]
            if not len(active):
                break
    reached[active] = travelled
    return np.minimum(reached, np.float32(FAR_MM)), active


def enlarge(field: F32, shape: tuple[int, int], factor: int) -> F32:
    """A coarse depth map on finer pixels: linear on a surface, nearest across a jump.

    Args:
        field: `(row, column)` values at block middles.
        shape: Finer `(row, column)`.
        factor: Fine pixels per block side.
    """
    linear = field
    for axis in (0, 1):
        place = np.clip((np.arange(shape[axis]) + 0.5) / factor - 0.5, 0.0, field.shape[axis] - 1.0)
        low = np.minimum(place.astype(np.int32), max(field.shape[axis] - 2, 0))
        share = (place - low).astype(np.float32)
        share = share[:, None] if axis == 0 else share[None, :]
        linear = np.take(linear, low, axis) * (1.0 - share) + np.take(linear, low + 1, axis) * share
    nearest = np.repeat(np.repeat(field, factor, 0), factor, 1)[: shape[0], : shape[1]]
    return np.where(np.abs(linear - nearest) > 0.03 * nearest, nearest, linear).astype(np.float32)
