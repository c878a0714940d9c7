"""Diffusion on the pixel grid, with nothing flowing over the border.

The Laplacian is the sum of (neighbour - centre) over those neighbours that lie inside the map: a convolution with
zero padding minus the number of such neighbours times the centre. One convolution and one product by a constant;
no padding operator.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

FIVE_POINT = ((0.0, 1.0, 0.0), (1.0, 0.0, 1.0), (0.0, 1.0, 0.0))


def five_point_degree(height: int, width: int, reach: int, *, like: Tensor) -> Tensor:
    """How many of the four neighbours at distance `reach` lie inside the map, (1, 1, height, width), 0 to 4."""
    rows = torch.arange(height, device=like.device)
    columns = torch.arange(width, device=like.device)
    vertical = (rows >= reach).to(like.dtype) + (rows < height - reach).to(like.dtype)
    horizontal = (columns >= reach).to(like.dtype) + (columns < width - reach).to(like.dtype)
    return (vertical[:, None] + horizontal[None, :])[None, None]


class AtrousDiffusion(nn.Module):
    """u <- u + D * L_r(u) * 0.5^k + 0.1 g for k = 0 .. steps-1, with the five-point Laplacian L_r at reach r = 2^k.

    With 0 <= D <= 1/4 every step without source is a convex combination of values of u: the range never grows. The
    source adds at most 0.1 * steps * max|g|. Four steps reach 1 + 2 + 4 + 8 = 15 cells.
    """

    keep_float: ClassVar[bool] = True  # The increments fall below one 8-bit quantum as 0.5^k shrinks.
    source_scale: ClassVar[float] = 0.1

    neighbours: Tensor

    def __init__(self, channels: int, steps: int = 4) -> None:
        super().__init__()
        self.steps = steps
        stencil = torch.tensor(FIVE_POINT).repeat(channels, 1, 1, 1)
        self.register_buffer("neighbours", stencil, persistent=False)

    def laplacian(self, u: Tensor, reach: int, weight: float = 1.0) -> Tensor:
        """Weight * L_r(u), same shape as u; the weight goes into the constants."""
        inflow = functional.conv2d(u, self.neighbours * weight, padding=reach, dilation=reach, groups=u.shape[1])
        return inflow - (five_point_degree(u.shape[2], u.shape[3], reach, like=u) * weight) * u

    def forward(self, u: Tensor, diffusivity: Tensor, source: Tensor) -> Tensor:
        """Diffuse.

        Args:
            u: (batch, channel, height, width).
            diffusivity: D in [0, 1/4], same shape.
            source: g, (batch, channel, 1, 1).
        """
        flow = self.source_scale * source
        for k in range(self.steps):
            u = u + diffusivity * self.laplacian(u, 2**k, 0.5**k) + flow
        return u
