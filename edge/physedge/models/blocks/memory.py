"""LMB: every pixel asks a small bank of learned prototypes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.convolution import pointwise


class PrototypeAttention(nn.Module):
    """softmax(10 cos(query, key)) over the prototypes, then their mean with these weights.

    A prototype's key is its own beginning: the first r of its C entries.

    Attributes:
        prototypes: Learned, (prototype, channel).
    """

    keep_float: ClassVar[bool] = True  # A cosine times ten inside a softmax: one quantum moves the choice.
    temperature: ClassVar[float] = 10.0

    def __init__(self, channels: int, prototypes: int) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(prototypes, channels))

    def weights(self, query: Tensor) -> Tensor:
        """Map queries (batch, r, height, width) to (batch, prototype, height, width), positive with sum one."""
        keys = functional.normalize(self.prototypes[:, : query.shape[1]], dim=1) * self.temperature
        return torch.softmax(functional.conv2d(functional.normalize(query, dim=1), keys[:, :, None, None]), dim=1)

    def forward(self, query: Tensor) -> Tensor:
        """Map queries (batch, r, height, width) to the mean prototype, (batch, channel, height, width)."""
        return functional.conv2d(self.weights(query), self.prototypes.T[:, :, None, None])


class PrototypeMemory(nn.Module):
    """LMB: y = x + alpha 1x1(mean prototype); the query has r = max(C/4, 16) entries; alpha starts at 0.1."""

    def __init__(self, channels: int, prototypes: int) -> None:
        super().__init__()
        self.query = pointwise(channels, max(channels // 4, 16))
        self.attention = PrototypeAttention(channels, prototypes)
        self.value = pointwise(channels, channels)
        self.strength = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        return x + self.strength * self.value(self.attention(self.query(x)))
