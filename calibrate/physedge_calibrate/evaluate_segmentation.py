"""Run a segmentation network over pictures with masks and score its answers, from the raw picture to the metric."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physedge_calibrate.comparison import DROP_CONFIDENCE
from physedge_calibrate.dataset import LabelledFile
from physedge_calibrate.gate import SetLoss
from physedge_calibrate.metrics.segmentation import RING_WIDTH_PX, SegmentationScores, score_segmentation
from physedge_calibrate.metrics.table import METRICS, RING_DICE
from physedge_calibrate.samples import Advance, Infer
from physedge_calibrate.statistics import Interval, guarded_mean_interval, mean_interval
from physedge_runtime.decode import foreground
from physedge_runtime.frame import Frame
from physedge_runtime.frame_mask import mask_on_frame
from physedge_runtime.resize import labels_to_grid, prepare
from physedge_runtime.spec import ModelSpec
from physedge_runtime.trust import signals_of

MOST_RING_DROP = 0.01
"""Of the mean boundary ring Dice, whatever the tolerance of the metric that decides."""
_SHOWN_METRICS = ("dice", "iou", "hd95", "asd", "ring_dice")


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationEvaluation:
    """What a network answered for every sample, and how that scores.

    Attributes:
        names: Of the samples, in order.
        groups: Patient or sequence of each.
        strata: Kind of each.
        grid: Scores on the network's grid; distances in grid pixels.
        native: Scores at the size of the raw pictures; distances in their pixels.
        probabilities: float16 (class, height, width) a sample, on the grid.
        found_from: Foreground from this probability on.
        signals: Trust signals by name, float64 (sample,).
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    strata: tuple[str, ...]
    grid: SegmentationScores
    native: SegmentationScores
    probabilities: tuple[NDArray[np.float16], ...] = field(repr=False)
    found_from: float | None
    signals: dict[str, NDArray[np.float64]] = field(repr=False, default_factory=dict)

    @property
    def answers(self) -> tuple[NDArray[np.float16], ...]:
        """The probabilities."""
        return self.probabilities

    def __len__(self) -> int:
        return len(self.names)

    def scores(self, metric: str) -> NDArray[np.float64]:
        """Per-sample scores (sample,) of a metric by its name, on the grid."""
        column = {"hd95": "hd95_px", "asd": "asd_px"}.get(metric, metric)
        values: NDArray[np.float64] = getattr(self.grid, column)
        return values

    def figures(self, seed: int) -> dict[str, Interval]:
        """Means over the pictures; `_native` is at the size of the raw pictures."""
        columns: dict[str, ArrayLike] = {name: self.scores(name) for name in _SHOWN_METRICS}
        columns["dice_native"] = self.native.dice
        columns["hd95_px_native"] = self.native.hd95_px
        found = {
            name: mean_interval(values, groups=list(self.groups), generator=np.random.default_rng(seed))
            for name, values in columns.items()
        }
        return {
            name: METRICS[name.partition("_px")[0].removesuffix("_native")].bounded(one) for name, one in found.items()
        }


def evaluate_segmentation(
    infer: Infer, samples: Sequence[LabelledFile], spec: ModelSpec, advance: Advance
) -> SegmentationEvaluation:
    """Score a segmentation network.

    Args:
        infer: From (1, height, width, channel) uint8 to the outputs by name.
        samples: In the order in which they are scored; the same for every network that is compared.
        spec: The declaration of the network.
        advance: Called after every sample.
    """
    probabilities: list[NDArray[np.float16]] = []
    signals: list[dict[str, float]] = []

    def pairs() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]]:
        assert spec.frame is not None
        for sample in samples:
            pixels, truth = sample.picture(), sample.labels()
            outputs = infer(prepare(Frame(pixels=pixels), spec.frame)[np.newaxis])
            probability = outputs["probability"][0]
            probabilities.append(probability.astype(np.float16))
            signals.append(signals_of(outputs))
            mask = foreground(probability, spec.threshold)
            shape = (pixels.shape[0], pixels.shape[1])
            native = mask_on_frame(probability, spec.threshold, spec.frame, shape)
            yield mask, labels_to_grid(truth, spec.frame), native, truth
            advance()

    rows = list(pairs())
    classes = len(spec.classes) - 1
    return SegmentationEvaluation(
        names=tuple(sample.name for sample in samples),
        groups=tuple(sample.group for sample in samples),
        strata=tuple(sample.stratum for sample in samples),
        grid=score_segmentation([row[0] for row in rows], [row[1] for row in rows], class_count=classes),
        native=score_segmentation([row[2] for row in rows], [row[3] for row in rows], class_count=classes),
        probabilities=tuple(probabilities),
        found_from=spec.threshold,
        signals={name: np.array([row[name] for row in signals]) for name in signals[0]} if signals else {},
    )


def hold_segmentation(
    reference: SegmentationEvaluation, candidate: SegmentationEvaluation, seed: int
) -> tuple[tuple[SetLoss, ...], tuple[str, ...]]:
    """What a candidate lost along the contours: a large region keeps its Dice with a poor border.

    The mean loss is held to its bound. From few sequences it is known worse than that of Dice, which decides whether
    enough was measured.
    """
    drop = guarded_mean_interval(
        reference.scores("ring_dice") - candidate.scores("ring_dice"),
        groups=list(candidate.groups),
        generator=np.random.default_rng(seed),
        confidence=DROP_CONFIDENCE,
    ).deciding
    full = float(reference.scores("ring_dice").mean())
    title = f"{RING_DICE.title} ({RING_WIDTH_PX} px)"
    loss = SetLoss(title=title, reference=full, drop=drop, most=MOST_RING_DROP, raises_doubts=False)
    return (loss,), ()
