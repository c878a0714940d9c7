"""Smooth, bounded, never quite repeating motion: a sum of slow sines with drawn phases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.frame import FRAME_RATE_HZ


@dataclass(frozen=True, slots=True)
class Wander:
    """A scalar that drifts around a centre and stays within `centre ± amplitude`.

    Attributes:
        centre: Mean value, in the caller's unit.
        amplitude: Largest distance from the centre, same unit, 0 or more.
        frequencies_hz: `(term,)` frequency of each sine.
        phases: `(term,)` phase of each sine, radians.
    """

    centre: float
    amplitude: float
    frequencies_hz: NDArray[np.float64]
    phases: NDArray[np.float64]

    def at(self, index: float) -> float:
        """The value at frame `index` (fractions allowed)."""
        angles = 2.0 * np.pi * self.frequencies_hz * (index / FRAME_RATE_HZ) + self.phases
        return float(self.centre + self.amplitude * np.mean(np.sin(angles)))


def draw_wander(
    rng: np.random.Generator,
    amplitude: float,
    *,
    centre: float = 0.0,
    slowest_hz: float = 0.08,
    fastest_hz: float = 0.45,
) -> Wander:
    """A wander of three sines, their frequencies drawn between the two bounds (log-uniform)."""
    frequencies = np.exp(rng.uniform(np.log(slowest_hz), np.log(fastest_hz), 3))
    return Wander(centre, amplitude, frequencies, rng.uniform(0.0, 2.0 * np.pi, 3))
