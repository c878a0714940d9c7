"""Run a network over labelled samples and score its answers, from the raw picture to the metric."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.metrics.segmentation import SegmentationScores, score_segmentation
from physedge_runtime.decode import foreground
from physedge_runtime.frame import Frame
from physedge_runtime.resize import labels_to_grid, prepare, to_frame
from physedge_runtime.spec import ModelSpec

Infer = Callable[[NDArray[Any]], dict[str, NDArray[np.float32]]]


class LabelledPicture(Protocol):
    """A picture with its truth, read when asked for."""

    @property
    def name(self) -> str:
        """For people and reports; no path of a machine."""
        ...

    @property
    def group(self) -> str:
        """Patient or sequence."""
        ...

    @property
    def stratum(self) -> str:
        """Kind of sample, empty where there is one kind only."""
        ...

    def picture(self) -> NDArray[np.uint8]:
        """uint8 (height, width, 3), RGB."""
        ...

    def labels(self) -> NDArray[np.uint8]:
        """uint8 (height, width): 0 background, else the class index."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What a network answered for every sample, and how that scores.

    Attributes:
        names: Of the samples, in order.
        groups: Patient or sequence of each.
        strata: Kind of each.
        grid: Scores on the network's grid; distances in grid pixels.
        native: Scores at the size of the raw pictures; distances in their pixels.
        probabilities: float16 (class, height, width) a sample, on the grid.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    strata: tuple[str, ...]
    grid: SegmentationScores
    native: SegmentationScores
    probabilities: tuple[NDArray[np.float16], ...] = field(repr=False)

    def __len__(self) -> int:
        return len(self.names)

    def scores(self, metric: str) -> NDArray[np.float64]:
        """Per-sample scores (sample,) of a metric by its name, on the grid."""
        column = {"hd95": "hd95_px", "asd": "asd_px"}.get(metric, metric)
        values: NDArray[np.float64] = getattr(self.grid, column)
        return values


def evaluate(
    infer: Infer,
    samples: Sequence[LabelledPicture],
    spec: ModelSpec,
    *,
    advance: Callable[[], object] = lambda: None,
) -> Evaluation:
    """Score a segmentation network.

    Args:
        infer: From (1, height, width, channel) uint8 to the outputs by name: an engine's `infer`.
        samples: In the order in which they are scored; the same for every network that is compared.
        spec: The declaration of the network.
        advance: Called after every sample.
    """
    probabilities: list[NDArray[np.float16]] = []

    def pairs() -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]]:
        assert spec.frame is not None
        for sample in samples:
            pixels, truth = sample.picture(), sample.labels()
            outputs = infer(prepare(Frame(pixels=pixels), spec.frame)[np.newaxis])
            probability = outputs["probability"][0]
            probabilities.append(probability.astype(np.float16))
            mask = foreground(probability, spec.threshold)
            shape = (pixels.shape[0], pixels.shape[1])
            yield mask, labels_to_grid(truth, spec.frame), to_frame(mask, spec.frame, shape), truth
            advance()

    rows = list(pairs())
    classes = len(spec.classes) - 1
    return Evaluation(
        names=tuple(sample.name for sample in samples),
        groups=tuple(sample.group for sample in samples),
        strata=tuple(sample.stratum for sample in samples),
        grid=score_segmentation([row[0] for row in rows], [row[1] for row in rows], class_count=classes),
        native=score_segmentation([row[2] for row in rows], [row[3] for row in rows], class_count=classes),
        probabilities=tuple(probabilities),
    )
