"""A network of one's own whose answer is known: how red a pixel is, through convolutions that INT8 can take."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RedNetwork(nn.Module):
    """Logits that rise with the red channel's lead over a threshold, smoothed over 3x3 pixels."""

    def __init__(self, classes: int, channels: int) -> None:
        super().__init__()
        self.features = nn.Conv2d(channels, 8, 3, padding=1)
        self.mix = nn.Conv2d(8, 8, 1)
        self.head = nn.Conv2d(8, classes, 1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            self.features.weight[:, 0] = 1 / 9
            self.mix.weight[:, :, 0, 0] = torch.eye(8)
            self.head.weight[:, :, 0, 0] = 1.0

    def forward(self, image: Tensor) -> Tensor:
        # Normalised red is -2 (black) to 2 (full): eight copies, rectified, so 0 to 16; the disk lies near 8.
        return self.head(torch.relu(self.mix(torch.relu(self.features(image))))) - 3.0


def red(classes: int, channels: int) -> RedNetwork:
    """The factory."""
    return RedNetwork(classes, channels)


def blue(classes: int, channels: int) -> RedNetwork:
    """The same network with red and blue exchanged: a wrong colour order."""
    network = RedNetwork(classes, channels)
    with torch.no_grad():
        network.features.weight[:, 2] = network.features.weight[:, 0].clone()
        network.features.weight[:, 0] = 0
    return network


def broken(classes: int, channels: int) -> RedNetwork:
    """The same network with NaN in a weight."""
    network = RedNetwork(classes, channels)
    with torch.no_grad():
        network.mix.weight[0, 0] = float("nan")
    return network
