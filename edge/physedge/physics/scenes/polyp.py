"""A polyp: a lumpy head on the wall or on a stalk, as a signed distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import FloatField, Floats, angle_of, dot, read_field, rotate, smooth_noise, unit

F32 = NDArray[np.float32]

SKIN = (128, 256)
"""Cells of the tables over the head's surface: `(polar angle from the wall's normal, azimuth)`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Polyp:
    """A polyp in lumen coordinates, mm.

    Attributes:
        base: `(3,)` foot point on the wall.
        centre: `(3,)` centre of the head.
        frame: `(3, 3)` rows are two tangents and the outward axis of the head.
        semi_mm: `(3,)` half axes of the head along these rows.
        stalk_mm: Radius of the stalk, 0 for a sessile polyp.
        lumps: `(polar, azimuth)` height of the head's surface over the ellipsoid, mm.
        blend_mm: Width over which the polyp's foot runs into the wall.
    """

    base: F32
    centre: F32
    frame: F32
    semi_mm: F32
    stalk_mm: float
    lumps: FloatField
    blend_mm: float

    @property
    def reach_mm(self) -> float:
        """Radius of a sphere around the head's centre that holds head and stalk."""
        stalk = float(np.linalg.norm(self.centre - self.base)) + 2.0 * self.stalk_mm if self.stalk_mm else 0.0
        return max(float(self.semi_mm.max()) * 1.3 + float(np.abs(self.lumps).max()), stalk)

    def skin_cell(self, point: Floats) -> tuple[F32, F32]:
        """Table row and column of the surface that lies in each point's direction from the centre."""
        local = rotate(self.frame, point - self.centre[:, None])
        return _skin_cell(local / self.semi_mm[:, None])

    def distance(self, point: Floats) -> F32:
        """`(point,)` mm to the polyp's surface, negative inside; an underestimate outside.

        Head: the ellipsoid bound `k0 (k0 - 1) / k1` with `k0 = |p / r|`, `k1 = |p / r^2|`, lowered by the lumps.
        Stalk: a capsule from foot to head. Both joined by a smooth minimum.
        """
        offset = point - self.centre[:, None]
        local = rotate(self.frame, offset)
        scaled = local / self.semi_mm[:, None]
        k0 = np.sqrt(dot(scaled, scaled))
        squeezed = scaled / self.semi_mm[:, None]
        k1 = np.maximum(np.sqrt(dot(squeezed, squeezed)), np.float32(1e-6))
        head = k0 * (k0 - 1.0) / k1 - read_field(self.lumps, *_skin_cell(scaled))
        if not self.stalk_mm:
            return np.asarray(head, dtype=np.float32)
        axis = self.base - self.centre
        along = np.clip(dot(axis, offset) / np.float32(axis @ axis), 0.0, 1.1)
        away = offset - axis[:, None] * along
        stalk = np.sqrt(dot(away, away)) - np.float32(self.stalk_mm) * (1.0 + 0.5 * np.square(np.square(along)))
        return smooth_minimum(head, np.asarray(stalk, dtype=np.float32), 0.5 * self.stalk_mm)[0]

    def normal(self, point: Floats, distance: F32) -> F32:
        """`(3, point)` unit normal from forward differences; `distance` is the one at the points."""
        step = np.float32(0.03 * float(self.semi_mm.min()))
        gradient = np.empty(point.shape, dtype=np.float32)
        for axis in range(3):
            shifted = point.copy()
            shifted[axis] += step
            gradient[axis] = self.distance(shifted) - distance
        return unit(gradient)


def smooth_minimum(a: Floats, b: Floats, width: float) -> tuple[F32, F32]:
    """The polynomial smooth minimum, and the share of `b` in it (0..1).

    `min(a, b) - h^2 width / 4` with `h = max(width - |a - b|, 0) / width`
    (I. Quilez, "Smooth minimum", 2013, quadratic form).
    """
    share = np.clip(0.5 + 0.5 * (a - b) / np.float32(max(width, 1e-6)), 0.0, 1.0)
    joined = a + (b - a) * share - np.float32(width) * share * (1.0 - share)
    return np.asarray(joined, dtype=np.float32), np.asarray(share, dtype=np.float32)


def _skin_cell(scaled: Floats) -> tuple[F32, F32]:
    flat = np.sqrt(scaled[0] * scaled[0] + scaled[1] * scaled[1])
    polar = angle_of(flat, scaled[2])
    azimuth = angle_of(scaled[1], scaled[0])
    return polar * np.float32((SKIN[0] - 1) / np.pi), azimuth * np.float32(SKIN[1] / (2.0 * np.pi))


def draw_polyp(rng: np.random.Generator, *, base: F32, normal: F32, size_mm: float) -> Polyp:
    """A sessile, flat or pedunculated polyp of about `size_mm` radius at a point of the wall.

    Args:
        rng: Source of kind and shape.
        base: `(3,)` point of the wall.
        normal: `(3,)` unit normal into the lumen.
        size_mm: Mean radius of the head.
    """
    kind = rng.choice(("flat", "sessile", "stalked"), p=(0.2, 0.5, 0.3))
    semi = size_mm * rng.uniform(0.85, 1.2, 3)
    semi[2] *= {"flat": 0.5, "sessile": 0.85, "stalked": 1.0}[kind]
    lift = {"flat": 0.15, "sessile": rng.uniform(0.15, 0.75), "stalked": rng.uniform(1.2, 1.7)}[kind] * semi[2]
    lean = normal + 0.35 * (kind == "stalked") * rng.normal(size=3)
    lean /= np.linalg.norm(lean)
    tangent = np.cross(lean, rng.normal(size=3))
    tangent /= np.linalg.norm(tangent)
    frame = np.stack([tangent, np.cross(lean, tangent), lean])
    return Polyp(
        base=base.astype(np.float32),
        centre=(base + lift * lean).astype(np.float32),
        frame=frame.astype(np.float32),
        semi_mm=semi.astype(np.float32),
        stalk_mm=float(size_mm * rng.uniform(0.3, 0.5)) if kind == "stalked" else 0.0,
        lumps=_lumps(rng, size_mm),
        blend_mm=float(size_mm * rng.uniform(0.1, 0.35)),
    )


def _lumps(rng: np.random.Generator, size_mm: float) -> FloatField:
    """`SKIN` height field: a few broad lobes and fine granules, flattened at the poles of the table."""
    polar = np.linspace(0.0, np.pi, SKIN[0])[:, None]
    broad = smooth_noise(rng, SKIN, (rng.uniform(12.0, 22.0), rng.uniform(14.0, 26.0))) * rng.uniform(0.03, 0.12)
    fine = smooth_noise(rng, SKIN, (3.5, 4.5)) * rng.uniform(0.0, 0.02)
    return np.asarray(1.3 * size_mm * (broad + fine) * np.sin(polar) ** 2, dtype=np.float32)
