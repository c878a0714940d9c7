"""The blocks of `pmrnet_e`: widths in multiples of 16, ReLU, no prototype bank, context by a-trous diffusion."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from physedge.models.blocks.convolution import ConvNorm, depthwise, pointwise, upsampled
from physedge.models.blocks.coupling import Physics, SymplecticCoupling, coupling
from physedge.models.blocks.derivative import DirectionalDerivative
from physedge.models.blocks.diffusion import AtrousDiffusion
from physedge.models.blocks.fold import scaled, summed_depthwise, with_input

Entropy = Literal["shannon", "gini"]
"""How uncertain a distribution is: -sum(pi log pi) / log r, or (1 - sum(pi^2)) r / (r - 1), which needs no Log."""


SMALLEST_UNIT = 1.0 / 64.0
"""Below this twice the step is not divided by: the quotients would leave the range of half precision."""


class EdgeCoupling(nn.Module):
    """ESC: a smoothed map q and its directional derivative p, coupled, mixed, and added to the input."""

    def __init__(self, channels: int, physics: Physics) -> None:
        super().__init__()
        self.smooth = ConvNorm(depthwise(channels, 3), depthwise(channels, 5))
        self.derivative = DirectionalDerivative(channels)
        self.coupling = coupling(channels, physics, bounded=True)
        self.mix = ConvNorm(pointwise(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        q = self.smooth(x)
        return torch.relu(x + self.mix(self.coupling(q, self.derivative(q))))

    def folded(self) -> nn.Module:
        """In the paper's form, the same with the step eps inside the convolutions around the coupling.

        z + eps tanh(V z) = 2 eps (z / (2 eps) + sigmoid(2 V z) - 1/2): with q, and therefore p, in units of 2 eps
        nothing is left of the step but one sum, and the half goes into the bias of the pointwise convolution after it.
        """
        coupling = self.coupling
        if isinstance(coupling, SymplecticCoupling):
            return FoldedEdgeCoupling(self.smooth, self.derivative, coupling, self.mix)
        unit = 2.0 * coupling.step().item()
        if unit < SMALLEST_UNIT:
            return FoldedEdgeCoupling(self.smooth, self.derivative, coupling.folded(), self.mix)
        return FoldedEdgeCoupling(
            scaled(self.smooth.folded_convolution(), 1.0 / unit),
            self.derivative,
            UnitCoupling(with_input(scaled(coupling.mix.folded_convolution(), 2.0), factor=unit)),
            with_input(self.mix.folded_convolution(), factor=unit, shift=-0.5 * unit),
        )


class FoldedEdgeCoupling(nn.Module):
    """ReLU(x + mix(coupling(q, p))), q = smooth(x), p = derivative(q)."""

    def __init__(self, smooth: nn.Module, derivative: nn.Module, coupling: nn.Module, mix: nn.Module) -> None:
        super().__init__()
        self.smooth = smooth
        self.derivative = derivative
        self.coupling = coupling
        self.mix = mix

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        q = self.smooth(x)
        return torch.relu(x + self.mix(self.coupling(q, self.derivative(q))))


class UnitCoupling(nn.Module):
    """z + sigmoid(turn(z)), z = [q; p] in units of twice the step."""

    def __init__(self, turn: nn.Conv2d) -> None:
        super().__init__()
        self.turn = turn

    def forward(self, q: Tensor, p: Tensor) -> Tensor:
        """Return [q'; p'] + 1/2 in the same units, (batch, 2 channel, height, width)."""
        z = torch.cat((q, p), dim=1)
        return z + torch.sigmoid(self.turn(z))


class FoldingDownsample(ConvNorm):
    """RGDS of the edge form: 2x2 pixels folded into channels, a pointwise convolution, BN, ReLU.

    Folding and the pointwise convolution together are one 2x2 convolution with stride 2, and are computed as that.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, 2, stride=2, bias=False), activation=nn.ReLU())


