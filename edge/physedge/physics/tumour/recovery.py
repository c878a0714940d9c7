"""What densities tell of the numbers behind them: the front's speed from two dates, D / rho from one.

A front that has run for long enough moves at 2 sqrt(D rho), less D over its radius where it is round, and crosses one
half with a slope of sqrt(rho / D) / 8 (Murray, Mathematical Biology I, section 13.2: u = 1 / (1 + e^(z/c)) to first
order, z = x sqrt(rho / D), c = 2). One date gives the slope and so sqrt(D / rho) alone: D, rho and the tumour's age
enter a picture only as D / rho and rho t, so that (k D, k rho, t / k) is the same picture for every k. Two dates give
the speed as well, and with it both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
_SLOPE_FACTOR = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """Numbers that were read from two densities.

    Attributes:
        speed_mm_per_day: Of the front, curvature taken out: 2 sqrt(D rho).
        front_width_mm: sqrt(D / rho), from the second density alone.
        diffusivity_mm2_per_day: D, from both.
        growth_per_day: rho, from both.
    """

    speed_mm_per_day: float
    front_width_mm: float
    diffusivity_mm2_per_day: float
    growth_per_day: float


def front_radius_mm(density: Field, cell_mm: float) -> float:
    """Radius of the circle with the area inside one half; cells that the front crosses count by their share."""
    share = np.clip((density - 0.5) / np.maximum(_steepness(density), 1e-9) + 0.5, 0.0, 1.0)
    return math.sqrt(float(share.sum()) / math.pi) * cell_mm


def front_width_mm(density: Field, cell_mm: float) -> float:
    """sqrt(D / rho) from the slope where the density is one half; NaN where it never is."""
    near = np.abs(density - 0.5) < 0.12
    if int(near.sum()) < 4:
        return math.nan
    slope_per_mm = float(np.median(_slope(density)[near])) / cell_mm
    return 1.0 / (_SLOPE_FACTOR * slope_per_mm)


def recover(first: Field, second: Field, days: float, cell_mm: float) -> Recovered:
    """Read speed, width, D and rho from two densities of one tumour, `days` apart."""
    before, after = front_radius_mm(first, cell_mm), front_radius_mm(second, cell_mm)
    width = 0.5 * (front_width_mm(first, cell_mm) + front_width_mm(second, cell_mm))
    radius = 0.5 * (before + after)
    # v = 2 s - D / R with s = sqrt(D rho) and D = s w.
    root = (after - before) / days / (2.0 - width / radius)
    return Recovered(
        speed_mm_per_day=2.0 * root,
        front_width_mm=width,
        diffusivity_mm2_per_day=root * width,
        growth_per_day=root / width,
    )


def _slope(density: Field) -> Field:
    down, across = np.gradient(density)
    return np.asarray(np.hypot(down, across), np.float64)


def _steepness(density: Field) -> Field:
    """Change across one cell, at least a hundredth, so that flat regions count wholly in or out."""
    return np.maximum(_slope(density), 0.01)
