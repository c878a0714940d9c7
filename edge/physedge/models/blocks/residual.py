"""The residual blocks of a ResNet (He et al. 2016), with batch normalisations that fold away when deployed."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from physedge.models.blocks.convolution import ConvNorm


def dense(inputs: int, outputs: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A dense convolution without bias that keeps the map's size but for its stride."""
    return nn.Conv2d(inputs, outputs, kernel_size, stride=stride, padding=kernel_size // 2, bias=False)


class ResidualBlock(nn.Module):
    """ReLU(x + F(x)), F two 3x3 convolutions, or 1x1, 3x3, 1x1 through a quarter of the channels (`bottleneck`)."""

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1, bottleneck: bool = False) -> None:
        super().__init__()
        relu = nn.ReLU
        if bottleneck:
            inner = outputs // 4
            self.body = nn.Sequential(
                ConvNorm(dense(inputs, inner, 1), activation=relu()),
                ConvNorm(dense(inner, inner, 3, stride), activation=relu()),
                ConvNorm(dense(inner, outputs, 1)),
            )
        else:
            self.body = nn.Sequential(
                ConvNorm(dense(inputs, outputs, 3, stride), activation=relu()), ConvNorm(dense(outputs, outputs, 3))
            )
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else ConvNorm(dense(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, row, column) to (batch, outputs, row/stride, column/stride)."""
        return torch.relu(self.shortcut(x) + self.body(x))


def stage(inputs: int, outputs: int, blocks: int, *, stride: int, bottleneck: bool = False) -> nn.Sequential:
    """Residual blocks, the first of which changes channels and size."""
    first = ResidualBlock(inputs, outputs, stride=stride, bottleneck=bottleneck)
    rest = [ResidualBlock(outputs, outputs, bottleneck=bottleneck) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)
