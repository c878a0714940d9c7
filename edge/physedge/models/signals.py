"""Trust signals that a segmentation network computes in its own graph: they rise as its mask grows less credible.

Every signal is continuous in the network's answers, so that engines which round otherwise agree on it. All are sums
over a plane at half the network's resolution, where they cost a quarter, and stay in floating point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.diffusion import AtrousDiffusion
from physedge.models.segmentation import SegmentationOutputs
from physedge_runtime.spec import SignalSpec
from physedge_runtime.trust import PREFIX

_GROWTH_FLOOR = 1e-3


@runtime_checkable
class Segmenting(Protocol):
    """A network for segmentation."""

    def forward_with_auxiliary(self, image: Tensor) -> SegmentationOutputs:
        """Everything the loss looks at."""
        ...


@runtime_checkable
class Signalling(Protocol):
    """A network that answers with named tensors, `trust_NAME` among them, and says what each means."""

    trust_signals: Mapping[str, SignalSpec]


def ramp(foreground: Tensor) -> Tensor:
    """The mask as a ramp from probability 1/4 to 3/4: sums over it do not add up a whole picture's worth of 0.001."""
    return torch.clamp(2.0 * foreground - 0.5, 0.0, 1.0)


class Unsureness(nn.Module):
    """Mean of 1 - p inside the mask: how far the network is from sure of what it marks. 0 for an empty mask."""

    keep_float: ClassVar[bool] = True

    def forward(self, foreground: Tensor) -> Tensor:
        """Map a plane (batch, 1, height, width) in [0, 1] to (batch, 1) in [0, 1]."""
        mask = ramp(foreground)
        return ((1.0 - foreground) * mask).sum(dim=(2, 3)) / (mask.sum(dim=(2, 3)) + 1.0)


class HalvedForeground(nn.Module):
    """Probability of the foreground at half resolution, of logits at full."""

    keep_float: ClassVar[bool] = True

    def forward(self, logits: Tensor) -> Tensor:
        """Map (batch, class, height, width) to (batch, 1, height/2, width/2) in [0, 1]."""
        foreground = torch.sigmoid(logits) if logits.shape[1] == 1 else 1.0 - torch.softmax(logits, dim=1)[:, :1]
        return functional.avg_pool2d(foreground, 2)


class RangeGrowth(nn.Module):
    """By how much a diffusion widened the range of its values, as a fraction of it: 0 but for rounding.

    Each step replaces a value by a convex combination of values of its channel, plus one number for the whole channel.
    """

    keep_float: ClassVar[bool] = True

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """Map u before and after, (batch, channel, height, width), to (batch, 1), at least 0."""
        start = before.amax(dim=(2, 3)) - before.amin(dim=(2, 3))
        end = after.amax(dim=(2, 3)) - after.amin(dim=(2, 3))
        scale = start.amax(dim=1, keepdim=True) + _GROWTH_FLOOR
        growth: Tensor = (torch.relu(end - start) / scale).amax(dim=1, keepdim=True)
        return growth


class SignallingSegmentation(nn.Module):
    """A segmentation network that answers with its logits and its trust signals.

    Args:
        network: In the form that is deployed.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        assert isinstance(network, Segmenting)
        self.network = network
        self.foreground = HalvedForeground()
        self.unsure = Unsureness()
        self.growth = RangeGrowth()

    @property
    def trust_signals(self) -> Mapping[str, SignalSpec]:
        """What each signal means; a diffusion that widens is a failure of the arithmetic, so its limit is fixed."""
        return _SIGNALS

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Map (batch, channel, height, width) to `logits` and `trust_NAME`, (batch, 1) each."""
        with _watched(self.network, AtrousDiffusion) as diffusions:
            outputs = self.network.forward_with_auxiliary(image)
        signals = {"inside": self.unsure(self.foreground(outputs.logits))}
        if diffusions:
            signals["diffusion"] = torch.stack([self.growth(*ends) for ends in diffusions]).amax(dim=0)
        return {"logits": outputs.logits, **{PREFIX + name: value for name, value in signals.items()}}


_SIGNALS: Mapping[str, SignalSpec] = {
    "inside": SignalSpec(reason="the network is unsure of what it marks"),
    "diffusion": SignalSpec(reason="a diffusion widened its range", doubtful_above=1e-3, void_above=1e-2),
}


def with_signals(network: nn.Module) -> nn.Module:
    """The network with what it can say about its own answers; one that says it already, or cannot, as it is."""
    return SignallingSegmentation(network) if isinstance(network, Segmenting) else network


def declared_signals(network: nn.Module | None) -> Mapping[str, SignalSpec]:
    """What a network says of its trust signals; nothing for one that offers none."""
    return network.trust_signals if isinstance(network, Signalling) else {}


@contextmanager
def _watched(network: nn.Module, kind: type[nn.Module]) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """What went into each module of a kind, its first argument, and what came out, while in the block."""
    seen: list[tuple[Tensor, Tensor]] = []

    def watch(_module: nn.Module, arguments: tuple[Tensor, ...], answer: Tensor) -> None:
        seen.append((arguments[0], answer))

    handles = [module.register_forward_hook(watch) for module in network.modules() if isinstance(module, kind)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
