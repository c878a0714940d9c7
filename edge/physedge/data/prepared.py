"""Labelled pictures brought to the network's grid, by the function that the device uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.dataset import LabelledFile, check_classes
from physedge_runtime.frame import Frame, FrameSpec
from physedge_runtime.resize import labels_to_grid, prepare

MOST_KEPT_BYTES = 4 * 2**30
Advance = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPair:
    """One picture and its truth on the grid.

    Attributes:
        picture: uint8 (height, width, channel).
        labels: uint8 (height, width).
    """

    picture: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class PreparedPairs:
    """Pairs on the grid, by index: kept in memory where they fit, else decoded each time.

    Every pair is read once when this is made, so that a bad file is found before any training starts.

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

    def __init__(
        self,
        samples: Sequence[LabelledFile],
        frame: FrameSpec,
        *,
        where: str,
        advance: Advance = lambda: None,
        most_kept_bytes: int = MOST_KEPT_BYTES,
    ) -> None:
        self.samples = tuple(samples)
        self.frame = frame
        height, width, channels = frame.shape
        self.is_kept = len(self.samples) * height * width * (channels + 1) <= most_kept_bytes
        self._kept: list[PreparedPair] = []
        extremes: list[NDArray[np.uint8]] = []
        for sample in self.samples:
            pair = _prepare(sample, frame)
            extremes.append(np.array([pair.labels.min(), pair.labels.max()], np.uint8))
            if self.is_kept:
                self._kept.append(pair)
            advance()
        check_classes(extremes, where)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> PreparedPair:
        return self._kept[index] if self.is_kept else _prepare(self.samples[index], self.frame)


def _prepare(sample: LabelledFile, frame: FrameSpec) -> PreparedPair:
    picture, labels = sample.pair()
    return PreparedPair(picture=prepare(Frame(pixels=picture), frame), labels=labels_to_grid(labels, frame))
