"""Tumour growth as a block of a network: u_t = div(D grad u) + rho u (1 - u), no flux through the border.

With h the side of a cell and dt the length of a step, d = D dt / h², r = rho dt and N(u) the sum over the up to four
neighbours inside the grid, deg their number:

    euler   u <- u + d (N(u) - deg u) + r u (1 - u)              keeps [0, 1] if and only if 4 d + r <= 1
    split   u <- R(r/2) D(d/n)^n R(r/2) u                        keeps [0, 1] for any r, with d/n <= 1/4
            R(r) u = u e^r / (1 + u (e^r - 1)), the exact logistic; D(d) u = u + d (N(u) - deg u)

`dt (4 D_max / h² + rho_max) <= 1` follows for `euler` from the worst cases u = 0 among zeros and u -> 1 among ones,
where the derivative 1 - 4 d - r must not be negative. The bounds hold by construction: a block that could leave them
is refused when it is built.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge_runtime.errors import UsageError
from physedge_runtime.growth import GrowthSpec

_MOST_DIFFUSION_STEPS = 256
# Room for the rounding of float32 in the bound itself.
_BOUND = 1.0 + 1e-6


class Growth(nn.Module):
    """Evolves a density over the horizon.

    Args:
        spec: Times, bounds and the side of a cell.
        grid: (row, column) cells; the square of the specification where None.

    Raises:
        UsageError: The steps are too long for the bounds (`PE-MODEL-007`).
    """

    keep_float: ClassVar[bool] = True  # The increments of one step fall below a quantum of 8 bits.

    neighbours: Tensor
    degree: Tensor

    def __init__(self, spec: GrowthSpec, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.spec = spec
        check_stability(spec)
        cross = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
        self.register_buffer("neighbours", cross.reshape(1, 1, 3, 3), persistent=False)
        self.register_buffer("degree", degrees(*(grid or (spec.cells, spec.cells))), persistent=False)

    def forward(self, density: Tensor, diffusivity: Tensor, growth: Tensor) -> Tensor:
        """Return the density at 0, 1/4, 1/2, 3/4 and the whole of the horizon, (batch, 5, row, column).

        Args:
            density: u at the beginning, (batch, 1, row, column), 0 to 1.
            diffusivity: D in mm²/day, (batch, 1, 1, 1), within the bounds.
            growth: rho in 1/day, (batch, 1, 1, 1), within the bounds.
        """
        return self.evolve(density, diffusivity, growth)

    def evolve(self, density: Tensor, diffusivity: Tensor, growth: Tensor, *, refine: int = 1) -> Tensor:
        """As `forward`, with steps `refine` times as short."""
        if not self.spec.evolves:
            return density.expand(-1, 5, -1, -1)
        steps = self.spec.step_count * refine
        step_days = self.spec.horizon_days / steps
        d = diffusivity * (step_days / self.spec.cell_mm**2)
        r = growth * step_days
        step = _Euler(self, d, r) if self.spec.integrator == "euler" else _Split(self, d, r)
        u, snapshots = density, [density]
        for index in range(1, steps + 1):
            u = step(u)
            if 4 * index % steps == 0:
                snapshots.append(u)
        return torch.cat(snapshots, dim=1)

    def gathered(self, u: Tensor) -> Tensor:
        """N(u): the sum over the neighbours inside the grid."""
        return functional.conv2d(u, self.neighbours.to(u.dtype), padding=1)


class _Euler:
    """One explicit step: u (1 - d deg + r - r u) + d N(u)."""

    def __init__(self, block: Growth, d: Tensor, r: Tensor) -> None:
        self._block, self._d, self._r = block, d, r
        self._kept = 1.0 - d * block.degree.to(d.dtype) + r

    def __call__(self, u: Tensor) -> Tensor:
        return u * (self._kept - self._r * u) + self._d * self._block.gathered(u)


class _Split:
    """Half of the growth, all of the diffusion, half of the growth."""

    def __init__(self, block: Growth, d: Tensor, r: Tensor) -> None:
        self._block, self._count = block, diffusion_sub_steps(block.spec)
        self._d = d / self._count
        self._kept = 1.0 - self._d * block.degree.to(d.dtype)
        self._factor = torch.exp(0.5 * r)
        self._gain = self._factor - 1.0

    def __call__(self, u: Tensor) -> Tensor:
        u = self._grown(u)
        for _ in range(self._count):
            u = u * self._kept + self._d * self._block.gathered(u)
        return self._grown(u)

    def _grown(self, u: Tensor) -> Tensor:
        return u * self._factor / (1.0 + u * self._gain)


def degrees(rows: int, columns: int) -> Tensor:
    """Neighbours of every cell inside the grid: 4, at an edge 3, in a corner 2; (1, 1, row, column)."""
    inside = torch.ones(1, 1, rows, columns)
    cross = torch.tensor([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]).reshape(1, 1, 3, 3)
    return functional.conv2d(inside, cross, padding=1)


def diffusion_sub_steps(spec: GrowthSpec) -> int:
    """The fewest equal sub-steps of `split` with D dt / h² <= 1/4 each."""
    d = spec.diffusivity_mm2_per_day[1] * spec.step_days / spec.cell_mm**2
    return max(1, math.ceil(4.0 * d / _BOUND))


def check_stability(spec: GrowthSpec) -> None:
    """Refuse steps that could lead a density out of [0, 1].

    Raises:
        UsageError: PE-MODEL-007, with the number that would do.
    """
    largest_d, largest_rho = spec.diffusivity_mm2_per_day[1], spec.growth_per_day[1]
    per_day = 4.0 * largest_d / spec.cell_mm**2 + largest_rho
    if spec.integrator == "euler":
        if spec.step_days * per_day <= _BOUND:
            return
        steps = 4 * math.ceil(spec.horizon_days * per_day / 4.0)
        raise UsageError(
            "PE-MODEL-007",
            found=f"4 D dt/h² + rho dt = {spec.step_days * per_day:.3g} with D = {largest_d:g} mm²/day, rho = "
            f"{largest_rho:g}/day, dt = {spec.step_days:g} days, h = {spec.cell_mm:.3g} mm",
            expected="at most 1, so that no density leaves 0 to 1",
            next_step=f"set steps to {steps} or more in [growth], or integrator to split",
        )
    total = spec.step_count * diffusion_sub_steps(spec)
    if total > _MOST_DIFFUSION_STEPS:
        raise UsageError(
            "PE-MODEL-007",
            found=f"{total} diffusion steps with D = {largest_d:g} mm²/day and h = {spec.cell_mm:.3g} mm",
            expected=f"at most {_MOST_DIFFUSION_STEPS}",
            next_step="lower the largest diffusivity_mm2_per_day or horizon_days in [growth], or take fewer cells",
        )
