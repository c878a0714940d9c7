"""What training must know of a task, and nothing more: how samples are read, changed, scored and shown.

Batches, optimiser, schedule, running average, checkpoints and resuming are the same for every task. A task is one file
with a `Recipe`, and one line in the table of `recipes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physedge.data.prepared import Example, PreparedExamples
from physedge.data.splits import Splits

Row = dict[str, float]
Advance = Callable[[], object]


class FinalScores(Protocol):
    """Scores of the best weights on every validation sample."""

    def sentence(self) -> str:
        """For people."""
        ...

    def table(self) -> str:
        """`validation.csv`: one row a sample, the worst first."""
        ...

    def to_dict(self) -> dict[str, object]:
        """For machines: means by name."""
        ...


class Recipe(Protocol):
    """How one network of a task is trained; made from its declaration and the options.

    Attributes:
        scores: Columns of the table of scores, each a mean over samples; `loss` is the first.
        shown: The score that progress shows, and its title.
    """

    scores: tuple[str, ...]
    shown: tuple[str, str]

    def split(self, folder: Path) -> Splits:
        """Read and divide a data set.

        Raises:
            UsageError: It cannot be used (area DATA).
        """
        ...

    def prepare(self, samples: Sequence[Any], *, where: str, advance: Advance) -> PreparedExamples[Any]:
        """Bring samples to the network's form; `where` says for messages which set they are.

        Raises:
            UsageError: There is nothing to learn from.
        """
        ...

    def fit_to(self, examples: PreparedExamples[Any]) -> None:
        """Look at the training set, for example for the balance of its classes."""
        ...

    def begin(self, network: nn.Module, examples: PreparedExamples[Any]) -> None:
        """Give a fresh network what it does not learn by descent, for example its body's physics."""
        ...

    def end(self, network: nn.Module, examples: PreparedExamples[Any]) -> bool:
        """Fit what follows from trained weights, for example a covariance; whether anything was changed."""
        ...

    def loss(
        self, network: nn.Module, frames: Tensor, truths: Tensor, generator: torch.Generator, size: tuple[int, int]
    ) -> Tensor:
        """The loss of a batch, changed by what `generator` draws.

        Args:
            network: In training mode.
            frames: As `Example.frame`, with a batch axis.
            truths: As `Example.truth`, with a batch axis.
            generator: On the processor.
            size: (height, width) of the pictures of this epoch.
        """
        ...

    def score(self, network: nn.Module, frames: Tensor, truths: Tensor) -> NDArray[np.float64]:
        """(sample, score), the columns of `scores`, of a batch that nothing was changed in."""
        ...

    def rank(self, row: Row) -> tuple[float, ...]:
        """What the best epoch has most of; of rows with `val_NAME` for each score."""
        ...

    def final(self, network: nn.Module, samples: Sequence[Any], *, advance: Advance = lambda: None) -> FinalScores:
        """Score trained weights on the processor, sample by sample, as they will be scored on a device."""
        ...

    def draw(self, rows: Sequence[Row], scores: Any, samples: Sequence[Any], folder: Path) -> None:
        """Draw what a person looks at after a training: `curves.png`, and the samples that went worst."""
        ...


__all__ = ["Advance", "Example", "FinalScores", "Recipe", "Row"]
