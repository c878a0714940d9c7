"""The moving bar of a training, on the error stream: epoch, loss, score, and the time that is left of the whole."""

from __future__ import annotations

import sys
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from torch import Tensor

_SMOOTHING = 0.95


class TrainingBar(ProgressBar):
    """One bar over all steps of a training.

    Args:
        console: Where it moves.
    """

    def __init__(self, console: Console) -> None:
        super().__init__()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
        )
        self._bar = Progress(*columns, console=console, transient=True)
        self._task: TaskID | None = None
        self._loss: float | None = None

    def disable(self) -> None:
        """Lightning asks for this in every process but the first."""
        self._bar.disable = True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the bar; a resumed training starts where it stopped."""
        _ = pl_module
        self._task = self._bar.add_task(
            "", total=float(trainer.estimated_stepping_batches), completed=trainer.global_step, state=""
        )
        self._bar.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move."""
        _ = pl_module, batch, batch_idx
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor):
            seen = float(loss.detach())
            self._loss = seen if self._loss is None else _SMOOTHING * self._loss + (1.0 - _SMOOTHING) * seen
        self._show(trainer)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that nothing moves for a while."""
        _ = pl_module
        self._show(trainer, "validating")

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Show the new score."""
        _ = pl_module
        self._show(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the bar away."""
        _ = trainer, pl_module
        self._bar.stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Take the bar away before the message comes."""
        _ = trainer, pl_module, exception
        self._bar.stop()

    def _show(self, trainer: pl.Trainer, doing: str = "") -> None:
        if self._task is None:
            return
        name, title = getattr(trainer.lightning_module, "recipe").shown  # noqa: B009
        score = trainer.callback_metrics.get(f"val_{name}")
        parts = [
            "" if self._loss is None else f"loss {self._loss:.3f}",
            "" if score is None else f"{title} {float(score):.3f}",
            doing,
        ]
        self._bar.update(
            self._task,
            completed=trainer.global_step,
            description=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            state="  ".join(part for part in parts if part),
            refresh=bool(doing),
        )


def bar() -> tuple[pl.Callback, ...]:
    """The bar, where somebody sits before a terminal; else nothing."""
    if not sys.stderr.isatty():
        return ()
    return (TrainingBar(Console(stderr=True)),)
