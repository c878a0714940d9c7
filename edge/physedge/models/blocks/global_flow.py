"""PGRF of `pmrnet`: three steps of diffusion over the bottleneck, with a source from the whole picture."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.convolution import ConvNorm, SeparableNorm, pointwise
from physedge.models.blocks.coupling import Physics
from physedge.models.blocks.gated_residual import ChannelMixer

STEPS = 3
SOURCE_SCALE = 0.1


class LocalVariance(nn.Module):
    """v = mean3x3((x - mean3x3 x)^2), per channel; the means run over the pixels inside the map."""

    keep_float: ClassVar[bool] = True  # The square doubles the number of bits that the values span.

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape, non-negative."""
        return _mean3(torch.square(x - _mean3(x)))


def _mean3(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


class PictureSource(nn.Module):
    """g = mixer (C -> C/4 -> C) of the channel means: the same for every pixel."""

    keep_float: ClassVar[bool] = True  # Enters the recursion as a small increment.

    def __init__(self, channels: int, *, bounded: bool) -> None:
        super().__init__()
        self.mixer = ChannelMixer(channels, channels // 4)
        self.bound: nn.Module = nn.Tanh() if bounded else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to (batch, channel, 1, 1)."""
        source: Tensor = self.bound(self.mixer(x.mean(dim=(2, 3), keepdim=True)))
        return source


class LearnedDiffusivity(nn.Module):
    """D = sigmoid(mixer (C -> C/8 -> C) of the local variance): the paper's form, free to rise with the variance."""

    keep_float: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.variance = LocalVariance()
        self.mixer = ChannelMixer(channels, channels // 8)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape, in [0, 1]."""
        return torch.sigmoid(self.mixer(self.variance(x)))


class PhysicalDiffusivity(nn.Module):
    """D = H / (1 + v / kappa^2): high where the features are undecided, low where they vary (the strict form).

    H = (1 - sum pi^2) r / (r - 1) in [0, 1] with pi the softmax of r = C/8 scores, v the local variance (low in
    homogeneous areas), kappa^2 > 0 per channel.

    Attributes:
        log_scale: log kappa^2, (channel,).
    """

    keep_float: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.variance = LocalVariance()
        self.score = pointwise(channels, channels // 8)
        self.log_scale = nn.Parameter(torch.zeros(channels))

    def uncertainty(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to H, (batch, 1, height, width)."""
        share = torch.softmax(self.score(x), dim=1)
        choices = share.shape[1]
        return (1.0 - share.square().sum(dim=1, keepdim=True)) * (choices / (choices - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape, in [0, 1]."""
        return self.diffusivity(self.uncertainty(x), self.variance(x))

    def diffusivity(self, uncertainty: Tensor, variance: Tensor) -> Tensor:
        """D of an uncertainty (batch, 1, height, width) and a variance (batch, channel, height, width)."""
        return uncertainty / (1.0 + variance * torch.exp(-self.log_scale)[None, :, None, None])


class DiffusionStep(nn.Module):
    """u + D * flow * 0.5^k + 0.1 g."""

    keep_float: ClassVar[bool] = True  # The increments fall below one 8-bit quantum as 0.5^k shrinks.

    def __init__(self, step: int) -> None:
        super().__init__()
        self.weight = 0.5**step

    def forward(self, u: Tensor, flow: Tensor, diffusivity: Tensor, source: Tensor) -> Tensor:
        """All (batch, channel, height, width), but the source, which is (batch, channel, 1, 1)."""
        return u + diffusivity * flow * self.weight + SOURCE_SCALE * source


class LearnedFlow(nn.Module):
    """PGRF in the paper's form: the flow of step k is SiLU(BN(DS(u))) - u; y = x + u_K."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.source = PictureSource(channels, bounded=False)
        self.diffusivity = LearnedDiffusivity(channels)
        self.kernels = nn.ModuleList(SeparableNorm(channels, channels, activation=nn.SiLU()) for _ in range(STEPS))
        self.steps = nn.ModuleList(DiffusionStep(k) for k in range(STEPS))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        source, diffusivity = self.source(x), self.diffusivity(x)
        u = x
        for kernel, step in zip(self.kernels, self.steps, strict=True):
            u = step(u, kernel(u) - u, diffusivity, source)
        return x + u


class AveragingDiffusion(nn.Module):
    """u <- u + D * L_k(u) * 0.5^k + 0.1 g, L_k(u) the sum of w (neighbour - u) over the 3x3 neighbours inside the map.

    The weights w of a channel and step are a softmax of nine logits: with 0 <= D <= 1 each step without source is a
    convex combination of values of u, so the range never grows. The source adds at most 0.1 * steps * max|g|.

    Attributes:
        logits: Learned, (step, channel, 9).
    """

    keep_float: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(STEPS, channels, 9))
        self.steps = nn.ModuleList(DiffusionStep(k) for k in range(STEPS))

    def kernels(self) -> tuple[Tensor, ...]:
        """The weights of every step, each (channel, 1, 3, 3), positive with sum one."""
        return torch.softmax(self.logits, dim=-1).reshape(STEPS, -1, 1, 3, 3).unbind()

    def forward(self, u: Tensor, diffusivity: Tensor, source: Tensor) -> Tensor:
        """Diffuse u (batch, channel, height, width) with D of the same shape and g (batch, channel, 1, 1)."""
        inside = torch.ones_like(u[:1])
        for kernel, step in zip(self.kernels(), self.steps, strict=True):
            u = step(u, _gathered(u, kernel) - _gathered(inside, kernel) * u, diffusivity, source)
        return u


def _gathered(u: Tensor, kernel: Tensor) -> Tensor:
    return functional.conv2d(u, kernel, padding=1, groups=u.shape[1])


class AveragingFlow(nn.Module):
    """PGRF in the strict form: `AveragingDiffusion`, then channels are mixed; y = x + SiLU(BN(1x1(u_K)))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.source = PictureSource(channels, bounded=True)
        self.diffusivity = PhysicalDiffusivity(channels)
        self.diffusion = AveragingDiffusion(channels)
        self.mix = ConvNorm(pointwise(channels, channels), activation=nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        mixed: Tensor = self.mix(self.diffusion(x, self.diffusivity(x), self.source(x)))
        return x + mixed


def global_flow(channels: int, physics: Physics) -> LearnedFlow | AveragingFlow:
    """PGRF in one of its two forms."""
    return LearnedFlow(channels) if physics == "paper" else AveragingFlow(channels)
