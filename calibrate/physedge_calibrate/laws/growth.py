"""The laws of a tumour model: of every density that a graph answers with, and of its growth block alone.

Bounds to 1/255, masses to 1 %, the speed of a front to 5 %: what 8 bits may change. The increments of one step fall
below a quantum of 8 bits, so a block that was quantised loses a quarter of its mass growth while its accuracy stays.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.laws.growth_equation import Density, evolve
from physedge_calibrate.laws.law import LawCheck
from physedge_runtime.growth import GrowthSpec

MOST_OUTSIDE = 1.0 / 255.0
MOST_MASS_ERROR = 0.01
MOST_SPEED_ERROR = 0.05
DENSITY, DIFFUSIVITY, GROWTH = "density", "D_mm2_per_day", "rho_per_day"
"""Outputs of a network with a tumour model."""
_TINY = 1e-6
_CALLS = 8
_FRONT_BEGINS, _FRONT_ENDS = 0.125, 0.8

Block = Callable[[Density, float, float], NDArray[np.floating[Any]]]
"""From u (row, column), D in mm²/day and rho in 1/day to the densities (5, row, column)."""


def check_growth_answers(outputs: Mapping[str, NDArray[np.float32]], spec: GrowthSpec) -> tuple[LawCheck, ...]:
    """The laws on what a graph answered for many samples.

    Args:
        outputs: `density` (sample, 5, row, column), `D_mm2_per_day` and `rho_per_day` (sample, 1).
        spec: Of the growth.
    """
    density = outputs[DENSITY].astype(np.float64)
    pairs = [(float(d[0]), float(r[0])) for d, r in zip(outputs[DIFFUSIVITY], outputs[GROWTH], strict=True)]
    rhos = np.array([r for _, r in pairs])
    expected = np.stack([evolve(spec, u[0], *pair) for u, pair in zip(density, pairs, strict=True)])
    count = len(density)
    return (
        _check("density within 0 to 1", _outside(density), MOST_OUTSIDE, count),
        _check("mass neither falls nor outgrows rho", _mass_order(density, rhos, spec), MOST_MASS_ERROR, count),
        _check("mass growth as the equation has it", _mass_error(density, expected), MOST_MASS_ERROR, count),
    )


def check_growth_block(block: Block, spec: GrowthSpec, cells: int | None = None) -> tuple[LawCheck, ...]:
    """The laws on the growth block alone, at all corners of the bounds of D and rho.

    Args:
        block: As it ships.
        spec: Of the growth.
        cells: Of the grid along one side; those of the specification where None.
    """
    starts = _starts(cells or spec.cells)
    corners = list(itertools.product(spec.diffusivity_mm2_per_day, spec.growth_per_day))
    cases = [(name, d, r) for name in starts for d, r in corners]
    found = {case: np.asarray(block(starts[case[0]], *case[1:]), np.float64) for case in cases}
    # From where the block says that it began: rounding before it is no fault of its own.
    expected = {case: evolve(spec, found[case][0], *case[1:]) for case in cases}
    fast = spec.diffusivity_mm2_per_day[1]
    still = {name: np.asarray(block(u, fast, 0.0), np.float64) for name, u in starts.items()}
    titles = [f"{name}, D {d:g}, rho {r:g}" for name, d, r in cases]
    stack = np.stack(list(found.values()))
    rhos = np.array([r for _, _, r in cases])
    unmoved = np.stack(list(still.values()))
    kept = np.abs(unmoved.mean(axis=(2, 3)) / unmoved[:, :1].mean(axis=(2, 3)) - 1).max(axis=1)
    narrowing = np.maximum(
        np.diff(unmoved.max(axis=(2, 3)), axis=1).max(axis=1), -np.diff(unmoved.min(axis=(2, 3)), axis=1).min(axis=1)
    )
    checks = [
        _check("block: density within 0 to 1", _outside(stack), MOST_OUTSIDE, len(cases), titles),
        _check(
            "block: mass neither falls nor outgrows rho",
            _mass_order(stack, rhos, spec),
            MOST_MASS_ERROR,
            len(cases),
            titles,
        ),
        _check(
            "block: mass growth as the equation has it",
            _mass_error(stack, np.stack(list(expected.values()))),
            MOST_MASS_ERROR,
            len(cases),
            titles,
        ),
        _check("block: mass stays without growth", kept, MOST_MASS_ERROR, len(still), list(still)),
        _check("block: range never widens without growth", narrowing, MOST_OUTSIDE, len(still), list(still)),
        _check("block: order is kept", _order(block, starts, corners), MOST_OUTSIDE, len(corners)),
        _check("block: flips and turns commute", _symmetry(block, starts, corners), MOST_OUTSIDE, len(corners)),
    ]
    speed = _front_speed_error(block, spec, cells or spec.cells)
    if speed is not None:
        checks.append(_check("block: speed of a front", np.array([speed]), MOST_SPEED_ERROR, 1))
    return tuple(checks)


def _check(
    title: str, broken: NDArray[np.float64], allowed: float, cases: int, titles: list[str] | None = None
) -> LawCheck:
    """The worst of `broken` (case,); a number that is not one counts as the worst."""
    worst = int(np.where(np.isnan(broken), np.inf, broken).argmax())
    return LawCheck(
        title=title,
        measured=float(broken[worst]) if np.isnan(broken[worst]) else max(0.0, float(broken[worst])),
        allowed=allowed,
        cases=cases,
        where=titles[worst] if titles is not None and broken[worst] > 0 else "",
    )


def _outside(density: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how much the densities (case, 5, row, column) leave 0 to 1, (case,)."""
    flat = density.reshape(len(density), -1)
    return np.asarray(np.maximum(-flat.min(axis=1), flat.max(axis=1) - 1.0))


