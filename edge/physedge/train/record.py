"""What a run keeps while it trains: one row an epoch, the best weights, and a checkpoint to go on from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from physedge.train.csv_table import csv_table
from physedge.train.module import Training
from physedge.train.recipe import Recipe, Row
from physedge.train.run_files import BEST_WEIGHTS, LAST_CHECKPOINT, write_text

METRICS = "metrics.csv"


def columns(scores: tuple[str, ...]) -> tuple[str, ...]:
    """Of `metrics.csv`, for the scores of a task."""
    return ("epoch", "step", "learning_rate", "train_loss", *(f"val_{name}" for name in scores), "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class BestScore:
    """The best epoch so far.

    Attributes:
        epoch: Counted from 1.
        scores: Means over the validation samples by name.
    """

    epoch: int
    scores: dict[str, float]


class RunRecorder(pl.Callback):
    """Keeps a run on disk; its rows and its best score travel inside the checkpoint.

    Args:
        folder: The folder of the run.
        recipe: Of the task: which score decides.
        epochs: In all, for the lines that are reported.
        report: Takes one line an epoch.

    Attributes:
        rows: One an epoch, by column.
        best: The best epoch so far.
    """

    def __init__(self, folder: Path, recipe: Recipe, *, epochs: int, report: Callable[[str], None]) -> None:
        self._recipe = recipe
        self._folder, self._epochs, self._report = folder, epochs, report
        self._started = time.monotonic()
        self.rows: list[Row] = []
        self.best: BestScore | None = None

    def state_dict(self) -> dict[str, Any]:
        """Plain values only: the checkpoint is read without executing anything."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where the checkpoint stopped."""
        self.rows = state_dict["rows"]
        self.best = best_of(self.rows, self._recipe)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        _ = trainer, pl_module
        self._started = time.monotonic()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the row, the best weights and the checkpoint; the latter last, since it vouches for the others."""
        assert isinstance(pl_module, Training)
        means = pl_module.scores.mean(axis=0).tolist()
        values = (
            trainer.current_epoch + 1,
            trainer.global_step,
            float(trainer.optimizers[0].param_groups[0]["lr"]),
            float(trainer.callback_metrics["loss"]),
            *means,
            round(time.monotonic() - self._started, 3),
        )
        row = dict(zip(columns(self._recipe.scores), values, strict=True))
        self.rows = [*self.rows, row]
        best = best_of(self.rows, self._recipe)
        is_best = best.epoch == row["epoch"]
        self.best = best
        if trainer.is_global_zero:
            if is_best:
                save_weights(pl_module.average, self._folder / BEST_WEIGHTS)
            write_text(self._folder / METRICS, table_text(self.rows))
        scratch = self._folder / f".{LAST_CHECKPOINT}"
        trainer.save_checkpoint(scratch)  # every process takes part
        if trainer.is_global_zero:
            scratch.replace(self._folder / LAST_CHECKPOINT)
            name, title = self._recipe.shown
            self._report(
                f"epoch {int(row['epoch'])}/{self._epochs}  loss {row['train_loss']:.4f}  "
                f"validation loss {row['val_loss']:.4f}  {title} {row[f'val_{name}']:.4f}  "
                f"{row['seconds']:.1f} s{'  best' if is_best else ''}"
            )


def best_of(rows: list[Row], recipe: Recipe) -> BestScore:
    """The epoch that the recipe ranks highest, the earliest of several."""
    row = max(rows, key=recipe.rank)
    return BestScore(epoch=int(row["epoch"]), scores={name: row[f"val_{name}"] for name in recipe.scores})


def table_text(rows: list[Row]) -> str:
    """`metrics.csv`."""
    return csv_table(list(rows[0]), ([f"{value:.6g}" for value in row.values()] for row in rows))


def deployed_state(network: nn.Module) -> dict[str, Tensor]:
    """The weights of a network without its heads for deep supervision, which a deployed one does not have."""
    has_heads = hasattr(network, "forward_with_auxiliary")
    return {
        name: value.detach().cpu().contiguous()
        for name, value in network.state_dict().items()
        if not (has_heads and name.startswith("auxiliary."))
    }


def save_weights(network: nn.Module, path: Path, *, half: bool = False) -> None:
    """Write a network's weights as safetensors, whole or not at all.

    Args:
        network: As trained.
        path: The file.
        half: Floating-point weights in half precision: half the size.
    """
    from safetensors.torch import save

    state = deployed_state(network)
    if half:
        state = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    scratch = path.with_name(f".{path.name}")
    scratch.write_bytes(save(state))
    scratch.replace(path)


_ = torch
