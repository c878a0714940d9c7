"""LMB: every pixel asks a small bank of learned prototypes."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.convolution import pointwise
from physedge.models.blocks.fold import constant_convolution


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
        remembered: Tensor = self.value(self.attention(self.query(x)))
        return x + self.strength * remembered

    def folded(self) -> nn.Module:
        """The same with prototypes, value and alpha multiplied into one convolution."""
        dtype = self.strength.dtype
        prototypes = self.attention.prototypes.double()
        keys = functional.normalize(prototypes[:, : self.query.out_channels], dim=1) * self.attention.temperature
        value = self.strength.double() * (self.value.weight[:, :, 0, 0].double() @ prototypes.T)
        return FoldedMemory(
            self.query,
            CosineWeights(constant_convolution(keys[:, :, None, None], dtype=dtype)),
            constant_convolution(value[:, :, None, None], dtype=dtype),
        )


class CosineWeights(nn.Module):
    """`PrototypeAttention.weights` with constant keys, which hold the temperature."""

    keep_float: ClassVar[bool] = True

    def __init__(self, keys: nn.Conv2d) -> None:
        super().__init__()
        self.keys = keys

    def forward(self, query: Tensor) -> Tensor:
        """Map queries (batch, r, height, width) to (batch, prototype, height, width), positive with sum one."""
        length = query.square().sum(dim=1, keepdim=True).sqrt().clamp_min(1e-12)
        return torch.softmax(self.keys(query) / length, dim=1)


class FoldedMemory(nn.Module):
    """x + value(weights(query(x)))."""

    def __init__(self, query: nn.Conv2d, weights: CosineWeights, value: nn.Conv2d) -> None:
        super().__init__()
        self.query = query
        self.weights = weights
        self.value = value

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        answer: Tensor = x + self.value(self.weights(self.query(x)))
        return answer
