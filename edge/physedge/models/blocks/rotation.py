"""AS: depthwise kernels in four rotations, at three scales, weighed per pixel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.convolution import ConvNorm, pointwise
from physedge.models.blocks.coupling import Physics
from physedge.models.blocks.fold import affine, constant_depthwise

SCALES = 3
ROTATIONS = 4


class RotatedMaximum(nn.Module):
    """One 3x3 kernel per channel applied in four rotations of 90 degrees; the largest of the four answers.

    In the strict form the four kernels *are* one kernel, rotated on the fly, so the answer to a rotated picture is the
    rotated answer. In the paper's form they are four kernels of their own, equal only at the start.

    Attributes:
        kernels: Learned, one or four, each (channel, 1, 3, 3).
        dilation: Pixels between the kernel's points.
    """

    def __init__(self, channels: int, *, shared: bool, dilation: int = 1) -> None:
        super().__init__()
        self.dilation = dilation
        kernel = torch.randn(channels, 1, 3, 3) * (2.0 / 9.0) ** 0.5
        self.kernels = nn.ParameterList([kernel] if shared else [turned.contiguous() for turned in rotations(kernel)])

    def rotated(self) -> tuple[Tensor, ...]:
        """The four kernels that are applied, each (channel, 1, 3, 3)."""
        return rotations(self.kernels[0]) if len(self.kernels) == 1 else tuple(self.kernels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        reach = self.dilation
        answers = [
            functional.conv2d(x, kernel, padding=reach, dilation=reach, groups=x.shape[1]) for kernel in self.rotated()
        ]
        return largest_of(answers)


def largest_of(four: list[Tensor]) -> Tensor:
    """The pointwise maximum of four tensors."""
    return torch.maximum(torch.maximum(four[0], four[1]), torch.maximum(four[2], four[3]))


def rotations(kernel: Tensor) -> tuple[Tensor, ...]:
    """The kernel (channel, 1, 3, 3) turned by 0, 90, 180 and 270 degrees."""
    return tuple(torch.rot90(kernel, turns, dims=(2, 3)) for turns in range(ROTATIONS))


class RotatedBranch(nn.Module):
    """BN of the rotated maximum."""

    def __init__(self, channels: int, *, shared: bool, dilation: int) -> None:
        super().__init__()
        self.maximum = RotatedMaximum(channels, shared=shared, dilation=dilation)
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        normed: Tensor = self.norm(self.maximum(x))
        return normed

    def folded(self) -> nn.Module:
        """The maximum of four convolutions with constant kernels, scale and shift of BN inside them.

        s max(a_i) + t = sign(s) max(|s| a_i + sign(s) t), so that a sign is left only where a scale is negative.
        """
        scale, shift = affine(self.norm)
        sign = torch.where(scale < 0, -1.0, 1.0).to(scale)
        kernels = [kernel.double() * scale.abs()[:, None, None, None] for kernel in self.maximum.rotated()]
        dtype, dilation = self.maximum.kernels[0].dtype, self.maximum.dilation
        return FoldedBranch(
            [constant_depthwise(kernel, sign * shift, dtype=dtype, dilation=dilation) for kernel in kernels],
            sign.to(dtype)[:, None, None] if bool((sign < 0).any()) else None,
        )


class FoldedBranch(nn.Module):
    """sign * maximum of four convolutions; no sign where all are positive."""

    sign: Tensor | None

    def __init__(self, convolutions: list[nn.Conv2d], sign: Tensor | None) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)
        self.register_buffer("sign", sign)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        answer = largest_of([convolution(x) for convolution in self.convolutions])
        return answer if self.sign is None else answer * self.sign


class ScaleWeights(nn.Module):
    """Per pixel, how much each of the three branches counts: softmax(1x1(SiLU(BN(1x1)))), C -> C/8 -> 3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // 8
        self.squeeze = ConvNorm(pointwise(channels, narrow), activation=nn.SiLU())
        self.score = pointwise(narrow, SCALES)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to (batch, 3, height, width), positive with sum one."""
        return torch.softmax(self.score(self.squeeze(x)), dim=1)


class RotatedScales(nn.Module):
    """AS: y = SiLU(BN(1x1(sum of w_i f_i)) + x) over three branches f_i of `RotatedBranch`.

    In the strict form the branches have dilations 1, 2 and 3, so that three scales are three receptive fields; in the
    paper's form all have dilation 1.
    """

    def __init__(self, channels: int, physics: Physics) -> None:
        super().__init__()
        strict = physics == "strict"
        self.branches = nn.ModuleList(
            RotatedBranch(channels, shared=strict, dilation=scale + 1 if strict else 1) for scale in range(SCALES)
        )
        self.weights = ScaleWeights(channels)
        self.mix = ConvNorm(pointwise(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        weights = self.weights(x).split(1, dim=1)
        near, middle, far = (weight * branch(x) for weight, branch in zip(weights, self.branches, strict=True))
        return functional.silu(self.mix(near + middle + far) + x)
