"""What the front of one density tells: sqrt(D / rho), from how steeply it falls where it is one half.

A front that has run for long enough is u = 1 / (1 + e^(x / 2w)) with w = sqrt(D / rho) to first order (Murray,
Mathematical Biology I, section 13.2). Then |grad u| = q / (8 w) with q = 4 u (1 - u), at every place of the front, so

    w = sum q^4 / (8 sum q^3 |grad u|)

of which the weights q^3 leave a faint haze out: where u is 0.1, q^3 is 0.05.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from physedge_runtime.growth import GrowthSpec

# In 1/mm, added to sum q^3 |grad u|: a density without a front reads as the middle of the range.
_LEAST_FRONT_PER_MM = 0.05


def crossing(density: Tensor) -> Tensor:
    """Q = 4 u (1 - u): 1 where a density is one half, 0 where it is 0 or 1; of the shape of u."""
    return 4.0 * density * (1.0 - density)


class FrontReading(nn.Module):
    """log sqrt(D / rho) less the middle of its range, as the front of a density tells it.

    Args:
        spec: The side of a cell, and the bounds of D and rho.
    """

    slope: Tensor

    def __init__(self, spec: GrowthSpec) -> None:
        super().__init__()
        products = math.prod(spec.diffusivity_mm2_per_day) / math.prod(spec.growth_per_day)
        self.middle_mm = products**0.25
        beside = torch.diag(torch.ones(spec.cells - 1), 1)
        slope = (beside - beside.T) / (2.0 * spec.cell_mm)
        slope[0], slope[-1] = 0.0, 0.0
        self.register_buffer("slope", slope, persistent=False)

    def forward(self, density: Tensor, counted: Tensor | None = None) -> Tensor:
        """Map u, (batch, 1, cell, cell), 0 to 1, to (batch, 1); 0 where u has no front.

        Args:
            density: u.
            counted: How much a cell counts, of the same shape, 0 to 1; all alike where None.
        """
        steepness = self.steepness(density)
        q = crossing(density)
        cubed = q * q * q if counted is None else q * q * q * counted
        seen = (cubed * q).sum(dim=(2, 3)) / 8.0 + _LEAST_FRONT_PER_MM * self.middle_mm
        return torch.log(seen / ((cubed * steepness).sum(dim=(2, 3)) + _LEAST_FRONT_PER_MM)) - math.log(self.middle_mm)

    def steepness(self, density: Tensor) -> Tensor:
        """|grad u| in 1/mm, of the shape of u; 0 across the border."""
        down, across = self.slope @ density, density @ self.slope.T
        return torch.sqrt(down.square() + across.square() + 1e-12)
