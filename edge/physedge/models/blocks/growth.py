"""Tumour growth as a block of a network: u_t = div(D grad u) + rho u (1 - u), no flux through the border.

With h the side of a cell and dt the length of a step, d = D dt / h², r = rho dt and L u the sum over the up to four
neighbours inside the grid of their difference from u:

    euler   u <- u + d L u + r u (1 - u)          keeps [0, 1] if and only if 4 d + r <= 1
    split   u <- R(r/2) P^n R(r/2) u P'^n         keeps [0, 1] for any r, with d/n <= 1/4
            R(r) u = u e^r / (1 + u (e^r - 1)), the exact logistic; P = 1 + d/n L_rows, P' alike along the columns

`dt (4 D_max / h² + rho_max) <= 1` follows for `euler` from the worst cases u = 0 among zeros and u -> 1 among ones,
where the derivative 1 - 4 d - r must not be negative. P has no negative entry and rows and columns that sum to 1, so
it keeps every range and the mass. The bounds hold by construction: a block that could leave them is refused when it is
built.

L is a second difference along the rows and one along the columns, and the two commute. So u + d L u = M u + u M' with
M = 1/2 + d L_rows, M' alike; and n diffusion steps of `split` are one product with P^n from either side, made once a
picture. With A = L_rows + 2, which has no negative entry, and a = d/n,

    P^n = sum over k of C(n, k) (1 - 2 a)^(n - k) a^k A^k

where A^k are constants and all terms are at least 0. Two halves of growth with nothing between them are one, so a step
needs R(r/2) of its own only for a density that is handed out, and those are made all at once. As a convolution of one
channel the same step costs OpenVINO several times as much, which pads the channel to a vector. e^(d L) in place of P^n
would need no bound, but it is not banded: its rounding puts 1e-8 where nothing can have come to, and growth makes
tumours of that.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from physedge_runtime.errors import UsageError
from physedge_runtime.growth import GrowthSpec

# Room for the rounding of float32 in the bound itself.
_BOUND = 1.0 + 1e-6
# More terms of P^n than this are better spent on more steps.
_MOST_DIFFUSION_STEPS = 8


class Growth(nn.Module):
    """Evolves a density over the horizon.

    Args:
        spec: Times, bounds and the side of a cell.
        grid: (row, column) cells; the square of the specification where None.

    Raises:
        UsageError: The steps are too long for the bounds (`PE-MODEL-007`).
    """

    keep_float: ClassVar[bool] = True  # The increments of one step fall below a quantum of 8 bits.

    def __init__(self, spec: GrowthSpec, grid: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.spec = spec
        check_stability(spec)
        rows, columns = grid or (spec.cells, spec.cells)
        count = diffusion_steps(spec) if spec.integrator == "split" else 1
        self.down = Axis(rows, count)
        self.across = self.down if rows == columns else Axis(columns, count)

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
        if density.dtype == torch.float16:  # whose rows of P would sum to 1 but for a thousandth
            return self.evolve(density.float(), diffusivity.float(), growth.float(), refine=refine).half()
        steps = self.spec.step_count * refine
        step_days = self.spec.horizon_days / steps
        d = diffusivity * (step_days / self.spec.cell_mm**2)
        r = growth * step_days
        evolution = _Euler(self, d, r) if self.spec.integrator == "euler" else _Split(self, d, r)
        return torch.cat([density, evolution(density, steps)], dim=1)


class Axis(nn.Module):
    """The second difference along one axis, in what becomes of it for one d.

    Args:
        cells: Along the axis.
        count: n, diffusion steps that are taken at once.
    """

    difference: Tensor

    def __init__(self, cells: int, count: int) -> None:
        super().__init__()
        difference = second_difference(cells)
        neighbours = difference + 2.0 * torch.eye(cells, dtype=torch.float64)
        self.register_buffer("difference", difference, persistent=False)
        self.count = count
        for k in range(count + 1):
            scaled = math.comb(count, k) * torch.linalg.matrix_power(neighbours, k)
            self.register_buffer(f"power_{k}", scaled, persistent=False)

    def half_step(self, d: Tensor) -> Tensor:
        """M = 1/2 + d L, (batch, 1, cell, cell), for d (batch, 1, 1, 1)."""
        one = torch.eye(len(self.difference), dtype=d.dtype, device=d.device)
        return one * 0.5 + d * self.difference.to(d.dtype)

    def steps(self, d: Tensor) -> Tensor:
        """P^n of n steps of d / n each, (batch, 1, cell, cell), for d (batch, 1, 1, 1)."""
        a = d / self.count
        stays = 1.0 - 2.0 * a
        terms = [
            stays ** (self.count - k) * a**k * getattr(self, f"power_{k}").to(d.dtype) for k in range(self.count + 1)
        ]
        total: Tensor = terms[0]
        for term in terms[1:]:
            total = total + term
        return total


class _Euler:
    """Explicit steps."""

    def __init__(self, block: Growth, d: Tensor, r: Tensor) -> None:
        self._down = block.down.half_step(d)
        self._across = self._down if block.across is block.down else block.across.half_step(d)
        self._r = r

    def __call__(self, u: Tensor, steps: int) -> Tensor:
        """The density after every quarter of the steps, (batch, 4, row, column)."""
        kept = []
        for index in range(1, steps + 1):
            u = self._down @ u + u @ self._across + u * (self._r - self._r * u)
            if 4 * index % steps == 0:
                kept.append(u)
        return torch.cat(kept, dim=1)


class _Split:
    """Half of the growth, all of the diffusion, half of the growth."""

    def __init__(self, block: Growth, d: Tensor, r: Tensor) -> None:
        self._down = block.down.steps(d)
        self._across = self._down if block.across is block.down else block.across.steps(d)
        self._half = torch.exp(0.5 * r) - 1.0
        self._whole = self._half * (self._half + 2.0)

    def __call__(self, u: Tensor, steps: int) -> Tensor:
        """The density after every quarter of the steps, (batch, 4, row, column)."""
        kept = []
        u = _grown(u, self._half)
        for index in range(1, steps + 1):
            u = self._down @ u @ self._across
            if 4 * index % steps == 0:
                kept.append(u)
            if index < steps:
                u = _grown(u, self._whole)
        return _grown(torch.cat(kept, dim=1), self._half)


def _grown(u: Tensor, gain: Tensor) -> Tensor:
    """R(r) u for gain = e^r - 1."""
    return u * (1.0 + gain) / (1.0 + u * gain)


def second_difference(cells: int) -> Tensor:
    """L along one axis: neighbours inside less their number; (cell, cell), symmetric, every row sums to 0.

    Example:
        >>> second_difference(3).tolist()
        [[-1.0, 1.0, 0.0], [1.0, -2.0, 1.0], [0.0, 1.0, -1.0]]
    """
    beside = torch.diag(torch.ones(cells - 1, dtype=torch.float64), 1)
    neighbours = beside + beside.T
    return neighbours - torch.diag(neighbours.sum(dim=1))


def diffusion_steps(spec: GrowthSpec) -> int:
    """N of `split`: the fewest equal steps with D dt / h² <= 1/4 each."""
    d = spec.diffusivity_mm2_per_day[1] * spec.step_days / spec.cell_mm**2
    return max(1, math.ceil(4.0 * d / _BOUND))


def check_stability(spec: GrowthSpec) -> None:
    """Refuse steps that could lead a density out of [0, 1].

    Raises:
        UsageError: PE-MODEL-007, with the number that would do.
    """
    largest_d, largest_rho = spec.diffusivity_mm2_per_day[1], spec.growth_per_day[1]
    per_day = 4.0 * largest_d / spec.cell_mm**2 + largest_rho
    if spec.integrator == "split":
        _check_count(spec)
        return
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


def _check_count(spec: GrowthSpec) -> None:
    count = diffusion_steps(spec)
    if count > _MOST_DIFFUSION_STEPS:
        raise UsageError(
            "PE-MODEL-007",
            found=f"{count} diffusion steps within one of {spec.step_days:g} days, with D = "
            f"{spec.diffusivity_mm2_per_day[1]:g} mm²/day and h = {spec.cell_mm:.3g} mm",
            expected=f"at most {_MOST_DIFFUSION_STEPS}",
            next_step="raise steps in [growth], or lower the largest diffusivity_mm2_per_day or cells",
        )
