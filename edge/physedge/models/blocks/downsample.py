"""RGDS of `pmrnet`: a small coupling at full resolution, then half the resolution along a rough and a smooth path."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.convolution import ConvNorm, SeparableNorm, pointwise
from physedge.models.blocks.coupling import Physics
from physedge.models.blocks.fold import scaled

NUDGE = 0.1


class TanhNudge(nn.Module):
    """x + 0.1 tanh(BN(DS(x))): the paper's form."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.nudge = SeparableNorm(channels, channels, activation=nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        nudge: Tensor = self.nudge(x)
        return x + NUDGE * nudge

    def folded(self) -> nn.Module:
        """The same with a sigmoid in place of tanh, see `FoldedFreeCoupling`."""
        separate, dense = self.nudge[0], self.nudge[1]
        assert isinstance(dense, ConvNorm)
        return FoldedNudge(nn.Sequential(separate, scaled(dense.folded_convolution(), 2.0)))


class FoldedNudge(nn.Module):
    """x + 0.1 (2 sigmoid(twice(x)) - 1), where `twice` holds twice what the tanh saw."""

    def __init__(self, twice: nn.Module) -> None:
        super().__init__()
        self.twice = twice

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        return x + (torch.sigmoid(self.twice(x)) * (2.0 * NUDGE) - NUDGE)


class ShiftAndGain(nn.Module):
    """x + alpha (tanh(beta(x)) + sigmoid(gamma(x)) x), beta and gamma from one DS C -> 2C and BN: the strict form."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fields = SeparableNorm(channels, 2 * channels)
        self.strength = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        shift, gain = self.fields(x).chunk(2, dim=1)
        return x + self.strength * (torch.tanh(shift) + torch.sigmoid(gain) * x)


class StridedDownsample(nn.Module):
    """RGDS: y = low + lambda high of the nudged x; low = SiLU(BN(conv3x3, stride 2)), high = BN(1x1(2x2 mean)).

    lambda starts at 0.3.
    """

    def __init__(self, inputs: int, outputs: int, physics: Physics) -> None:
        super().__init__()
        self.couple = TanhNudge(inputs) if physics == "paper" else ShiftAndGain(inputs)
        self.low = ConvNorm(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), activation=nn.SiLU())
        self.high = ConvNorm(pointwise(inputs, outputs))
        self.share = nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, height/2, width/2)."""
        x = self.couple(x)
        low: Tensor = self.low(x)
        high: Tensor = self.high(functional.avg_pool2d(x, 2))
        return low + self.share * high

    def folded(self) -> nn.Module:
        """The same with lambda inside the smooth path's convolution."""
        return FoldedDownsample(self.couple, self.low, scaled(self.high.folded_convolution(), self.share.item()))


class FoldedDownsample(nn.Module):
    """low(x) + high(2x2 mean) of the nudged x."""

    def __init__(self, couple: nn.Module, low: nn.Module, high: nn.Conv2d) -> None:
        super().__init__()
        self.couple = couple
        self.low = low
        self.high = high

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, height/2, width/2)."""
        x = self.couple(x)
        halved: Tensor = self.low(x) + self.high(functional.avg_pool2d(x, 2))
        return halved
