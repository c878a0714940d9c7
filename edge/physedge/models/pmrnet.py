"""`pmrnet`: PMRNet in the paper's topology, 867,337 parameters, 3.273 GMAC at 256x256."""

from __future__ import annotations

from torch import Tensor, nn

from physedge.models.blocks.boundary_blend import BoundaryBlend
from physedge.models.blocks.convolution import SeparableNorm, initialise, pointwise, upsampled
from physedge.models.blocks.coupling import Physics
from physedge.models.blocks.downsample import StridedDownsample
from physedge.models.blocks.gated_residual import GatedResiduals
from physedge.models.blocks.global_flow import global_flow
from physedge.models.blocks.gradient_coupling import GradientCoupling
from physedge.models.blocks.memory import PrototypeMemory
from physedge.models.blocks.rotation import RotatedScales
from physedge.models.segmentation import FloatHead, SegmentationOutputs, check_image, check_options

WIDTHS = (24, 48, 96, 192)
"""Channels of the three encoder stages and the bottleneck."""

PROTOTYPES = (8, 12, 16)
"""Size of the prototype bank of each encoder stage."""


class DecoderStage(nn.Module):
    """Reduce the channels, double the resolution, join the skip, refine."""

    def __init__(self, coarse: int, channels: int) -> None:
        super().__init__()
        self.reduce = pointwise(coarse, channels)
        self.fuse = BoundaryBlend(channels)
        self.refine = SeparableNorm(channels, channels, activation=nn.SiLU())

    def forward(self, d: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """Join d (batch, coarse, height/2, width/2) with the skip e (batch, channel, height, width).

        Returns:
            The refined map like e, and the boundary's logits (batch, 1, height, width).
        """
        joined, boundary = self.fuse(upsampled(self.reduce(d)), e)
        return self.refine(joined), boundary


class PMRNet(nn.Module):
    """Three stages down, a bottleneck with diffusion, three stages up.

    Attributes:
        multiple: What both sides of a picture must be multiples of.
        channels: Input channels.
    """

    multiple = 8

    def __init__(self, *, classes: int, channels: int, physics: Physics) -> None:
        super().__init__()
        c1, c2, c3, c4 = WIDTHS
        n1, n2, n3 = PROTOTYPES
        self.channels = channels
        self.stem = SeparableNorm(channels, c1, activation=nn.SiLU())
        self.encoder1 = nn.Sequential(
            GradientCoupling(c1, physics), RotatedScales(c1, physics), PrototypeMemory(c1, n1)
        )
        self.downsample1 = StridedDownsample(c1, c2, physics)
        self.encoder2 = nn.Sequential(RotatedScales(c2, physics), GatedResiduals(c2, 2), PrototypeMemory(c2, n2))
        self.downsample2 = StridedDownsample(c2, c3, physics)
        self.encoder3 = nn.Sequential(RotatedScales(c3, physics), GatedResiduals(c3, 3), PrototypeMemory(c3, n3))
        self.downsample3 = StridedDownsample(c3, c4, physics)
        self.bottleneck = nn.Sequential(GatedResiduals(c4, 3), global_flow(c4, physics))
        self.decoder3 = DecoderStage(c4, c3)
        self.decoder2 = DecoderStage(c3, c2)
        self.decoder1 = DecoderStage(c2, c1)
        self.head = nn.Sequential(SeparableNorm(c1, c1, activation=nn.SiLU()), nn.Dropout(0.1), FloatHead(c1, classes))
        initialise(self)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (batch, class, height, width) of a float32 picture (batch, channel, height, width)."""
        return self.forward_with_auxiliary(image).logits

    def forward_with_auxiliary(self, image: Tensor) -> SegmentationOutputs:
        """Return everything the loss looks at; this network has no auxiliary heads."""
        check_image(image, channels=self.channels, multiple=self.multiple)
        e1 = self.encoder1(self.stem(image))
        e2 = self.encoder2(self.downsample1(e1))
        e3 = self.encoder3(self.downsample2(e2))
        d3, b3 = self.decoder3(self.bottleneck(self.downsample3(e3)), e3)
        d2, b2 = self.decoder2(d3, e2)
        d1, b1 = self.decoder1(d2, e1)
        return SegmentationOutputs(logits=self.head(d1), auxiliary=(), boundary=(b3, b2, b1))


def pmrnet(*, classes: int = 1, channels: int = 3, physics: Physics = "paper") -> PMRNet:
    """Build `pmrnet`.

    Args:
        classes: K, channels of the logits; one for foreground against background.
        channels: Channels of the picture; one for grey.
        physics: `paper` (867,337 parameters with K=1 and three channels) or `strict` (786,148).

    Raises:
        UsageError: PE-MODEL-003, PE-MODEL-004.
    """
    check_options(classes=classes, channels=channels, physics=physics)
    return PMRNet(classes=classes, channels=channels, physics=physics)
