"""What an evaluation needs to know of a labelled sample and gives back of a network, whatever the task.

A task brings a kind of sample (`Sample`) and a kind of evaluation (`Evaluation`); the table of `evaluate` joins both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.statistics import Interval
from physedge_runtime.trust import PREFIX, is_signal

# In the metadata of a field of an evaluation: it is no column of samples, but the same for any part of the set.
OF_THE_SET = "of_the_set"

Advance = Callable[[], object]
Infer = Callable[[NDArray[Any]], Mapping[str, NDArray[np.float32]]]
"""From one prepared input with a batch axis of 1 to the outputs by name: an engine's `infer`."""


class Sample(Protocol):
    """A raw frame with its truth, read when asked for; the truth is the task's own matter."""

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

    @property
    def image_path(self) -> Path:
        """The file that holds the frame; several samples may share one."""
        ...

    def picture(self) -> NDArray[Any]:
        """The raw frame: uint8 (height, width, 3), RGB; or float32 (voltage,)."""
        ...


class Evaluation(Protocol):
    """What a network answered for every sample, and how that scores."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the samples, in order."""
        ...

    @property
    def groups(self) -> tuple[str, ...]:
        """Patient or sequence of each."""
        ...

    @property
    def strata(self) -> tuple[str, ...]:
        """Kind of each."""
        ...

    @property
    def answers(self) -> tuple[NDArray[np.floating[Any]], ...]:
        """The main answer to each sample, for the search after broken outputs."""
        ...

    @property
    def found_from(self) -> float | None:
        """An answer without a value above it found nothing; None where a task knows no such thing."""
        ...

    @property
    def signals(self) -> Mapping[str, NDArray[np.float64]]:
        """The trust signals of the graph by name, (sample,) each; of several values the largest."""
        ...

    def __len__(self) -> int: ...

    def scores(self, metric: str) -> NDArray[np.float64]:
        """Per-sample scores (sample,) of a metric by its name."""
        ...

    def figures(self, seed: int) -> dict[str, Interval]:
        """Every figure that is reported, by name, the headline first, with its 95 % interval.

        Args:
            seed: Of the resampling, anew for each figure.
        """
        ...


def largest_signals(outputs: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float64]]:
    """Every trust signal among outputs (sample, ...), by its name: (sample,), of several values the largest."""
    return {
        name.removeprefix(PREFIX): values.reshape(len(values), -1).max(axis=1).astype(np.float64)
        for name, values in outputs.items()
        if is_signal(name)
    }
