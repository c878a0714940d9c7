"""Labelled frames brought to the network's form, by the function that the device uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

MOST_KEPT_BYTES = 4 * 2**30
Advance = Callable[[], object]
S = TypeVar("S")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One input and its truth, as training takes them.

    Attributes:
        frame: What the network's graph takes in, without the batch axis: uint8 (height, width, channel) or float32.
        truth: Of one shape and dtype for all examples of a task, for example uint8 (height, width) labels.
    """

    frame: NDArray[Any]
    truth: NDArray[Any]


class PreparedExamples(Generic[S]):
    """Examples by index: kept in memory where they fit, else prepared each time.

    Every sample is read once when this is made, so that a bad file is found before any training starts.

    Args:
        samples: In the order of the indices.
        prepare: Reads one sample.
        look: Shown every example once.
        advance: Called after every example.
        most_kept_bytes: What may be kept in memory.

    Raises:
        PhysedgeError: Whatever `prepare` and `look` raise.
    """

    def __init__(
        self,
        samples: Sequence[S],
        prepare: Callable[[S], Example],
        *,
        look: Callable[[Example], object] = lambda _example: None,
        advance: Advance = lambda: None,
        most_kept_bytes: int = MOST_KEPT_BYTES,
    ) -> None:
        self.samples = tuple(samples)
        self._prepare = prepare
        self._kept: list[Example] = []
        self.is_kept = True
        for sample in self.samples:
            example = prepare(sample)
            look(example)
            bytes_each = example.frame.nbytes + example.truth.nbytes
            self.is_kept = self.is_kept and len(self.samples) * bytes_each <= most_kept_bytes
            if self.is_kept:
                self._kept.append(example)
            advance()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Example:
        return self._kept[index] if self.is_kept else self._prepare(self.samples[index])


def stacked(examples: Sequence[Example]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Frames and truths of a batch, (batch, ...) each."""
    return np.stack([example.frame for example in examples]), np.stack([example.truth for example in examples])
