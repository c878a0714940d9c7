"""Folding: what a block becomes when its weights no longer change.

A block that can be written with fewer operators once its weights are constants offers `folded()`, which returns another
module with the same function in evaluation mode. Sums and products of weights are formed in float64.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional


@runtime_checkable
class Foldable(Protocol):
    """A module with an equal of fewer operators. Parts of that equal may be foldable in their turn."""

    def folded(self) -> nn.Module:
        """A module that computes the same in evaluation mode; may share parts with this one."""
        ...


def affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch normalisation in evaluation, BN(x) = scale x + shift, (channel,) in float64."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = norm.weight.double() / torch.sqrt(variance.double() + norm.eps)
    return scale, norm.bias.double() - scale * mean.double()


def constant_convolution(
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    dtype: torch.dtype,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Conv2d:
    """A convolution with these weights (outputs, inputs / groups, height, width), stored in `dtype` and not learned."""
    outputs, inputs, *kernel = weight.shape
    with torch.device(weight.device):
        convolution = nn.Conv2d(
            inputs * groups,
            outputs,
            (kernel[0], kernel[1]),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=bias is not None,
            dtype=dtype,
        )
    convolution.weight = constant(weight, dtype)
    if bias is not None:
        convolution.bias = constant(bias, dtype)
    return convolution


def constant(value: Tensor, dtype: torch.dtype) -> nn.Parameter:
    """A parameter that is not learned."""
    return nn.Parameter(value.detach().to(dtype).contiguous(), requires_grad=False)


def constant_depthwise(
    weight: Tensor, bias: Tensor | None = None, *, dtype: torch.dtype, dilation: int = 1
) -> nn.Conv2d:
    """One constant kernel per channel, (channel, 1, k, k); the map keeps its size (zero padding)."""
    reach = dilation * (weight.shape[-1] // 2)
    return constant_convolution(weight, bias, dtype=dtype, padding=reach, dilation=dilation, groups=weight.shape[0])


def scaled(convolution: nn.Conv2d, factor: float) -> nn.Conv2d:
    """The convolution whose answers are `factor` times as large."""
    bias = convolution.bias
    return _like(convolution, convolution.weight.double() * factor, None if bias is None else bias.double() * factor)


def with_input(convolution: nn.Conv2d, *, factor: float, shift: float = 0.0) -> nn.Conv2d:
    """The convolution that answers to x what this one answers to factor x + shift.

    Raises:
        ValueError: A shift with a kernel larger than one pixel: at the border its share is smaller.
    """
    if shift != 0.0 and convolution.kernel_size != (1, 1):
        raise ValueError(f"a shift passes a pointwise convolution only, not {convolution}")
    weight = convolution.weight.double()
    bias = None if convolution.bias is None else convolution.bias.double()
    if shift != 0.0:
        bias = weight.sum(dim=(1, 2, 3)) * shift + (0.0 if bias is None else bias)
    return _like(convolution, weight * factor, bias)


def summed_depthwise(convolution: nn.Conv2d) -> nn.Sequential:
    """A dense convolution with one output channel as a depthwise one and the sum of its channels."""
    dtype, inputs = convolution.weight.dtype, convolution.in_channels
    kernels = constant_depthwise(convolution.weight.transpose(0, 1), dtype=dtype)
    ones = torch.ones(1, inputs, 1, 1, dtype=dtype, device=convolution.weight.device)
    return nn.Sequential(kernels, constant_convolution(ones, convolution.bias, dtype=dtype))


def normalised(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """The convolution that answers what `norm` makes of the answers of this one."""
    scale, shift = affine(norm)
    bias = shift if convolution.bias is None else shift + scale * convolution.bias.double()
    return _like(convolution, convolution.weight.double() * scale[:, None, None, None], bias)


def summed(convolutions: list[nn.Conv2d]) -> nn.Conv2d:
    """The one convolution that answers the sum of these, smaller kernels being centred in the largest.

    Raises:
        ValueError: The convolutions differ in more than their kernels' size.
    """
    return _like(with_largest_kernel(convolutions), summed_kernel(convolutions, torch.float64), None)


def summed_kernel(convolutions: list[nn.Conv2d], dtype: torch.dtype) -> Tensor:
    """The kernel of `summed`, (outputs, inputs / groups, height, width); gradients reach the kernels it is made of.

    Raises:
        ValueError: The convolutions differ in more than their kernels' size.
    """
    largest = with_largest_kernel(convolutions)
    weight = torch.zeros_like(largest.weight, dtype=dtype)
    for convolution in convolutions:
        margin = (largest.kernel_size[0] - convolution.kernel_size[0]) // 2
        alike = (
            (convolution.stride, convolution.dilation, convolution.groups)
            == (largest.stride, largest.dilation, largest.groups)
            and _padding(convolution) + margin == _padding(largest)
            and convolution.bias is None
            and (largest.dilation == (1, 1) or margin == 0)
        )
        if not alike:
            raise ValueError(f"no common kernel for {convolution} and {largest}")
        weight = weight + functional.pad(convolution.weight.to(dtype), (margin,) * 4)
    return weight


def with_largest_kernel(convolutions: list[nn.Conv2d]) -> nn.Conv2d:
    """The convolution with the largest kernel."""
    return max(convolutions, key=lambda convolution: convolution.kernel_size[0])


def _padding(convolution: nn.Conv2d) -> int:
    assert not isinstance(convolution.padding, str)
    return convolution.padding[0]


def _like(convolution: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> nn.Conv2d:
    return constant_convolution(
        weight,
        bias,
        dtype=convolution.weight.dtype,
        stride=convolution.stride[0],
        padding=_padding(convolution),
        dilation=convolution.dilation[0],
        groups=convolution.groups,
    )