def _mass_order(density: NDArray[np.float64], rhos: NDArray[np.float64], spec: GrowthSpec) -> NDArray[np.float64]:
    """By which share the mass fell within a quarter of the horizon, or grew beyond e^(rho t), (case,)."""
    mass = density.mean(axis=(2, 3))
    before, after = mass[:, :-1] + _TINY, mass[:, 1:] + _TINY
    quarter_days = spec.horizon_days / 4 if spec.evolves else 0.0
    fastest = np.exp(rhos * quarter_days)[:, np.newaxis]
    return np.asarray(np.maximum(1 - after / before, after / (before * fastest) - 1).max(axis=1))


def _mass_error(density: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    """By which share the growth of the mass misses that of the equation, (case,); 0 where nothing should grow."""
    growth, known = (values[:, -1].mean(axis=(1, 2)) - values[:, 0].mean(axis=(1, 2)) for values in (density, expected))
    grows = known > _TINY
    return np.asarray(np.where(grows, np.abs(growth / np.where(grows, known, 1.0) - 1), np.abs(growth - known)))


def _order(block: Block, starts: Mapping[str, Density], corners: list[tuple[float, float]]) -> NDArray[np.float64]:
    """By how much a lower start overtakes a higher one, or a smaller rho a larger, (case,)."""
    low, rows = starts["random"], []
    high = low + 0.3 * (1 - low) * starts["checkerboard"]
    for d, r in corners:
        first, second = (np.asarray(block(u, d, r), np.float64) for u in (low, high))
        rows.append(float((first - second).max()))
    for d in {d for d, _ in corners}:
        slow, fast = (np.asarray(block(low, d, r), np.float64)[-1] for r in sorted({r for _, r in corners}))
        rows.append(float((slow - fast).max()))
    return np.array(rows)


def _symmetry(block: Block, starts: Mapping[str, Density], corners: list[tuple[float, float]]) -> NDArray[np.float64]:
    """How much it matters whether a start is turned before or after, (case,)."""
    u, rows = starts["random"], []
    turns: tuple[Callable[[NDArray[Any]], NDArray[Any]], ...] = (
        lambda values: values[..., ::-1, :],
        lambda values: np.swapaxes(values, -1, -2),
    )
    for d, r in corners:
        plain = np.asarray(block(u, d, r), np.float64)
        rows.append(
            max(float(np.abs(np.asarray(block(np.ascontiguousarray(t(u)), d, r)) - t(plain)).max()) for t in turns)
        )
    return np.array(rows)


def _front_speed_error(block: Block, spec: GrowthSpec, cells: int) -> float | None:
    """By which share a plane front runs faster or slower than in the equation; None where the grid is too short.

    The answer of one call is the start of the next, until the front of the equation comes near the other border.
    """
    d, r = spec.diffusivity_mm2_per_day[1], spec.growth_per_day[1]
    start = np.zeros((cells, cells))
    start[: math.ceil(_FRONT_BEGINS * cells)] = 1.0
    found, known = start, start
    places: list[tuple[float, float]] = []
    for _ in range(_CALLS):
        found = np.asarray(block(found, d, r), np.float64)[-1]
        known = evolve(spec, known, d, r)[-1]
        places.append((float(found.mean()), float(known.mean())))
        if places[-1][1] > _FRONT_ENDS:
            places.pop()
            break
    # The first call is burnt in: the front finds its shape.
    moved = [places[-1][k] - places[0][k] for k in (0, 1)] if len(places) > 1 else [0.0, 0.0]
    if moved[1] * cells < 1.0:
        return None
    return abs(moved[0] / moved[1] - 1)


def _starts(cells: int) -> dict[str, Density]:
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:cells, :cells]
    distance = np.hypot(rows - cells / 3, columns - cells / 2)
    return {
        "random": generator.uniform(0.0, 1.0, (cells, cells)),
        "checkerboard": ((rows + columns) % 2).astype(np.float64),
        "spot": 0.8 * np.exp(-((distance / (cells / 8)) ** 2)),
        "faint": 0.003 + 0.002 * generator.uniform(0.0, 1.0, (cells, cells)),
    }
