"""Skin of wall and polyp: blood, vessels, debris, bubbles, and the small relief that breaks highlights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import FloatField, Reading, smooth_noise, smooth_step
from physedge.physics.scenes.lumen import TABLE
from physedge.physics.scenes.polyp import SKIN

WALL = (1024, 1024)
"""Cells of the wall's skin: `(axial, angle)`."""

DEBRIS_COLOUR = np.array([0.52, 0.26, 0.035], dtype=np.float32)
"""Linear reflectance of stool and bile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Skins:
    """Tables read at every visible point.

    Attributes:
        wall: `(4,) + WALL` blood, debris share, slope of the film along the axis, and along the angle.
        polyp: `(4,) + SKIN` the same over the polyp's head, slopes along its two tangents.
        shininess: Exponent of the highlights.
        gloss: Strength of the highlights.
    """

    wall: FloatField
    polyp: FloatField
    shininess: float
    gloss: float


def draw_skins(rng: np.random.Generator) -> Skins:
    """Mucosa of one colon: pale to red, smooth to vessel-rich, clean to soiled; its polyp a little different."""
    blood_mean = rng.uniform(0.55, 1.7)
    blood = 1.0 + 0.2 * smooth_noise(rng, WALL, (60.0, 80.0)) + 0.06 * smooth_noise(rng, WALL, (7.0, 8.0))
    vessels = draw_vessels(rng, trees=int(rng.integers(10, 28)))
    blood = blood_mean * blood + rng.choice((rng.uniform(0.1, 0.3), rng.uniform(0.5, 1.3))) * vessels
    roughness = rng.uniform(0.06, 0.17)
    slopes = [_relief(rng, WALL, roughness) for _ in range(2)]
    debris = _debris(rng) if rng.random() < 0.4 else np.zeros(WALL, dtype=np.float32)
    if rng.random() < 0.3:
        _add_bubbles(rng, slopes)
    return Skins(
        wall=np.stack([np.maximum(blood, 0.05), debris, *slopes]).astype(np.float32),
        polyp=_polyp_skin(rng, blood_mean, roughness),
        shininess=rng.uniform(350.0, 900.0),
        gloss=rng.uniform(0.015, 0.045),
    )


def _relief(rng: np.random.Generator, shape: tuple[int, int], roughness: float) -> FloatField:
    """Slope of the wet film along one axis: fine grains over a slower swell."""
    fine = smooth_noise(rng, shape, (1.3, 1.5))
    middle = smooth_noise(rng, shape, (5.0, 6.0))
    slow = smooth_noise(rng, shape, (14.0, 18.0))
    return np.asarray(roughness * (0.55 * fine + 0.7 * middle + 0.8 * slow), dtype=np.float32)


def draw_vessels(rng: np.random.Generator, *, trees: int) -> FloatField:
    """`WALL` density of branching vessels, 0..1: trunks that wander, fork and thin out.

    Args:
        rng: Source of the shapes.
        trees: Trunks on the whole wall.
    """
    from scipy.ndimage import gaussian_filter

    total = np.zeros(WALL, dtype=np.float32)
    row, column = rng.uniform(0.0, WALL[0], trees), rng.uniform(0.0, WALL[1], trees)
    heading = rng.uniform(0.0, 2.0 * np.pi, trees)
    for sigma, strength, steps in ((2.0, 1.0, 260), (1.4, 0.8, 150), (1.0, 0.6, 90), (0.8, 0.45, 55)):
        turns = rng.normal(0.0, 0.09, (steps, len(row))) + 0.05 * np.sin(np.arange(steps) / 9.0)[:, None]
        angles = heading[None] + np.cumsum(turns, axis=0)
        rows = row[None] + np.cumsum(np.sin(angles), axis=0)
        columns = column[None] + np.cumsum(np.cos(angles), axis=0)
        place = (np.rint(rows).astype(int) % WALL[0]) * WALL[1] + np.rint(columns).astype(int) % WALL[1]
        drawn = np.zeros(WALL[0] * WALL[1], dtype=np.float32)
        drawn[place.ravel()] = 1.0
        blurred = gaussian_filter(drawn.reshape(WALL), sigma, mode="wrap", truncate=2.5)
        total = np.maximum(total, np.float32(strength * sigma * 2.5) * blurred)
        fork = rng.integers(steps // 6, steps, (3, len(row)))
        tree = np.broadcast_to(np.arange(len(row)), fork.shape)
        row, column = rows[fork, tree].ravel(), columns[fork, tree].ravel()
        heading = (angles[fork, tree] + rng.choice((-1.0, 1.0), fork.shape) * rng.uniform(0.4, 1.0, fork.shape)).ravel()
    return np.clip(total, 0.0, 1.0).astype(np.float32)


def _debris(rng: np.random.Generator) -> FloatField:
    """`WALL` share of stool on the wall: islands with a soft edge, in one region."""
    region = smooth_noise(rng, WALL, (90.0, 90.0))
    lumps = smooth_noise(rng, WALL, (11.0, 11.0))
    return smooth_step((region + 0.8 * lumps - np.float32(rng.uniform(1.5, 2.3))) / np.float32(0.5))


def _add_bubbles(rng: np.random.Generator, slopes: list[FloatField]) -> None:
    """Press clusters of spherical caps into the film: each makes its own highlight and rim."""
    for _ in range(int(rng.integers(4, 12))):
        middle = rng.uniform(0.0, 1024.0, 2)
        for _ in range(int(rng.integers(2, 9))):
            radius = rng.uniform(4.0, 15.0)
            place = middle + rng.normal(0.0, 22.0, 2)
            reach = int(radius) + 1
            axis = np.arange(-reach, reach + 1)
            dy, dx = np.meshgrid(axis, axis, indexing="ij")
            inside = np.hypot(dy, dx) < radius
            cells = ((dy + int(place[0])) % WALL[0], (dx + int(place[1])) % WALL[1])
            for slope, offset in zip(slopes, (dy, dx), strict=True):
                dome = offset / np.sqrt(np.maximum(radius**2 - dy**2 - dx**2, 0.2 * radius**2))
                slope[cells] = np.where(inside, 0.8 * dome, slope[cells])


def _polyp_skin(rng: np.random.Generator, blood_mean: float, roughness: float) -> FloatField:
    """`(4,) + SKIN`: paler or redder than the wall, with pits, furrows or neither."""
    # Around the table's poles its columns crowd together: patterns end there.
    polar = np.linspace(0.0, np.pi, SKIN[0], dtype=np.float32)[:, None]
    away = smooth_step(np.minimum(polar, np.float32(np.pi) - polar) / np.float32(0.5))
    pattern = rng.choice(("plain", "pits", "furrows"), p=(0.25, 0.4, 0.35))
    change = 0.12 * smooth_noise(rng, SKIN, (12.0, 14.0))
    if pattern == "pits":
        change += rng.uniform(0.1, 0.3) * smooth_step(2.0 * smooth_noise(rng, SKIN, (1.8, 2.2)) - 1.2)
    if pattern == "furrows":
        change += rng.uniform(0.1, 0.35) * np.exp(-((smooth_noise(rng, SKIN, (3.0, 4.5), tilt=0.6) / 0.25) ** 2))
    redness = rng.choice((rng.uniform(0.65, 0.9), rng.uniform(1.1, 1.8)), p=(0.35, 0.65))
    slopes = [away * _relief(rng, SKIN, 1.2 * roughness) for _ in range(2)]
    blood = np.maximum(blood_mean * redness * (1.0 + away * change), 0.05)
    return np.stack([blood, np.zeros(SKIN), *slopes]).astype(np.float32)


def wall_skin(skins: Skins, row: NDArray[np.float32], column: NDArray[np.float32]) -> list[FloatField]:
    """The four channels of the wall's skin at rows and columns given in cells of the geometry table."""
    scale = (np.float32(WALL[0] / TABLE[0]), np.float32(WALL[1] / TABLE[1]))
    reading = Reading(WALL, row * scale[0], column * scale[1])
    return [reading.of(channel) for channel in skins.wall]


def polyp_skin(skins: Skins, row: NDArray[np.float32], column: NDArray[np.float32]) -> list[FloatField]:
    """The four channels of the polyp's skin at cells of its own table."""
    reading = Reading(SKIN, row, column)
    return [reading.of(channel) for channel in skins.polyp]
