"""`pmrnet_s`: PMRNet in the form that small devices run fastest: the same physics on a grid of a quarter of the side.

Chosen by `benchmarks/device_form.py` from measured times of blocks, not from counts: nothing but one convolution runs
at half of the side, and the logits of 4x4 pixels leave the network as channels. Its physics is always the strict one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.module import _IncompatibleKeys

from physedge.models.blocks.convolution import ConvNorm, initialise
from physedge.models.blocks.edge_form import AtrousContext, BoundaryFusion, Refinement
from physedge.models.blocks.wave import WaveStage
from physedge.models.segmentation import FloatHead, SegmentationOutputs, check_image, check_options

CELL = 4
"""Side in pixels of what one place of the last map answers for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceForm:
    """The sizes of the network.

    Attributes:
        stem: Channels at half of the side.
        widths: Channels of the stages at 1/4, 1/8 and 1/16.
        moves: Couplings of each stage.
    """

    stem: int = 32
    widths: tuple[int, int, int] = (32, 128, 192)
    moves: tuple[int, int, int] = (2, 3, 3)


class PMRNetS(nn.Module):
    """Three stages down, two up, each step up guided by a boundary map, and 4x4 logits at every place.

    Attributes:
        multiple: What both sides of a picture must be multiples of.
        channels: Input channels.
        auxiliary: Head of the decoder stage at 1/8, for training; empty in a deployed network.
    """

    multiple = 16

    def __init__(self, *, classes: int, channels: int, form: DeviceForm, auxiliary: bool) -> None:
        super().__init__()
        c1, c2, c3 = form.widths
        n1, n2, n3 = form.moves
        self.channels = channels
        self.stem = ConvNorm(nn.Conv2d(channels, form.stem, 3, stride=2, padding=1, bias=False), activation=nn.ReLU())
        self.stage1 = WaveStage(form.stem, c1, n1)
        self.stage2 = WaveStage(c1, c2, n2)
        self.stage3 = WaveStage(c2, c3, n3, kernel_size=5)
        self.context = AtrousContext(c3, entropy="gini")
        self.fuse2 = BoundaryFusion(c3, c2)
        self.refine2 = Refinement(c2)
        self.fuse1 = BoundaryFusion(c2, c1)
        self.refine1 = Refinement(c1)
        self.head = FloatHead(c1, classes * CELL * CELL)
        self.auxiliary = nn.ModuleList([FloatHead(c2, classes)] if auxiliary else [])
        initialise(self)
        for stage in (self.stage1, self.stage2, self.stage3):
            stage.start_from_derivatives()

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> _IncompatibleKeys:
        """Load weights; those of the auxiliary head are passed over where this network has none."""
        if not self.auxiliary:
            state_dict = {name: value for name, value in state_dict.items() if not name.startswith("auxiliary.")}
        keys: _IncompatibleKeys = super().load_state_dict(state_dict, strict=strict, assign=assign)
        return keys

    def _features(self, image: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        check_image(image, channels=self.channels, multiple=self.multiple)
        e1 = self.stage1(self.stem(image))
        e2 = self.stage2(e1)
        deep = self.context(self.stage3(e2))
        d2, b2 = self.fuse2(deep, e2)
        d2 = self.refine2(d2)
        d1, b1 = self.fuse1(d2, e1)
        return (d2, self.refine1(d1)), (b2, b1)

    def _logits(self, d1: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.head(d1), CELL)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (batch, class, height, width) of a float32 picture (batch, channel, height, width)."""
        decoded, _ = self._features(image)
        return self._logits(decoded[-1])

    def forward_with_auxiliary(self, image: Tensor) -> SegmentationOutputs:
        """Return everything the loss looks at; `auxiliary` is empty without the auxiliary head."""
        decoded, boundary = self._features(image)
        auxiliary = tuple(head(d) for head, d in zip(self.auxiliary, decoded, strict=False))
        return SegmentationOutputs(logits=self._logits(decoded[-1]), auxiliary=auxiliary, boundary=boundary)


def pmrnet_s(
    *, classes: int = 1, channels: int = 3, auxiliary: bool = False, form: DeviceForm | None = None
) -> PMRNetS:
    """Build `pmrnet_s`.

    Args:
        classes: K, channels of the logits; one for foreground against background.
        channels: Channels of the picture; one for grey.
        auxiliary: Build the head for deep supervision as well.
        form: Other sizes than the chosen ones.

    Raises:
        UsageError: PE-MODEL-003.
    """
    check_options(classes=classes, channels=channels, physics="strict")
    return PMRNetS(classes=classes, channels=channels, form=form or DeviceForm(), auxiliary=auxiliary)
