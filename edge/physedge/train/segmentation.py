"""How a segmentation network is trained: pictures with masks, Dice and cross-entropy, contours to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physedge.data.prepared import MOST_KEPT_BYTES, Advance, Example, PreparedExamples
from physedge.data.splits import Splits, find_splits
from physedge.models.segmentation import SegmentationOutputs
from physedge.train.augment import STRENGTHS, augment
from physedge.train.inputs import Normaliser, planar, probabilities
from physedge.train.losses import SegmentationLoss
from physedge.train.options import TrainOptions
from physedge.train.pictures import CURVES, WORST, draw_curves, draw_worst
from physedge.train.recipe import Row
from physedge.train.teacher import distillation_loss, read_teacher
from physedge.train.validate import Scores, score_weights
from physedge_calibrate.dataset import LabelledFile, check_classes
from physedge_calibrate.metrics.segmentation import score_segmentation
from physedge_runtime.decode import foreground
from physedge_runtime.frame import Frame, FrameSpec
from physedge_runtime.resize import labels_to_grid, prepare
from physedge_runtime.spec import ModelSpec


class SegmentationRecipe:
    """See `physedge.train.recipe.Recipe`; the truth is uint8 (height, width), 0 for the background."""

    scores: tuple[str, ...] = ("loss", "dice", "iou", "hd95_px", "asd_px")
    shown: tuple[str, str] = ("dice", "Dice")

    def __init__(self, spec: ModelSpec, options: TrainOptions) -> None:
        self._spec, self._options = spec, options
        self._strength = STRENGTHS[options.augmentation or "strong"]
        self._loss = SegmentationLoss(spec.output_channels)
        self._normalise = Normaliser(spec)
        self._teacher = read_teacher(options.teacher, spec) if options.teacher is not None else None

    def split(self, folder: Path) -> Splits:
        """By folder, list, or whole patients."""
        return find_splits(folder, class_count=len(self._spec.classes) - 1, seed=self._options.seed)

    def prepare(
        self, samples: Sequence[LabelledFile], *, where: str, advance: Advance
    ) -> PreparedExamples[LabelledFile]:
        """Pairs on the grid."""
        assert self._spec.frame is not None
        return prepared_pairs(samples, self._spec.frame, where=where, advance=advance)

    def fit_to(self, examples: PreparedExamples[LabelledFile]) -> None:
        """Nothing depends on the training set."""

    def begin(self, network: nn.Module, examples: PreparedExamples[LabelledFile]) -> None:
        """Everything is learnt by descent."""
        _ = network, examples

    def end(self, network: nn.Module, examples: PreparedExamples[LabelledFile]) -> bool:
        """Nothing follows."""
        _ = network, examples
        return False

    def loss(
        self, network: nn.Module, frames: Tensor, truths: Tensor, generator: torch.Generator, size: tuple[int, int]
    ) -> Tensor:
        """Of all heads, and of how far the answer lies from the teacher's where there is one."""
        changed, truth = augment(planar(frames), truths, self._strength, generator, size)
        outputs = answers(network, self._normalise(changed))
        loss = self._loss(outputs, truth)
        if self._teacher is not None:
            loss = loss + distillation_loss(outputs.logits, self._teacher(changed))
        return loss

    def score(self, network: nn.Module, frames: Tensor, truths: Tensor) -> NDArray[np.float64]:
        """Of every picture on its own."""
        logits = network(self._normalise(planar(frames)))
        target = self._loss.planes_of(truths.long(), logits)
        losses = [float(self._loss.region(logits[i : i + 1], target[i : i + 1])) for i in range(len(truths))]
        predicted = [foreground(probability, self._spec.threshold) for probability in probabilities(logits)]
        scores = score_segmentation(predicted, truths.cpu().numpy(), class_count=len(self._spec.classes) - 1)
        return np.stack([np.array(losses), scores.dice, scores.iou, scores.hd95_px, scores.asd_px], axis=1)

    def rank(self, row: Row) -> tuple[float, ...]:
        """The highest Dice."""
        return (row["val_dice"],)

    def final(self, network: nn.Module, samples: Sequence[LabelledFile], *, advance: Advance = lambda: None) -> Scores:
        """On the grid and at the size of the raw pictures."""
        return score_weights(network, self._spec, samples, advance=advance)

    def draw(self, rows: Sequence[Row], scores: Scores, samples: Sequence[LabelledFile], folder: Path) -> None:
        """Curves, and the worst pictures with both contours."""
        draw_curves(rows, max(rows, key=self.rank), folder / CURVES)
        draw_worst(scores, samples, self._spec, folder / WORST)


def prepared_pairs(
    samples: Sequence[LabelledFile],
    frame: FrameSpec,
    *,
    where: str,
    advance: Advance = lambda: None,
    most_kept_bytes: int = MOST_KEPT_BYTES,
) -> PreparedExamples[LabelledFile]:
    """Pictures and masks on the network's grid.

    Args:
        samples: In the order of the indices.
        frame: The grid.
        where: For messages: which set this is.
        advance: Called after every pair.
        most_kept_bytes: What may be kept in memory.

    Raises:
        UsageError: A mask of another size, or masks of one class only (`PE-DATA-004` to `PE-DATA-007`).
        SourceError: A file that is no picture (`PE-SRC-005`).
    """
    extremes: list[NDArray[np.uint8]] = []

    def pair(sample: LabelledFile) -> Example:
        picture, labels = sample.pair()
        return Example(frame=prepare(Frame(pixels=picture), frame), truth=labels_to_grid(labels, frame))

    def look(example: Example) -> None:
        extremes.append(np.array([example.truth.min(), example.truth.max()], np.uint8))

    pairs = PreparedExamples(samples, pair, look=look, advance=advance, most_kept_bytes=most_kept_bytes)
    check_classes(extremes, where)
    return pairs


def answers(network: nn.Module, image: Tensor) -> SegmentationOutputs:
    """Everything that the loss looks at, also of a network that only gives logits."""
    rich = getattr(network, "forward_with_auxiliary", None)
    if rich is not None:
        return cast(SegmentationOutputs, rich(image))
    return SegmentationOutputs(logits=network(image), auxiliary=(), boundary=())
