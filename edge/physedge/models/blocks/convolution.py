"""Convolutions followed by a batch normalisation, and what they become when the network is deployed."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.fold import normalised, summed, summed_kernel, with_largest_kernel


def depthwise(channels: int, kernel_size: int = 3, *, dilation: int = 1) -> nn.Conv2d:
    """One kernel per channel, without bias; the map keeps its size (zero padding)."""
    return nn.Conv2d(
        channels,
        channels,
        kernel_size,
        padding=dilation * (kernel_size // 2),
        dilation=dilation,
        groups=channels,
        bias=False,
    )


def pointwise(inputs: int, outputs: int, *, bias: bool = False) -> nn.Conv2d:
    """A 1x1 convolution."""
    return nn.Conv2d(inputs, outputs, 1, bias=bias)


class ConvNorm(nn.Module):
    """BN(sum of convolutions of one input), then an activation.

    The convolutions have one stride and odd kernels that keep the map's centre, so that their sum is one
    convolution with the largest of the kernels.

    Attributes:
        branches: The convolutions, without bias.
        norm: The batch normalisation.
        activation: What follows, or the identity.
    """

    def __init__(self, *branches: nn.Conv2d, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.norm = nn.BatchNorm2d(branches[0].out_channels)
        self.activation = activation if activation is not None else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, outputs, height', width')."""
        activated: Tensor = self.activation(self.norm(self._sum(x)))
        return activated

    def _sum(self, x: Tensor) -> Tensor:
        branches = self._convolutions()
        if len(branches) > 1 and self.training:
            # One kernel, made anew in every step: the parallel maps and their gradients are never computed, which
            # saves 7 % of a training step of `pmrnet_e` (one thread, channels_last, four pictures of 224x224).
            largest = with_largest_kernel(branches)
            kernel = summed_kernel(branches, largest.weight.dtype)
            return functional.conv2d(x, kernel, None, largest.stride, largest.padding, largest.dilation, largest.groups)
        total: Tensor = branches[0](x)
        for branch in branches[1:]:
            total = total + branch(x)
        return total

    def _convolutions(self) -> list[nn.Conv2d]:
        return [cast(nn.Conv2d, branch) for branch in self.branches]

    def folded_convolution(self) -> nn.Conv2d:
        """What comes before the activation, as one convolution with bias."""
        return normalised(summed(self._convolutions()), self.norm)

    def folded(self) -> nn.Module:
        """One convolution with bias, then the activation."""
        convolution = self.folded_convolution()
        return convolution if isinstance(self.activation, nn.Identity) else nn.Sequential(convolution, self.activation)


class SeparableNorm(nn.Sequential):
    """Depthwise 3x3, pointwise, BN, activation: the cheap dense convolution used all through `pmrnet`."""

    def __init__(self, inputs: int, outputs: int, *, activation: nn.Module | None = None) -> None:
        super().__init__(depthwise(inputs), ConvNorm(pointwise(inputs, outputs), activation=activation))


def upsampled(x: Tensor) -> Tensor:
    """Return the map at twice its height and width (bilinear, `align_corners=False`)."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def initialise(module: nn.Module) -> None:
    """Draw the weights of all convolutions (He et al. 2015, fan in); everything else keeps its own start.

    The gain is sqrt(2) where no bias is, since a normalisation or a rectifier follows there, and one where a bias is,
    since nothing follows: a logit or a field starts as large as one input.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            gain = 2.0 if part.bias is None else 1.0
            with torch.no_grad():
                part.weight.normal_(0.0, (gain / part.weight[0].numel()) ** 0.5)
                if part.bias is not None:
                    part.bias.zero_()
