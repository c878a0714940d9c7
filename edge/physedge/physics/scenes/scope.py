"""The endoscope: lens and light, the shape of its picture, and how a hand moves it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.motion import Wander
from physedge.physics.scenes.raycast import Lens, Pose

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeMotion:
    """How the scope drifts; all in lumen coordinates.

    Attributes:
        advance_mm: Position along the axis.
        side_mm: Position across the axis, x and y.
        right: Where the target stands in the picture, share of the half width from the middle.
        down: The same downwards, share of the half height.
        roll: Turn about the line of sight, radians.
    """

    advance_mm: Wander
    side_mm: tuple[Wander, Wander]
    right: Wander
    down: Wander
    roll: Wander

    def nearest_mm(self, point: F32) -> float:
        """Least distance to a point, mm, over all places that the wanders can reach."""
        wanders = (*self.side_mm, self.advance_mm)
        away = [
            max(abs(float(at) - wander.centre) - wander.amplitude, 0.0)
            for at, wander in zip(point, wanders, strict=True)
        ]
        return float(np.linalg.norm(away))

    def pose(self, index: int, target: F32, lens: Lens) -> Pose:
        """Where the scope is at a frame, turned so that `target` `(3,)` stands where it should in the picture."""
        origin = np.array(
            [self.side_mm[0].at(index), self.side_mm[1].at(index), self.advance_mm.at(index)], dtype=np.float32
        )
        right_px = 0.5 * lens.width_px * self.right.at(index)
        down_px = 0.5 * lens.height_px * self.down.at(index)
        seen = lens.ray(np.full(1, right_px, dtype=np.float32), np.full(1, down_px, dtype=np.float32))[:, 0]
        roll = self.roll.at(index)
        camera_up = np.array([np.sin(roll), -np.cos(roll), 0.0])
        world = _basis(target - origin, np.array([0.0, -1.0, 0.0]))
        return Pose(origin, (world @ _basis(seen, camera_up).T).astype(np.float32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """The instrument.

    Attributes:
        lens: Geometry of the picture.
        light_mm: `(3,)` place of the light guide beside the lens: right, down, forward.
        beam_exponent: Fall-off of the light away from its axis.
        brightness: Exposure the automatic gain aims at.
        tint: `(3,)` white balance.
        blur_px: Softness of the picture.
        noise: Standard deviation of the sensor noise, share of full scale.
        backdrop: Grey value of the frame around the picture.
    """

    lens: Lens
    light_mm: F32
    beam_exponent: float
    brightness: float
    tint: F32
    blur_px: float
    noise: float
    backdrop: float


def draw_scope(rng: np.random.Generator, height_px: int, width_px: int) -> Scope:
    """An instrument of some make: lens, light, exposure, white balance, sensor."""
    warmth = rng.uniform(-0.06, 0.06)
    return Scope(
        lens=Lens(float(width_px * rng.uniform(0.42, 0.56)), height_px, width_px),
        light_mm=np.array([rng.uniform(-3.0, 3.0), rng.uniform(-3.0, 3.0), 0.0], dtype=np.float32),
        beam_exponent=rng.uniform(0.8, 2.0),
        brightness=rng.uniform(0.1, 0.26),
        tint=np.array([1.0, 1.0 - 0.3 * abs(warmth), 1.0 - warmth - 0.04], dtype=np.float32),
        blur_px=rng.uniform(0.45, 0.8),
        noise=rng.uniform(0.004, 0.015),
        backdrop=rng.choice((0.0, 0.0, 0.05)),
    )


def draw_aperture(rng: np.random.Generator, height_px: int, width_px: int) -> NDArray[np.bool_]:
    """`(height, width)` where the picture is: an octagon, a clipped circle or a rounded rectangle."""
    y = np.abs((np.arange(height_px) + 0.5) / height_px * 2.0 - 1.0)[:, None]
    x = np.abs((np.arange(width_px) + 0.5) / width_px * 2.0 - 1.0)[None, :]
    half_x, half_y = rng.uniform(0.82, 1.0), rng.uniform(0.9, 1.0)
    inside = (x < half_x) & (y < half_y)
    shape = rng.choice(("octagon", "circle", "rounded"))
    if shape == "octagon":
        return np.asarray(inside & (x / half_x + y / half_y < rng.uniform(1.45, 1.7)))
    if shape == "circle":
        return np.asarray(inside & (np.hypot(x, y * height_px / width_px) < rng.uniform(0.93, 1.08) * half_x))
    return np.asarray(inside & ((x / half_x) ** 6 + (y / half_y) ** 6 < 1.0))


def _basis(forward: NDArray[np.floating], up: NDArray[np.floating]) -> NDArray[np.float64]:
    """`(3, 3)` columns right, down, forward of a right-handed frame."""
    z = np.asarray(forward, dtype=np.float64) / np.linalg.norm(forward)
    x = np.cross(-np.asarray(up, dtype=np.float64), z)
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(z, x), z], axis=1)
