"""u_t = div(D(x) grad u) + rho u (1 - u) in float64, apart from the block inside the networks.

Flux form: the face between two cells carries D of both, averaged, times their difference; a face to a cell without
tissue carries nothing. Growth is solved exactly, half before and half after every diffusion step (Strang). With
4 D dt / h² <= 0.8 no density leaves 0 to 1 and diffusion conserves the mass to rounding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
_LARGEST_COURANT = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class TumourGrowth:
    """One tumour in one tissue.

    Attributes:
        diffusivity: D in mm²/day, (row, column); 0 where there is no tissue that it enters.
        growth_per_day: rho.
        cell_mm: Side of a cell.
    """

    diffusivity: Field
    growth_per_day: float
    cell_mm: float

    def densities(self, start: Field, times_days: Sequence[float]) -> list[Field]:
        """The density at rising times, counted from the start.

        Args:
            start: (row, column), 0 to 1; 0 where D is 0.
            times_days: Rising, at least 0.
        """
        u, now, found = start.copy(), 0.0, []
        down, across = self._faces()
        longest = _LARGEST_COURANT * self.cell_mm**2 / max(float(self.diffusivity.max()), 1e-12)
        for time in times_days:
            count = max(1, math.ceil((time - now) / min(longest, 2.0)))
            step = (time - now) / count
            if step > 0:
                for _ in range(count):
                    u = self._grown(u, step / 2)
                    u = u + step / self.cell_mm**2 * _divergence(u, down, across)
                    u = self._grown(u, step / 2)
            now = time
            found.append(u.copy())
        return found

    def _grown(self, u: Field, days: float) -> Field:
        factor = math.exp(self.growth_per_day * days)
        return u * factor / (1.0 + u * (factor - 1.0))

    def _faces(self) -> tuple[Field, Field]:
        D = self.diffusivity
        down = np.where((D[1:] > 0) & (D[:-1] > 0), 0.5 * (D[1:] + D[:-1]), 0.0)
        across = np.where((D[:, 1:] > 0) & (D[:, :-1] > 0), 0.5 * (D[:, 1:] + D[:, :-1]), 0.0)
        return down, across


def _divergence(u: Field, down: Field, across: Field) -> Field:
    total = np.zeros_like(u)
    flux = down * (u[1:] - u[:-1])
    total[:-1] += flux
    total[1:] -= flux
    flux = across * (u[:, 1:] - u[:, :-1])
    total[:, :-1] += flux
    total[:, 1:] -= flux
    return total
