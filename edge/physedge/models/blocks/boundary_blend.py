"""BF of `pmrnet`: one set of features for regions, one for boundaries, blended by where boundaries run."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physedge.models.blocks.convolution import ConvNorm, SeparableNorm, pointwise


class BoundaryScore(nn.Module):
    """Logits of the boundary: conv3x3(SiLU(BN(1x1))), C -> C/8 -> 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = ConvNorm(pointwise(channels, channels // 8), activation=nn.SiLU())
        self.score = nn.Conv2d(channels // 8, 1, 3, padding=1, bias=False)

    def forward(self, e: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to (batch, 1, height, width)."""
        score: Tensor = self.score(self.squeeze(e))
        return score


class BoundaryBlend(nn.Module):
    """BF: y = r (1 - b) + s b, r = SiLU(BN(DS[d; e])), s = SiLU(BN(DS(e))), b = sigmoid of `BoundaryScore` of e."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.boundary = BoundaryScore(channels)
        self.region = SeparableNorm(2 * channels, channels, activation=nn.SiLU())
        self.edge = SeparableNorm(channels, channels, activation=nn.SiLU())

    def forward(self, d: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Join the decoder's d with the skip e, both (batch, channel, height, width).

        Returns:
            The joined map, same shape, and the boundary's logits (batch, 1, height, width).
        """
        logit = self.boundary(e)
        region = self.region(torch.cat((d, e), dim=1))
        return region + torch.sigmoid(logit) * (self.edge(e) - region), logit
