"""PR: residuals gated by what the whole picture says about each channel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.convolution import SeparableNorm, pointwise


class ChannelMixer(nn.Module):
    """1x1(SiLU(1x1)) with a narrow middle, without bias: the small head behind gates, sources and diffusivities."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.squeeze = pointwise(channels, narrow)
        self.widen = pointwise(narrow, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        mixed: Tensor = self.widen(functional.silu(self.squeeze(x)))
        return mixed


class GatedResidual(nn.Module):
    """x + R(x) * A(x): R = BN(DS(SiLU(BN(DS)))), A = sigmoid of a mixer (C -> C/16 -> C) of the channel means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            SeparableNorm(channels, channels, activation=nn.SiLU()), SeparableNorm(channels, channels)
        )
        self.gate = ChannelMixer(channels, channels // 16)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        gate = torch.sigmoid(self.gate(x.mean(dim=(2, 3), keepdim=True)))
        residual: Tensor = self.residual(x)
        return x + residual * gate


class GatedResiduals(nn.Sequential):
    """PR: `steps` gated residuals one after the other, each with weights of its own."""

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__(*(GatedResidual(channels) for _ in range(steps)))
