"""What goes wrong while training, told in one sentence: numbers that are none, a checkpoint that is none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn

from physedge_runtime.errors import BuildError, EnvironmentFault, UsageError


class FiniteLoss(pl.Callback):
    """Ends a training whose loss is no number any more, before its weights are kept."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the loss of the step."""
        _ = pl_module, batch
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if isinstance(loss, Tensor) and not math.isfinite(float(loss)):
            raise _not_finite(f"the loss is {float(loss)} in step {batch_idx + 1} of epoch {trainer.current_epoch + 1}")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the weights that would be kept."""
        _ = trainer
        name = first_not_finite(pl_module)
        if name is not None:
            raise _not_finite(f"{name} holds NaN or infinity after epoch {trainer.current_epoch + 1}")


def first_not_finite(module: nn.Module) -> str | None:
    """The name of the first weight with a value that is no number; None where all are."""
    for name, value in module.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            return name
    return None


def check_checkpoint(path: Path) -> None:
    """Refuse a checkpoint that cannot be read, before anything else is loaded; nothing in it is executed.

    Raises:
        UsageError: PE-TRAIN-006.
    """
    try:
        torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises half a dozen unrelated kinds
        raise UsageError(
            "PE-TRAIN-006",
            found=f"{path} cannot be read ({str(error).splitlines()[0][:120] if str(error) else type(error).__name__})",
            expected="the checkpoint that physedge train wrote",
            next_step="remove it to start this run again",
        ) from error


@contextmanager
def known_devices(asked: str) -> Iterator[None]:
    """Turn Lightning's complaints about devices and strategies into one sentence.

    Args:
        asked: Devices, accelerator and strategy as they were asked for.

    Raises:
        EnvironmentFault: PE-TRAIN-007.
    """
    try:
        yield
    except (MisconfigurationException, ValueError) as error:
        raise EnvironmentFault(
            "PE-TRAIN-007",
            found=f"Lightning cannot run with {asked} ({str(error).splitlines()[0][:160]})",
            expected="devices that are here and a strategy that Lightning knows",
            next_step="correct --devices, --accelerator or --strategy",
        ) from error


def _not_finite(what: str) -> BuildError:
    return BuildError(
        "PE-TRAIN-005",
        found=what,
        expected="finite numbers",
        next_step="lower --learning-rate and start again, if need be with --weights of this run",
    )
