"""A slice of a head with a tumour that the equation grew: anatomy, truth, and the picture a scanner would make.

An ellipse of skull and scalp, fluid around and inside the brain, a ribbon of grey matter, white matter within. The
tumour diffuses five times as fast in white matter as in grey and not at all through fluid. The picture is a T1-weighted
one after contrast: the dense rim takes up contrast, what lies around it is a little darker, a large core is dead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import smooth_noise
from physedge.physics.tumour.equation import Field, TumourGrowth

KINDS = ("diffuse", "nodular", "no_tumor")
"""Classes of the pictures: a wide front, a narrow one, and none."""

FIELD_OF_VIEW_MM = 192.0
WHITE_PER_GREY = 5.0
_AIR, _SCALP, _SKULL, _FLUID, _GREY, _WHITE = range(6)
_BRIGHTNESS = np.array([0.02, 0.78, 0.10, 0.14, 0.40, 0.52])
# D in white matter, mm²/day, and rho, 1/day: sqrt(D / rho) of 1.3 to 2.5 mm against 3.9 to 6.1 mm.
_PARAMETERS = {"nodular": ((0.06, 0.15), (0.024, 0.034)), "diffuse": ((0.45, 0.75), (0.020, 0.030))}
_LATER_DAYS = 30.0
_LOOKED_AT_EVERY_DAYS = 10.0
_LONGEST_DAYS = 3000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TumourSlice:
    """One slice with everything that is true of it.

    Attributes:
        picture: uint8 (row, column).
        kind: One of `KINDS`.
        density: float64 (2, row, column), at the day of the picture and `later_days` after; all 0 without a tumour.
        later_days: Between both.
        diffusivity_mm2_per_day: D in white matter; 0 without a tumour.
        growth_per_day: rho; 0 without a tumour.
        cell_mm: Side of a pixel.
    """

    picture: NDArray[np.uint8]
    kind: str
    density: Field
    later_days: float
    diffusivity_mm2_per_day: float
    growth_per_day: float
    cell_mm: float


def draw_slice(seed: int, kind: str, *, side_px: int = 192, uniform: bool = False) -> TumourSlice:
    """Draw a slice; the same arguments give the same bytes.

    Args:
        seed: Chooses anatomy, tumour and noise.
        kind: One of `KINDS`.
        side_px: Side of the picture.
        uniform: The same D everywhere, without borders nearby: what theory speaks of.
    """
    rng = np.random.default_rng((seed, KINDS.index(kind)))
    cell_mm = FIELD_OF_VIEW_MM / side_px
    tissue = _tissue(rng, side_px, cell_mm)
    density = np.zeros((2, side_px, side_px))
    D = rho = 0.0
    if kind != "no_tumor":
        (low_D, high_D), (low_rho, high_rho) = _PARAMETERS[kind]
        D, rho = float(rng.uniform(low_D, high_D)), float(rng.uniform(low_rho, high_rho))
        field = np.select([tissue == _WHITE, tissue == _GREY], [D, D / WHITE_PER_GREY], 0.0)
        if uniform:
            field = np.full_like(field, D)
        radius_mm = float(rng.uniform(30, 38) if uniform else rng.uniform(7, 15))
        growth = TumourGrowth(diffusivity=field, growth_per_day=rho, cell_mm=cell_mm)
        now = _grown_to(growth, _seed(rng, tissue, cell_mm, uniform=uniform), radius_mm)
        density = np.stack([now, *growth.densities(now, (_LATER_DAYS,))])
    return TumourSlice(
        picture=_picture(rng, tissue, density[0]),
        kind=kind,
        density=density,
        later_days=_LATER_DAYS,
        diffusivity_mm2_per_day=D,
        growth_per_day=rho,
        cell_mm=cell_mm,
    )


def _grown_to(growth: TumourGrowth, u: Field, radius_mm: float) -> Field:
    """Let it grow until one half or more covers the area of a circle of this radius."""
    cells = math.pi * (radius_mm / growth.cell_mm) ** 2
    days = 0.0
    while np.count_nonzero(u >= 0.5) < cells and days < _LONGEST_DAYS:
        (u,) = growth.densities(u, (_LOOKED_AT_EVERY_DAYS,))
        days += _LOOKED_AT_EVERY_DAYS
    return u


def _tissue(rng: np.random.Generator, side_px: int, cell_mm: float) -> NDArray[np.int64]:
    rows, columns = (np.indices((side_px, side_px)) - side_px / 2 + 0.5) * cell_mm
    angle = float(rng.normal(0, 0.1))
    x = columns * math.cos(angle) + rows * math.sin(angle)
    y = rows * math.cos(angle) - columns * math.sin(angle)
    half_x, half_y = float(rng.uniform(62, 70)), float(rng.uniform(78, 88))
    ripple = 1.0 + 0.01 * smooth_noise(rng, (side_px, side_px), (side_px / 6, side_px / 6))
    radius = np.hypot(x / half_x, y / half_y) * ripple
    folds = radius + 0.035 * smooth_noise(rng, (side_px, side_px), (side_px / 28, side_px / 28))
    tissue = np.full((side_px, side_px), _AIR)
    for limit, kind in ((1.10, _SCALP), (1.02, _SKULL), (0.93, _FLUID)):
        tissue[radius < limit] = kind
    tissue[folds < 0.90] = _GREY
    tissue[folds < 0.74] = _WHITE
    for side in (-1, 1):  # the ventricles
        bent = (x - side * (6 + 0.004 * (y + 4) ** 2)) / 5.0
        tissue[(np.hypot(bent, (y + 4) / 22.0) < 1.0) & (radius < 0.7)] = _FLUID
    return tissue


def _seed(rng: np.random.Generator, tissue: NDArray[np.int64], cell_mm: float, *, uniform: bool) -> Field:
    """Some cells of tumour in white matter, away from the middle and the border; in the middle where uniform."""
    side = len(tissue)
    rows, columns = (np.indices(tissue.shape) - side / 2 + 0.5) * cell_mm
    if uniform:
        row, column = side // 2, side // 2
    else:
        radius = np.hypot(rows, columns)
        places = np.argwhere((tissue == _WHITE) & (radius > 18) & (radius < 45))
        row, column = places[int(rng.integers(len(places)))]
    distance = np.hypot(rows - rows[row, column], columns - columns[row, column])
    start = np.exp(-0.5 * (distance / 1.6) ** 2) * 0.6
    start[(start < 1e-3) | ((tissue != _WHITE) & (tissue != _GREY) & (not uniform))] = 0.0
    return np.asarray(start, np.float64)


def _picture(rng: np.random.Generator, tissue: NDArray[np.int64], u: Field) -> NDArray[np.uint8]:
    side = len(tissue)
    bright = _BRIGHTNESS[tissue] * (1.0 + 0.05 * smooth_noise(rng, tissue.shape, (side / 12, side / 12)))
    rim = np.clip((u - 0.35) / 0.3, 0, 1)
    core = np.clip((u - 0.93) / 0.05, 0, 1)
    around = np.clip((u - 0.05) / 0.3, 0, 1) * (1 - rim)
    texture = 1.0 + 0.12 * smooth_noise(rng, tissue.shape, (side / 40, side / 40))
    bright = bright * (1 - 0.25 * around)
    bright = bright * (1 - rim) + 0.80 * texture * rim
    bright = bright * (1 - 0.55 * core)
    bright = bright * (1.0 + 0.12 * smooth_noise(rng, tissue.shape, (side / 2, side / 2)))  # the coil's field
    noise = rng.normal(0, 0.018, (2, *tissue.shape))
    magnitude = np.hypot(bright + noise[0], noise[1])  # Rician, as magnitudes are
    return np.asarray(np.clip(magnitude * 255 / 0.95, 0, 255).astype(np.uint8))
