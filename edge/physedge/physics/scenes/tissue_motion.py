"""How tissue moves under the probe: a map from material points to picture points that can be inverted exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.motion import Wander, draw_wander
from physedge.physics.scenes.scanner import Probe

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TissueMotion:
    """Where material points are at a frame: slid sideways, pressed in depth, waving along x.

    The map is `x = X + a(t)`, `z = Z (1 + e(t) + w(t) sin(q X + p)) + h(t)`: exactly invertible, and at the skin
    (Z = 0) only the slow `h` moves, as under a probe that rests there.

    Attributes:
        slide_mm: Sideways shift a.
        press: Axial strain e.
        wave: Strain amplitude w.
        breath_mm: Depth shift h, 0 for a probe coupled to the skin.
        elevation_mm: Drift of the image plane across the tissue.
        wave_number: q, radians per mm.
        wave_phase: p, radians.
    """

    slide_mm: Wander
    press: Wander
    wave: Wander
    breath_mm: Wander
    elevation_mm: Wander
    wave_number: float
    wave_phase: float

    def _stretch(self, material_x: F32, index: int) -> F32:
        wave = np.float32(self.wave.at(index))
        angle = material_x * np.float32(self.wave_number) + np.float32(self.wave_phase)
        return np.asarray(np.float32(1.0 + self.press.at(index)) + wave * np.sin(angle))

    def picture_from_material(self, x_mm: F32, z_mm: F32, index: int) -> tuple[F32, F32]:
        """Positions under the probe, mm, of material points at a frame."""
        depth = z_mm * self._stretch(x_mm, index) + np.float32(self.breath_mm.at(index))
        return x_mm + np.float32(self.slide_mm.at(index)), depth

    def material_from_picture(self, x_mm: F32, z_mm: F32, index: int) -> tuple[F32, F32]:
        """The inverse of `picture_from_material`."""
        material_x = x_mm - np.float32(self.slide_mm.at(index))
        return material_x, (z_mm - np.float32(self.breath_mm.at(index))) / self._stretch(material_x, index)


def draw_tissue_motion(rng: np.random.Generator, probe: Probe) -> TissueMotion:
    """Slow sliding and pressing; under a convex probe the patient breathes too."""
    depth = probe.depth_mm
    return TissueMotion(
        slide_mm=draw_wander(rng, depth * rng.uniform(0.03, 0.12)),
        press=draw_wander(rng, rng.uniform(0.005, 0.04)),
        wave=draw_wander(rng, rng.uniform(0.0, 0.02), fastest_hz=1.2),
        breath_mm=draw_wander(rng, depth * rng.uniform(0.01, 0.04) if probe.radius_mm else 0.0),
        elevation_mm=draw_wander(rng, depth * rng.uniform(0.01, 0.05)),
        wave_number=2.0 * np.pi / (depth * rng.uniform(0.6, 1.4)),
        wave_phase=rng.uniform(0.0, 2.0 * np.pi),
    )
