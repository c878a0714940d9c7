"""`pmrnet_e`: PMRNet in the form for small devices, 862,387 parameters, 1.715 GMAC at 256x256."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from torch import Tensor, nn
from torch.nn.modules.module import _IncompatibleKeys

from physedge.models.blocks.convolution import ConvNorm, initialise
from physedge.models.blocks.coupling import Physics
from physedge.models.blocks.edge_form import (
    AtrousContext,
    BoundaryFusion,
    EdgeCoupling,
    Entropy,
    FoldingDownsample,
    Refinement,
)
from physedge.models.segmentation import FloatHead, SegmentationOutputs, check_image, check_options
from physedge_runtime.errors import UsageError

WIDTHS = (16, 32, 64, 96, 160)
"""Channels of the five stages, from full resolution to a sixteenth."""


class DecoderStage(nn.Module):
    """A boundary fusion with the skip, then a refinement."""

    def __init__(self, coarse: int, channels: int) -> None:
        super().__init__()
        self.fuse = BoundaryFusion(coarse, channels)
        self.refine = Refinement(channels)

    def forward(self, d: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Return the refined map and the boundary's logits; see `BoundaryFusion`."""
        joined, boundary = self.fuse(d, e)
        return self.refine(joined), boundary


class PMRNetE(nn.Module):
    """Five stages down, four up, every step up guided by a boundary map.

    Attributes:
        multiple: What both sides of a picture must be multiples of.
        channels: Input channels.
        auxiliary: Heads of the decoder stages 4, 3 and 2, for training; empty in a deployed network.
    """

    multiple = 16

    def __init__(self, *, classes: int, channels: int, physics: Physics, entropy: Entropy, auxiliary: bool) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = WIDTHS
        self.channels = channels

        def down(inputs: int, outputs: int, couplings: int, *, context: bool) -> nn.Sequential:
            blocks: list[nn.Module] = [FoldingDownsample(inputs, outputs)]
            blocks += [EdgeCoupling(outputs, physics) for _ in range(couplings)]
            blocks += [AtrousContext(outputs, entropy=entropy)] if context else []
            return nn.Sequential(*blocks)

        self.stem = ConvNorm(nn.Conv2d(channels, c1, 3, padding=1, bias=False), activation=nn.ReLU())
        self.stage1 = nn.Sequential(EdgeCoupling(c1, physics))
        self.stage2 = down(c1, c2, 2, context=False)
        self.stage3 = down(c2, c3, 3, context=True)
        self.stage4 = down(c3, c4, 3, context=True)
        self.stage5 = down(c4, c5, 2, context=True)
        self.decoder4 = DecoderStage(c5, c4)
        self.decoder3 = DecoderStage(c4, c3)
        self.decoder2 = DecoderStage(c3, c2)
        self.decoder1 = DecoderStage(c2, c1)
        self.head = FloatHead(c1, classes)
        self.auxiliary = nn.ModuleList(FloatHead(width, classes) for width in (c4, c3, c2) if auxiliary)
        initialise(self)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Load weights; those of auxiliary heads are passed over where this network has none."""
        if not self.auxiliary:
            state_dict = {name: value for name, value in state_dict.items() if not name.startswith("auxiliary.")}
        keys: _IncompatibleKeys = super().load_state_dict(state_dict, strict=strict, assign=assign)
        return keys

    def _features(self, image: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        check_image(image, channels=self.channels, multiple=self.multiple)
        e1 = self.stage1(self.stem(image))
        e2 = self.stage2(e1)
        e3 = self.stage3(e2)
        e4 = self.stage4(e3)
        d4, b4 = self.decoder4(self.stage5(e4), e4)
        d3, b3 = self.decoder3(d4, e3)
        d2, b2 = self.decoder2(d3, e2)
        d1, b1 = self.decoder1(d2, e1)
        return (d4, d3, d2, d1), (b4, b3, b2, b1)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (batch, class, height, width) of a float32 picture (batch, channel, height, width)."""
        decoded, _ = self._features(image)
        logits: Tensor = self.head(decoded[-1])
        return logits

    def forward_with_auxiliary(self, image: Tensor) -> SegmentationOutputs:
        """Return everything the loss looks at; `auxiliary` is empty without auxiliary heads."""
        decoded, boundary = self._features(image)
        auxiliary = tuple(head(d) for head, d in zip(self.auxiliary, decoded, strict=False))
        return SegmentationOutputs(logits=self.head(decoded[-1]), auxiliary=auxiliary, boundary=boundary)


def pmrnet_e(
    *,
    classes: int = 1,
    channels: int = 3,
    physics: Physics = "paper",
    entropy: Entropy = "shannon",
    auxiliary: bool = False,
) -> PMRNetE:
    """Build `pmrnet_e`.

    Args:
        classes: K, channels of the logits; one for foreground against background.
        channels: Channels of the picture; one for grey.
        physics: `paper` (862,387 parameters with K=1 and three channels) or `strict` (677,267).
        entropy: Form of the uncertainty that steers the diffusion; `gini` leaves no Log in the graph.
        auxiliary: Build the heads for deep supervision as well (195 parameters for K=1).

    Raises:
        UsageError: PE-MODEL-003, PE-MODEL-004, PE-MODEL-006.
    """
    check_options(classes=classes, channels=channels, physics=physics)
    if entropy not in get_args(Entropy):
        raise UsageError(
            "PE-MODEL-006",
            found=f"entropy '{entropy}'",
            expected="'shannon' or 'gini'",
            next_step="choose one of the two",
        )
    return PMRNetE(classes=classes, channels=channels, physics=physics, entropy=entropy, auxiliary=auxiliary)