class Uncertainty(nn.Module):
    """The normalised entropy over the channels at every pixel, in [0, 1]."""

    keep_float: ClassVar[bool] = True

    def __init__(self, form: Entropy) -> None:
        super().__init__()
        self.form = form

    def forward(self, u: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to (batch, 1, height, width)."""
        channels = u.shape[1]
        if self.form == "gini":
            share = torch.softmax(u, dim=1)
            return (1.0 - share.square().sum(dim=1, keepdim=True)) * (channels / (channels - 1))
        log_share = torch.log_softmax(u, dim=1)
        return (log_share.exp() * log_share).sum(dim=1, keepdim=True) * (-1.0 / math.log(channels))


class EntropyDiffusivity(nn.Module):
    """D = sigmoid(1x1([u; H])) / 4, with the uncertainty H of u: within the bound 1/4 of the five-point form."""

    keep_float: ClassVar[bool] = True

    def __init__(self, channels: int, entropy: Entropy) -> None:
        super().__init__()
        self.uncertainty = Uncertainty(entropy)
        self.mix = pointwise(channels + 1, channels, bias=True)

    def forward(self, u: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape, in [0, 1/4]."""
        return 0.25 * torch.sigmoid(self.mix(torch.cat((u, self.uncertainty(u)), dim=1)))


class MeanSource(nn.Module):
    """g = tanh(1x1(mean of u over the map)): what the whole picture says to every pixel."""

    keep_float: ClassVar[bool] = True  # Enters the recursion as a small increment.

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = pointwise(channels, channels, bias=True)

    def forward(self, u: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to (batch, channel, 1, 1), in [-1, 1]."""
        return torch.tanh(self.mix(u.mean(dim=(2, 3), keepdim=True)))


class AtrousContext(nn.Module):
    """PGRF of the edge form: a narrow map diffused over the picture, then x + alpha (beta(u) + tanh(gamma(u)) x)."""

    def __init__(self, channels: int, width: int = 32, steps: int = 4, entropy: Entropy = "shannon") -> None:
        super().__init__()
        self.project = ConvNorm(pointwise(channels, width))
        self.diffusivity = EntropyDiffusivity(width, entropy)
        self.source = MeanSource(width)
        self.diffusion = AtrousDiffusion(width, steps)
        self.shift = pointwise(width, channels, bias=True)
        self.gain = pointwise(width, channels, bias=True)
        self.strength = nn.Parameter(torch.tensor(0.1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        u = self.project(x)
        u = self.diffusion(u, self.diffusivity(u), self.source(u))
        shift: Tensor = self.shift(u)
        return x + self.strength * (shift + torch.tanh(self.gain(u)) * x)

    def folded(self) -> nn.Module:
        """The same with alpha inside the shift's convolution and a sigmoid in place of tanh."""
        strength = self.strength.item()
        return FoldedContext(self, scaled(self.shift, strength), scaled(self.gain, 2.0), strength)


class FoldedContext(nn.Module):
    """y = x (1 - alpha + 2 alpha sigmoid(gain(u))) + shift(u), see `AtrousContext`."""

    def __init__(self, trained: AtrousContext, shift: nn.Conv2d, gain: nn.Conv2d, strength: float) -> None:
        super().__init__()
        self.project = trained.project
        self.diffusivity = trained.diffusivity
        self.source = trained.source
        self.diffusion = trained.diffusion
        self.shift = shift
        self.gain = gain
        self.strength = strength

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        u = self.project(x)
        u = self.diffusion(u, self.diffusivity(u), self.source(u))
        shift: Tensor = self.shift(u)
        return x * (torch.sigmoid(self.gain(u)) * (2.0 * self.strength) + (1.0 - self.strength)) + shift


class BoundaryScore(nn.Conv2d):
    """A 3x3 convolution to one channel, with bias: the boundary's logits."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, 1, 3, padding=1)

    def folded(self) -> nn.Module:
        """A kernel per channel, then the sum over channels: engines are slow at dense kernels with one output."""
        return summed_depthwise(self)


class BoundaryFusion(nn.Module):
    """BF of the edge form: the coarse map d enlarged and joined with the skip e, apart inside and on boundaries."""

    def __init__(self, coarse: int, channels: int) -> None:
        super().__init__()
        self.reduce = ConvNorm(pointwise(coarse, channels))
        self.derivative = DirectionalDerivative(channels)
        self.boundary = BoundaryScore(channels)
        self.region = depthwise(channels, 5)
        self.edge = depthwise(channels, 3)
        self.mix = ConvNorm(pointwise(2 * channels, channels))

    def forward(self, d: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Join.

        Args:
            d: (batch, coarse, height/2, width/2).
            e: (batch, channel, height, width).

        Returns:
            The joined map (batch, channel, height, width) and the boundary's logits (batch, 1, height, width).
        """
        u = upsampled(self.reduce(d))
        logit = self.boundary(self.derivative(e).abs())
        on_edge = torch.sigmoid(logit) * e
        parts = torch.cat((self.region(u + (e - on_edge)), self.edge(on_edge)), dim=1)
        return torch.relu(u + self.mix(parts)), logit


class Refinement(nn.Module):
    """Ref: ReLU(x + BN(1x1(ReLU(BN(1x1 to 2C(BN(DW5x5(x))))))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.spread = ConvNorm(depthwise(channels, 5))
        self.widen = ConvNorm(pointwise(channels, 2 * channels), activation=nn.ReLU())
        self.narrow = ConvNorm(pointwise(2 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        return torch.relu(x + self.narrow(self.widen(self.spread(x))))
