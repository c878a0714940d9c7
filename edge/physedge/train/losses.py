"""What training minimises: half cross-entropy, half Dice; on every decoder stage, and on the boundary maps.

    L = l(logits) + 0.3 * sum over the coarser stages of l + 0.1 * sum over the boundary maps of BCE(weight 3)
    l = 0.5 * cross-entropy + 0.5 * (1 - Dice per image and class)

Cross-entropy and Dice are taken over a sigmoid for one class, over a softmax for several, where the Dice leaves the
background out.
"""

from __future__ import annotations

import torch
from monai.losses.dice import DiceLoss
from torch import Tensor
from torch.nn import functional

from physedge.models.segmentation import SegmentationOutputs

AUXILIARY_WEIGHT = 0.3
BOUNDARY_WEIGHT = 0.1
BOUNDARY_POSITIVE_WEIGHT = 3.0
# Added to both parts of the Dice: with nothing to find, what is not found costs nothing.
_SMOOTH = 1.0


class SegmentationLoss:
    """The whole loss of a network that answers with logits.

    Args:
        planes: Planes of the logits: 1 for foreground against background, else one a class.
    """

    def __init__(self, planes: int) -> None:
        self.planes = planes
        self._dice = DiceLoss(
            sigmoid=planes == 1,
            softmax=planes > 1,
            include_background=planes == 1,
            smooth_nr=_SMOOTH,
            smooth_dr=_SMOOTH,
        )

    def __call__(self, outputs: SegmentationOutputs, labels: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            outputs: Of `forward_with_auxiliary`.
            labels: int64 (batch, height, width): 0 background, else the class index.
        """
        target = self.planes_of(labels, outputs.logits)
        total = self.region(outputs.logits, target)
        for logits in outputs.auxiliary:
            coarse = functional.adaptive_avg_pool2d(target, (logits.shape[2], logits.shape[3]))
            total = total + AUXILIARY_WEIGHT * self.region(logits, coarse)
        if outputs.boundary:
            total = total + BOUNDARY_WEIGHT * boundary_loss(outputs.boundary, boundary_of(labels))
        return total

    def planes_of(self, labels: Tensor, like: Tensor) -> Tensor:
        """One plane a class, (batch, plane, height, width), 0 or 1, of the dtype and layout of `like`."""
        if self.planes == 1:
            return labels.unsqueeze(1).to(like.dtype)
        return functional.one_hot(labels, self.planes).permute(0, 3, 1, 2).to(like.dtype)

    def region(self, logits: Tensor, target: Tensor) -> Tensor:
        """Half cross-entropy, half Dice, of one map of logits against shares of the same shape."""
        if self.planes == 1:
            entropy = functional.binary_cross_entropy_with_logits(logits, target)
        else:
            entropy = functional.cross_entropy(logits, target)
        dice: Tensor = self._dice(logits, target)
        return 0.5 * entropy + 0.5 * dice


def boundary_of(labels: Tensor) -> Tensor:
    """Where the 3x3 neighbourhood holds two labels: the morphological gradient, float32 (batch, 1, height, width)."""
    values = labels.unsqueeze(1).to(torch.float32)
    highest = functional.max_pool2d(values, 3, stride=1, padding=1)
    lowest = -functional.max_pool2d(-values, 3, stride=1, padding=1)
    return (highest > lowest).to(torch.float32)


def boundary_loss(boundary: tuple[Tensor, ...], truth: Tensor) -> Tensor:
    """Sum over the maps of the BCE against the truth, max-pooled to their sizes so that no thin line is lost.

    Args:
        boundary: Logits (batch, 1, height/n, width/n).
        truth: (batch, 1, height, width), 0 or 1.
    """
    total = truth.new_zeros(())
    for logits in boundary:
        pooled = functional.adaptive_max_pool2d(truth, (logits.shape[2], logits.shape[3]))
        weight = logits.new_tensor(BOUNDARY_POSITIVE_WEIGHT)
        total = total + functional.binary_cross_entropy_with_logits(logits, pooled, pos_weight=weight)
    return total
