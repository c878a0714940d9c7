"""Image derivatives as convolutions."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.fold import constant_depthwise

SOBEL_X = ((-1.0, 0.0, 1.0), (-2.0, 0.0, 2.0), (-1.0, 0.0, 1.0))
"""Eight times the derivative along the width, smoothed along the height; its transpose is Sobel's y."""


def sobel_pair() -> tuple[Tensor, Tensor]:
    """Two float32 kernels (3, 3) whose answer to a ramp of slope one, along x and along y, is one."""
    x = torch.tensor(SOBEL_X) / 8.0
    return x, x.T.contiguous()


class DirectionalDerivative(nn.Module):
    """The derivative of every channel along an angle of its own: cos(angle) d/dx + sin(angle) d/dy.

    Attributes:
        angle: Learned, (channel,), radians; the start spreads the directions evenly over half a turn.
    """

    sobel_x: Tensor
    sobel_y: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.angle = nn.Parameter(torch.arange(channels) * (math.pi / channels))
        x, y = sobel_pair()
        self.register_buffer("sobel_x", x, persistent=False)
        self.register_buffer("sobel_y", y, persistent=False)

    def kernel(self) -> Tensor:
        """The depthwise kernels, (channel, 1, 3, 3)."""
        angle = self.angle[:, None, None]
        return (torch.cos(angle) * self.sobel_x + torch.sin(angle) * self.sobel_y)[:, None]

    def forward(self, x: Tensor) -> Tensor:
        """Differentiate (batch, channel, height, width); the map is zero outside its border."""
        return functional.conv2d(x, self.kernel(), padding=1, groups=x.shape[1])

    def folded(self) -> nn.Conv2d:
        """A convolution with constant kernels."""
        return constant_depthwise(self.kernel(), dtype=self.angle.dtype)
