"""A small plain U-Net: nothing in it knows of physedge."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def convolutions(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Two levels down, two levels up; logits (batch, classes, height, width) for sides that are multiples of 4."""

    def __init__(self, classes: int, channels: int, width: int = 16) -> None:
        super().__init__()
        self.top = convolutions(channels, width)
        self.middle = convolutions(width, 2 * width)
        self.bottom = convolutions(2 * width, 4 * width)
        self.up_middle = convolutions(6 * width, 2 * width)
        self.up_top = convolutions(3 * width, width)
        self.pool = nn.MaxPool2d(2)
        self.grow = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        top = self.top(image)
        middle = self.middle(self.pool(top))
        bottom = self.bottom(self.pool(middle))
        middle = self.up_middle(torch.cat([self.grow(bottom), middle], dim=1))
        return self.head(self.up_top(torch.cat([self.grow(middle), top], dim=1)))


def unet(classes: int, channels: int) -> UNet:
    """The factory that `--model unet:unet` names."""
    return UNet(classes, channels)
