"""Bodies inside tissue: a closed, star-shaped outline with its own echogenicity and attenuation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import angle_of

F32 = NDArray[np.float32]

_OUTLINE_ANGLES = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """A lesion, a cyst or a vessel, in material coordinates (mm).

    Attributes:
        centre_x_mm: Lateral position.
        centre_z_mm: Depth.
        semi_x_mm: Half width along the body's own first axis.
        semi_z_mm: Half width along its second axis.
        semi_y_mm: Half extent across the image plane: how fast the outline shrinks when the plane drifts away.
        bend: How far the body's ends are bowed towards its second axis, mm; 0 is straight.
        tilt: Angle of the first axis, radians.
        outline: `(angle,)` radius over the ellipse's radius, float32, for evenly spaced angles.
        level_db: Mean echogenicity inside, relative to the picture's reference.
        texture_db: Standard deviation of the echogenicity inside.
        softness: Width of the margin, as a fraction of the radius; 0 is a sharp edge.
        rim_db: Echogenicity added in a thin shell around the outline (a capsule, a wall, a halo when negative).
        attenuation_change: Attenuation inside minus that outside, dB/(cm MHz).
        is_lesion: Whether it belongs to the mask.
    """

    centre_x_mm: float
    centre_z_mm: float
    semi_x_mm: float
    semi_z_mm: float
    semi_y_mm: float
    bend: float
    tilt: float
    outline: F32
    level_db: float
    texture_db: float
    softness: float
    rim_db: float
    attenuation_change: float
    is_lesion: bool

    @property
    def reach_mm(self) -> float:
        """Radius of a circle around the centre that holds the outline and its rim."""
        return (max(self.semi_x_mm, self.semi_z_mm) + abs(self.bend)) * float(self.outline.max()) * 1.25

    def shrink(self, elevation_mm: float) -> float:
        """Factor on the outline when the image plane lies `elevation_mm` off the body's middle."""
        inside = 1.0 - (elevation_mm / self.semi_y_mm) ** 2
        return float(np.sqrt(max(inside, 0.0)))

    def radius(self, x_mm: F32, z_mm: F32, elevation_mm: float = 0.0) -> F32:
        """Distance from the centre over the outline's, in that direction: below 1 inside."""
        dx, dz = x_mm - np.float32(self.centre_x_mm), z_mm - np.float32(self.centre_z_mm)
        cos, sin = np.float32(np.cos(self.tilt)), np.float32(np.sin(self.tilt))
        u = (dx * cos + dz * sin) / np.float32(self.semi_x_mm)
        v = (dz * cos - dx * sin - np.float32(self.bend) * u * u) / np.float32(self.semi_z_mm)
        cell = angle_of(v, u) * np.float32(_OUTLINE_ANGLES / (2.0 * np.pi))
        outline = self.outline[cell.astype(np.int32) % _OUTLINE_ANGLES]
        edge = outline * np.float32(max(self.shrink(elevation_mm), 1e-3))
        return np.asarray(np.sqrt(u * u + v * v) / edge, dtype=np.float32)


def draw_outline(rng: np.random.Generator, *, lobulation: float, spiculation: float) -> F32:
    """A closed outline around 1: low harmonics for lobes, narrow peaks for spicules.

    Args:
        rng: Source of the shape.
        lobulation: Amplitude of harmonics 2 to 6, fraction of the radius.
        spiculation: Height of the spicules, fraction of the radius.

    Returns:
        `(angle,)` float32, always above 0.3.
    """
    angle = np.arange(_OUTLINE_ANGLES) * (2.0 * np.pi / _OUTLINE_ANGLES)
    radius = np.ones(_OUTLINE_ANGLES)
    for harmonic in range(2, 7):
        weight = lobulation * rng.normal() / harmonic
        radius += weight * np.cos(harmonic * angle + rng.uniform(0.0, 2.0 * np.pi))
    if spiculation > 0.0:
        for _ in range(int(rng.integers(7, 15))):
            distance = np.angle(np.exp(1j * (angle - rng.uniform(0.0, 2.0 * np.pi))))
            width = rng.uniform(0.05, 0.14)
            radius += spiculation * rng.uniform(0.4, 1.0) * np.exp(-np.abs(distance) / width)
        for harmonic in range(8, 20):
            radius += spiculation * 0.12 * rng.normal() * np.cos(harmonic * angle + rng.uniform(0.0, 2.0 * np.pi))
    return np.maximum(radius, 0.3).astype(np.float32)
