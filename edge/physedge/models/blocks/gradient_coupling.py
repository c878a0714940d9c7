"""ESConv: the picture's gradient coupled with the picture, and features gated by a boundary map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.convolution import ConvNorm, SeparableNorm, depthwise, pointwise
from physedge.models.blocks.coupling import Physics, coupling
from physedge.models.blocks.derivative import sobel_pair
from physedge.models.blocks.fold import affine, constant_depthwise


class GradientMagnitude(nn.Module):
    """g = (|gx| + |gy|) / sqrt(2), per channel, with learned kernels that start as Sobel / 8.

    The two kernels of a channel are two convolutions, not one with interleaved outputs: gx and gy of *the same* channel
    meet.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        x, y = sobel_pair()
        self.along_x = nn.Parameter(x.repeat(channels, 1, 1, 1))
        self.along_y = nn.Parameter(y.repeat(channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape, non-negative."""
        gx = functional.conv2d(x, self.along_x, padding=1, groups=x.shape[1])
        gy = functional.conv2d(x, self.along_y, padding=1, groups=x.shape[1])
        return (gx.abs() + gy.abs()) * math.sqrt(0.5)


class GradientMomentum(nn.Module):
    """p = BN(DW3x3(GELU(BN(g)))) of the gradient's magnitude g."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.magnitude = GradientMagnitude(channels)
        self.norm = nn.BatchNorm2d(channels)
        self.smooth = ConvNorm(depthwise(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        momentum: Tensor = self.smooth(functional.gelu(self.norm(self.magnitude(x))))
        return momentum

    def folded(self) -> nn.Module:
        """Two constant convolutions whose absolute values, with a sign and a shift per channel, go on.

        BN's scale s goes into the kernels: s (|gx| + |gy|) = sign(s) (|s gx| + |s gy|).
        """
        scale, shift = affine(self.norm)
        magnitude, dtype = self.magnitude, self.magnitude.along_x.dtype
        factor = (scale * math.sqrt(0.5))[:, None, None, None]
        return FoldedMomentum(
            constant_depthwise(magnitude.along_x.double() * factor, dtype=dtype),
            constant_depthwise(magnitude.along_y.double() * factor, dtype=dtype),
            torch.where(scale < 0, -1.0, 1.0).to(dtype)[:, None, None] if bool((scale < 0).any()) else None,
            shift.to(dtype)[:, None, None],
            self.smooth,
        )


class FoldedMomentum(nn.Module):
    """smooth(GELU(sign (|x'| + |y'|) + shift)); no sign where all are positive."""

    shift: Tensor
    sign: Tensor | None

    def __init__(
        self, along_x: nn.Conv2d, along_y: nn.Conv2d, sign: Tensor | None, shift: Tensor, smooth: nn.Module
    ) -> None:
        super().__init__()
        self.along_x = along_x
        self.along_y = along_y
        self.smooth = smooth
        self.register_buffer("sign", sign)
        self.register_buffer("shift", shift)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        magnitude = self.along_x(x).abs() + self.along_y(x).abs()
        signed = magnitude if self.sign is None else magnitude * self.sign
        momentum: Tensor = self.smooth(functional.gelu(signed + self.shift))
        return momentum


class BoundaryGate(nn.Module):
    """b = sigmoid(1x1(GELU(BN(1x1)))), 2C -> C/2 -> 1: where a boundary runs."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = ConvNorm(pointwise(2 * channels, channels // 2), activation=nn.GELU())
        self.score = pointwise(channels // 2, 1, bias=True)

    def forward(self, z: Tensor) -> Tensor:
        """Map (batch, 2 channel, height, width) to (batch, 1, height, width), in [0, 1]."""
        return torch.sigmoid(self.score(self.squeeze(z)))


class GradientCoupling(nn.Module):
    """ESConv: q = x and a momentum p made of its gradient are coupled; features f of both, raised where b is, join m.

    Output GELU(BN(1x1[m; f])) + beta x, m = GELU(BN(DS(x))), f = GELU(BN(DS[q'; p'])) (1 + b), beta starts at 0.1.
    """

    def __init__(self, channels: int, physics: Physics) -> None:
        super().__init__()
        self.main = SeparableNorm(channels, channels, activation=nn.GELU())
        self.momentum = GradientMomentum(channels)
        self.coupling = coupling(channels, physics, bounded=False)
        self.boundary = BoundaryGate(channels)
        self.features = SeparableNorm(2 * channels, channels, activation=nn.GELU())
        self.join = ConvNorm(pointwise(2 * channels, channels), activation=nn.GELU())
        self.carry = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        z = self.coupling(x, self.momentum(x))
        features = self.features(z) * (1.0 + self.boundary(z))
        joined: Tensor = self.join(torch.cat((self.main(x), features), dim=1))
        return joined + self.carry * x
