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
        inside = _box_of(self.diffusivity)
        u, now, found = start[inside].copy(), 0.0, []
        room = np.empty_like(u)
        down, across = (faces[inside] for faces in self._faces())
        longest = _LARGEST_COURANT * self.cell_mm**2 / max(float(self.diffusivity.max()), 1e-12)
        for time in times_days:
            count = max(1, math.ceil((time - now) / min(longest, 2.0)))
            step = (time - now) / count
            if step > 0:
                per_step = step / self.cell_mm**2
                faces = per_step * down[: len(u) - 1], per_step * across[:, : u.shape[1] - 1]
                half = math.exp(self.growth_per_day * step / 2)
                _grow(u, half, room)
                for index in range(count):
                    _diffuse(u, *faces, room)
                    # Two halves of growth with nothing between them are one.
                    _grow(u, half * half if index < count - 1 else half, room)
            now = time
            whole = start.copy()
            whole[inside] = u
            found.append(whole)
        return found

    def _faces(self) -> tuple[Field, Field]:
        """Diffusivity of the face below and on the right of every cell, (row, column); 0 at the border."""
        D = self.diffusivity
        down, across = np.zeros_like(D), np.zeros_like(D)
        down[:-1] = np.where((D[1:] > 0) & (D[:-1] > 0), 0.5 * (D[1:] + D[:-1]), 0.0)
        across[:, :-1] = np.where((D[:, 1:] > 0) & (D[:, :-1] > 0), 0.5 * (D[:, 1:] + D[:, :-1]), 0.0)
        return down, across


def _box_of(diffusivity: Field) -> tuple[slice, slice]:
    """The rows and columns with tissue: beyond them nothing ever changes."""
    tissue = diffusivity > 0
    ends = [np.flatnonzero(tissue.any(axis=axis)) for axis in (1, 0)]
    rows, columns = (slice(int(one[0]), int(one[-1]) + 1) if len(one) else slice(0, 0) for one in ends)
    return rows, columns


def _grow(u: Field, factor: float, room: Field) -> None:
    """The exact logistic growth by e^(rho t) = factor, in place."""
    np.multiply(u, factor - 1.0, out=room)
    room += 1.0
    u *= factor
    u /= room


def _diffuse(u: Field, down: Field, across: Field, room: Field) -> None:
    """One explicit step in place; `down` and `across` hold D dt / h² of the faces between cells."""
    below, beside = room[:-1], np.diff(u, axis=1)
    np.subtract(u[1:], u[:-1], out=below)
    below *= down
    beside *= across
    u[:-1] += below
    u[1:] -= below
    u[:, :-1] += beside
    u[:, 1:] -= beside
