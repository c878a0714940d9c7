"""u_t = div(D grad u) + rho u (1 - u) once more, in float64: what a growth block is held against.

By differences on the grid; written from the scheme that `GrowthSpec` names, not from the block, which multiplies
matrices.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.growth import SNAPSHOTS, GrowthSpec

Density = NDArray[np.float64]


def evolve(spec: GrowthSpec, density: Density, diffusivity: float, growth: float) -> Density:
    """The density at 0, 1/4, 1/2, 3/4 and the whole of the horizon, float64 (5, row, column).

    Args:
        spec: Times and the side of a cell.
        density: u at the beginning, (row, column).
        diffusivity: D in mm²/day.
        growth: rho in 1/day.
    """
    if not spec.evolves:
        return np.repeat(density[np.newaxis], SNAPSHOTS, axis=0)
    d, r = diffusivity * spec.step_days / spec.cell_mm**2, growth * spec.step_days
    u, snapshots = density.astype(np.float64), [density.astype(np.float64)]
    for step in range(1, spec.step_count + 1):
        u = _euler(u, d, r) if spec.integrator == "euler" else _split(u, d, r, _diffusion_steps(spec))
        if 4 * step % spec.step_count == 0:
            snapshots.append(u)
    return np.stack(snapshots)


def _euler(u: Density, d: float, r: float) -> Density:
    return u + d * (_second_difference(u, 0) + _second_difference(u, 1)) + r * u * (1 - u)


def _split(u: Density, d: float, r: float, count: int) -> Density:
    """Half of the growth, diffusion along rows and columns in `count` stable steps each, half of the growth."""
    u = _logistic(u, r / 2)
    for axis in (0, 1):
        for _ in range(count):
            u = u + d / count * _second_difference(u, axis)
    return _logistic(u, r / 2)


def _logistic(u: Density, r: float) -> Density:
    factor = math.exp(r)
    return np.asarray(u * factor / (1 + u * (factor - 1)))


def _second_difference(u: Density, axis: int) -> Density:
    """The neighbours along an axis less their number; none beyond the border."""
    step = np.diff(u, axis=axis)
    edge = np.zeros_like(np.take(u, [0], axis=axis))
    return np.asarray(np.diff(np.concatenate([edge, step, edge], axis=axis), axis=axis))


def _diffusion_steps(spec: GrowthSpec) -> int:
    """The fewest equal steps with D dt / h² <= 1/4 each, for the largest D that is allowed."""
    return max(1, math.ceil(4 * spec.diffusivity_mm2_per_day[1] * spec.step_days / spec.cell_mm**2 / (1 + 1e-6)))
