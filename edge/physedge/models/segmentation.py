"""What every segmentation network of physedge gives back, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from physedge.models.blocks.coupling import Physics
from physedge_runtime.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationOutputs:
    """Everything that the loss looks at.

    Attributes:
        logits: (batch, class, height, width).
        auxiliary: Logits of the coarser decoder stages, coarse to fine, (batch, class, height/n, width/n); empty for a
            network without auxiliary heads.
        boundary: Logits of the decoder's boundary maps, coarse to fine, (batch, 1, height/n, width/n).
    """

    logits: Tensor
    auxiliary: tuple[Tensor, ...]
    boundary: tuple[Tensor, ...]


class FloatHead(nn.Conv2d):
    """The last 1x1 convolution: features to logits. A quantised logit moves the mask's border, so it stays float."""

    keep_float: ClassVar[bool] = True

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes, 1)


def check_options(*, classes: int, channels: int, physics: Physics) -> None:
    """Refuse what no network can be built from.

    Raises:
        UsageError: PE-MODEL-003 for a number of classes or channels below one, PE-MODEL-004 for unknown physics.
    """
    if classes < 1 or channels < 1:
        raise UsageError(
            "PE-MODEL-003",
            found=f"{classes} classes and {channels} input channels",
            expected="at least one of each",
            next_step="set both to 1 or more",
        )
    if physics not in ("paper", "strict"):
        raise UsageError(
            "PE-MODEL-004",
            found=f"physics '{physics}'",
            expected="'paper' or 'strict'",
            next_step="choose one of the two",
        )


def check_image(image: Tensor, *, channels: int, multiple: int) -> None:
    """Refuse an input that does not fit the network; shapes only, so nothing of this is left in an exported graph.

    Raises:
        UsageError: PE-MODEL-001 for a wrong size, PE-MODEL-002 for wrong channels or axes.
    """
    if image.dim() != 4 or image.shape[1] != channels:
        raise UsageError(
            "PE-MODEL-002",
            found=f"an input of shape {tuple(image.shape)}",
            expected=f"(batch, {channels}, height, width)",
            next_step="give the pictures as the network was built, or build it with the channels of the pictures",
        )
    height, width = image.shape[2:]
    if height % multiple or width % multiple or not height or not width:
        raise UsageError(
            "PE-MODEL-001",
            found=f"an input of {height}x{width} pixels (height x width)",
            expected=f"sides that are multiples of {multiple}",
            next_step=f"resize to {_nearest(height, multiple)}x{_nearest(width, multiple)}",
        )


def _nearest(side: int, multiple: int) -> int:
    return max(multiple, round(side / multiple) * multiple)
