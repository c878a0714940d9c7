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
picture. As a convolution of one channel the same step costs OpenVINO several times as much, which pads the channel to a
vector. e^(d L) in place of P^n would need no bound, but it is not banded: its rounding puts 1e-8 where nothing can have
come to, and growth makes tumours of that.
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
# The rows of a higher power of P sum to 1 in float32 only to more than a millionth.
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
        self.down = Axis(rows)
        self.across = self.down if rows == columns else Axis(columns)

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
        step = _Euler(self, d, r) if self.spec.integrator == "euler" else _Split(self, d, r)
        u, snapshots = density, [density]
        for index in range(1, steps + 1):
            u = step(u)
            if 4 * index % steps == 0:
                snapshots.append(u)
        return torch.cat(snapshots, dim=1)


class Axis(nn.Module):
    """The second difference along one axis, in what becomes of it for one d."""

    difference: Tensor

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.register_buffer("difference", second_difference(cells), persistent=False)

    def half_step(self, d: Tensor) -> Tensor:
        """M = 1/2 + d L, (batch, 1, cell, cell), for d (batch, 1, 1, 1)."""
        return self._identity(d) * 0.5 + d * self.difference.to(d.dtype)

    def steps(self, d: Tensor, count: int) -> Tensor:
        """P^n of n = `count` steps of d / n each."""
        one = self._identity(d) + d / count * self.difference.to(d.dtype)
        several = one
        for _ in range(count - 1):
            several = several @ one
        return several

    def _identity(self, d: Tensor) -> Tensor:
        return torch.eye(len(self.difference), dtype=d.dtype, device=d.device)


class _Euler:
    """One explicit step."""

    def __init__(self, block: Growth, d: Tensor, r: Tensor) -> None:
        self._down = block.down.half_step(d)
        self._across = self._down if block.across is block.down else block.across.half_step(d)
        self._r = r

    def __call__(self, u: Tensor) -> Tensor:
        return self._down @ u + u @ self._across + u * (self._r - self._r * u)


class _Split:
    """Half of the growth, all of the diffusion, half of the growth."""

    def __init__(self, block: Growth, d: Tensor, r: Tensor) -> None:
        count = diffusion_steps(block.spec)
        self._down = block.down.steps(d, count)
        self._across = self._down if block.across is block.down else block.across.steps(d, count)
        self._factor = torch.exp(0.5 * r)
        self._gain = self._factor - 1.0

    def __call__(self, u: Tensor) -> Tensor:
        return self._grown(self._down @ self._grown(u) @ self._across)

    def _grown(self, u: Tensor) -> Tensor:
        return u * self._factor / (1.0 + u * self._gain)


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
