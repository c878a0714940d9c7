"""What a network costs: parameters, multiply-accumulates and FLOPs, each by its own name and for a stated input."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from physedge_runtime.errors import UsageError

OUTSIDE = "(elsewhere)"
"""The row of what runs outside the network's direct parts."""

NORMALISATIONS = (
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
    nn.GroupNorm,
    nn.LayerNorm,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageCost:
    """One direct part of a network.

    Attributes:
        name: The attribute that holds the part.
        parameters: Learned numbers.
        macs: Multiply-accumulates of convolutions and matrix products.
        output_shape: (batch, channel, height, width) of its first output; empty if it gave no tensor.
    """

    name: str
    parameters: int
    macs: int
    output_shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCost:
    """What one picture costs.

    Attributes:
        input_shape: (batch, channel, height, width) that all counts but the parameters belong to; the batch is one.
        parameters: Learned numbers.
        macs: Multiply-accumulates of convolutions and matrix products, whoever computes their kernels.
        profiler_macs: The count of layer profilers, which most papers print as "FLOPs": one per multiply-accumulate of
            learned layers, four per element normalised, one per element averaged; products with computed kernels
            (attention, derivatives) are missed.
        stages: One row per direct part, in order.
    """

    input_shape: tuple[int, ...]
    parameters: int
    macs: int
    profiler_macs: int
    stages: tuple[StageCost, ...]

    @property
    def flops(self) -> int:
        """Two per multiply-accumulate."""
        return 2 * self.macs


def count(module: nn.Module, image_size: tuple[int, int] = (256, 256), *, channels: int | None = None) -> ModelCost:
    """Count without computing: a copy of the network runs once on tensors without data.

    Args:
        module: Any network of one picture; it is not changed.
        image_size: (height, width), pixels.
        channels: Of the picture; by default what the network says (`channels`), or three.

    Raises:
        UsageError: PE-MODEL-005 if a side is not positive; PE-MODEL-001 or 002 if the network refuses this input.
    """
    height, width = image_size
    if height < 1 or width < 1:
        raise UsageError(
            "PE-MODEL-005",
            found=f"an input of {height}x{width} pixels (height x width)",
            expected="positive sides",
            next_step="give the size as height and width in pixels",
        )
    inputs = channels if channels is not None else getattr(module, "channels", 3)
    return count_of(module, (1, inputs, height, width))


def count_of(module: nn.Module, input_shape: tuple[int, ...]) -> ModelCost:
    """As `count`, for an input of any shape, the batch first: of an impedance network (1, voltage).

    Raises:
        UsageError: The network refuses this input.
    """
    network = copy.deepcopy(module).to("meta").eval()
    tally = _Tally(network)
    with torch.no_grad(), tally:
        network(torch.empty(input_shape, device="meta"))
    stages = [
        StageCost(
            name=name,
            parameters=_parameters(child),
            macs=tally.macs[name],
            output_shape=tally.shapes.get(name, ()),
        )
        for name, child in network.named_children()
        if name in tally.shapes
    ]
    if tally.macs[OUTSIDE]:
        stages.append(StageCost(name=OUTSIDE, parameters=0, macs=tally.macs[OUTSIDE], output_shape=()))
    return ModelCost(
        input_shape=input_shape,
        parameters=_parameters(network),
        macs=sum(tally.macs.values()),
        profiler_macs=tally.profiler,
        stages=tuple(stages),
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class _Tally(TorchDispatchMode):
    """Counts every operator that runs inside it, by the direct part of the network that called it."""

    def __init__(self, network: nn.Module) -> None:
        TorchDispatchMode.__init__(self)
        self.macs: Counter[str] = Counter()
        self.profiler = 0
        self.shapes: dict[str, tuple[int, ...]] = {}
        self._stage = OUTSIDE
        self._learned = {id(parameter) for parameter in network.parameters()}
        for name, child in network.named_children():
            child.register_forward_pre_hook(self._enter(name))
            child.register_forward_hook(self._leave(name))
        for part in network.modules():
            if isinstance(part, NORMALISATIONS):
                part.register_forward_hook(self._normalised)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = getattr(func, "overloadpacket", None)
        aten = torch.ops.aten
        if packet in flop_registry:
            macs = int(flop_registry[packet](*args, **(kwargs or {}), out_val=out)) // 2
            self.macs[self._stage] += macs
            learned = packet is not aten.convolution or id(args[1]) in self._learned
            self.profiler += macs if learned and packet is not aten.bmm else 0
        elif packet is aten.avg_pool2d:
            self.profiler += out.numel()
        elif packet is aten.mean:
            self.profiler += args[0].numel() + out.numel()
        return out

    def _enter(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_module: nn.Module, _inputs: Any) -> None:
            self._stage = name

        return hook

    def _leave(self, name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            self._stage = OUTSIDE
            first = output[0] if isinstance(output, tuple) else output
            self.shapes[name] = tuple(first.shape) if isinstance(first, Tensor) else ()

        return hook

    def _normalised(self, module: nn.Module, _inputs: Any, output: Tensor) -> None:
        affine = getattr(module, "affine", False) or getattr(module, "elementwise_affine", False)
        self.profiler += output.numel() * (4 if affine else 2)
