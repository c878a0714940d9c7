"""From features to a tumour model: the density at the beginning, and D and rho."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.convolution import ConvNorm, depthwise, pointwise, upsampled
from physedge.models.blocks.front import FrontReading, crossing
from physedge_runtime.growth import GrowthSpec

_WIDTH = 32
# A picture begins with about this density everywhere, so that neither the mass hinge nor the sigmoid is saturated.
_FIRST_DENSITY = 0.05
# Means over less of F2's cells than this fade to 0.
_LEAST_CELLS = 0.1


class DensitySigmoid(nn.Module):
    """The last 1x1 convolution and its sigmoid: a density of a thousandth is less than a quantum of 8 bits."""

    keep_float: ClassVar[bool] = True

    def __init__(self, features: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(features, 1, 1)
        nn.init.constant_(self.project.bias, math.log(_FIRST_DENSITY / (1.0 - _FIRST_DENSITY)))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, features, row, column) to (batch, 1, row, column), 0 to 1."""
        return torch.sigmoid(self.project(x))


class DensityHead(nn.Module):
    """u_0 = sigmoid(1x1(ReLU(up(1x1 F2 + C(F2)) + 1x1 F1))) on the grid of F1.

    In `physnet_e` a cell of F2 sees 39 pixels, a sixth of a picture of 224: whether that is in a lesion's dead core, in
    its rim or in sound brain as bright, it does not know. C, two depthwise convolutions with dilations 2 and 4 between
    1x1 convolutions, lets it see 135.

    Args:
        fine: Channels of F1.
        coarse: Channels of F2, at half the resolution.
    """

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(fine, _WIDTH, 1)
        self.coarse = nn.Conv2d(coarse, _WIDTH, 1)
        self.context = nn.Sequential(
            ConvNorm(pointwise(coarse, _WIDTH), activation=nn.ReLU()),
            depthwise(_WIDTH, dilation=2),
            ConvNorm(pointwise(_WIDTH, _WIDTH), activation=nn.ReLU()),
            depthwise(_WIDTH, dilation=4),
            ConvNorm(pointwise(_WIDTH, _WIDTH)),
        )
        self.output = DensitySigmoid(_WIDTH)

    def forward(self, f1: Tensor, f2: Tensor) -> Tensor:
        """Map F1 (batch, fine, row, column) and F2 (batch, coarse, row/2, column/2) to (batch, 1, row, column)."""
        around = self.coarse(f2) + self.context(f2)
        density: Tensor = self.output(torch.relu(upsampled(around) + self.fine(f1)))
        return density


class ParameterHead(nn.Module):
    """D and rho, on a logarithmic scale within their bounds: one pair a picture, one learned pair, or a frozen pair.

    A pair of its own is read from the density's front (`FrontReading`) and from the features in three means: over the
    picture, over the density u_0, and over its front, 4 u_0 (1 - u_0). A lesion covers some hundredths of a picture and
    its front less, so that the mean over all of it says next to nothing of them. What is read does not move u_0:
    where a tumour is, is learned from where it is.

    Args:
        features: Channels of F2, at half the resolution of the density.
        spec: Of the growth.
    """

    keep_float: ClassVar[bool] = True  # The map is exponential over two decades.

    def __init__(self, features: int, spec: GrowthSpec) -> None:
        super().__init__()
        self.mode = spec.parameters
        bounds = torch.tensor([spec.diffusivity_mm2_per_day, spec.growth_per_day]).log()
        self.register_buffer("low", bounds[:, 0].clone(), persistent=False)
        self.register_buffer("span", bounds[:, 1] - bounds[:, 0], persistent=False)
        frozen = torch.tensor([spec.frozen_diffusivity_mm2_per_day, spec.frozen_growth_per_day]).log()
        self.register_buffer("frozen", (frozen - bounds[:, 0]) / (bounds[:, 1] - bounds[:, 0]), persistent=False)
        if self.mode == "image":
            self.front = FrontReading(spec)
            self.layers = nn.Sequential(nn.Linear(3 * features + 1, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, 2))
        elif self.mode == "global":
            self.pair = nn.Parameter(torch.zeros(2))

    low: Tensor
    span: Tensor
    frozen: Tensor

    def forward(self, features: Tensor, density: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return D in mm²/day and rho in 1/day, both (batch, 1), and both places in their ranges (batch, 2), 0 to 1.

        Args:
            features: F2, (batch, channel, row, column).
            density: u_0, (batch, 1, 2 row, 2 column).
        """
        if self.mode == "image":
            place = torch.sigmoid(self.layers(self._seen(features, density.detach())))
        else:
            pair = torch.sigmoid(self.pair) if self.mode == "global" else self.frozen
            place = pair.unsqueeze(0) + 0.0 * density.mean(dim=(2, 3))  # in a free batch, every picture its own
        values = torch.exp(self.low + self.span * place)
        return values[:, :1], values[:, 1:], place

    def _seen(self, features: Tensor, density: Tensor) -> Tensor:
        """(batch, 3 channel + 1)."""
        front = crossing(density)
        weights = functional.avg_pool2d(torch.cat([density, front], dim=1), 2).flatten(2)
        weights = weights / (weights.sum(dim=2, keepdim=True) + _LEAST_CELLS)
        places = weights @ features.flatten(2).transpose(1, 2)
        return torch.cat([features.mean(dim=(2, 3)), places.flatten(1), self.front(density)], dim=1)
