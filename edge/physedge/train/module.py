"""What one step and one epoch do, whatever the task: the schedule, the running average, and the table of scores."""

from __future__ import annotations

import copy
import math
from typing import cast

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from physedge.train.batches import Batch
from physedge.train.options import TrainOptions
from physedge.train.recipe import Recipe

_WARM_UP_SHARE = 0.05
_FINAL_RATE_SHARE = 0.01
_PROGRESSIVE_SHARE = 0.7
_PROGRESSIVE_EPOCHS = 0.5


class Training(pl.LightningModule):
    """Trains a network by the recipe of its task.

    Everything random in a step follows from the seed, the epoch, the step and the process, so a training that was
    resumed gives the weights of one that was not interrupted.

    Args:
        network: To be trained.
        recipe: Of its task.
        options: What was asked for.
        validation_count: Samples of the validation set.

    Attributes:
        network: As the optimiser moves it.
        average: Running average of `network`, which is validated and kept; the same object where there is none.
        recipe: Of the task.
        scores: (sample, score) float64 of the last validation, the columns of the recipe's `scores`.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, options: TrainOptions, *, validation_count: int) -> None:
        super().__init__()
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False) if options.average_decay > 0 else network
        self.recipe = recipe
        self._options = options
        self._generator = torch.Generator()
        self._validation_count = validation_count
        self._size = (options.height_px, options.width_px)
        self.scores = np.zeros((validation_count, len(recipe.scores)))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, with a linear warm-up and a cosine down to a hundredth, step by step."""
        options = self._options
        weights = [parameter for parameter in self.network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in self.network.parameters() if parameter.ndim <= 1]
        optimiser = torch.optim.AdamW(
            [{"params": weights, "weight_decay": options.weight_decay}, {"params": others, "weight_decay": 0.0}],
            lr=options.learning_rate,
        )
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, RateSchedule(total))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Choose the size of the epoch's pictures."""
        self._size = training_size(self._options, self.current_epoch, getattr(self.network, "multiple", 32))

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """The loss of a batch."""
        seed = np.random.SeedSequence((self._options.seed, self.current_epoch, batch_index, self.global_rank))
        first, second = (int(number) for number in seed.generate_state(2))
        self._generator.manual_seed(first)
        torch.manual_seed(second)  # dropout's; the loader draws from the same numbers, at times of its own
        frames, truths, _ = batch
        loss = self.recipe.loss(self.network, frames, truths, self._generator, self._size)
        self.log("loss", loss, on_step=False, on_epoch=True, batch_size=len(truths), sync_dist=True)
        return loss

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        """Move the average a little towards the network; faster in the first steps."""
        _ = outputs, batch, batch_idx
        if self.average is not self.network:
            decay = min(self._options.average_decay, (1.0 + self.global_step) / (10.0 + self.global_step))
            move_average(self.average, self.network, decay)

    def on_validation_epoch_start(self) -> None:
        """Empty the table of scores; take the statistics of the norms from the first process, as the file will."""
        if self.trainer.world_size > 1:
            for buffer in self.buffers():
                torch.distributed.broadcast(buffer, src=0)
        self.scores = np.zeros((self._validation_count, len(self.recipe.scores)))

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Score every sample of a batch on its own."""
        _ = batch_index
        frames, truths, indices = batch
        self.scores[indices.cpu().numpy()] = self.recipe.score(self.average, frames, truths)

    def on_validation_epoch_end(self) -> None:
        """Bring the tables of all processes together; each filled in its own rows and left the others at 0."""
        table = torch.from_numpy(self.scores).to(self.device, torch.float32 if self.device.type == "mps" else None)
        summed = cast(Tensor, self.trainer.strategy.reduce(table, reduce_op="sum"))
        self.scores = summed.cpu().double().numpy()
        for name, value in zip(self.recipe.scores, self.scores.mean(axis=0), strict=True):
            self.log(f"val_{name}", float(value), sync_dist=False)


class RateSchedule:
    """Factor on the learning rate at a step: a line up over 5 % of the steps, then a cosine down to 1 %."""

    def __init__(self, steps: int) -> None:
        self.steps = max(1, steps)
        self.warm_up = max(1, round(_WARM_UP_SHARE * self.steps))

    def __call__(self, step: int) -> float:
        """The factor, above 0 and at most 1."""
        if step < self.warm_up:
            return (step + 1) / self.warm_up
        progress = min(1.0, (step - self.warm_up) / max(1, self.steps - self.warm_up))
        return _FINAL_RATE_SHARE + (1.0 - _FINAL_RATE_SHARE) * 0.5 * (1.0 + math.cos(math.pi * progress))


def training_size(options: TrainOptions, epoch: int, multiple: int) -> tuple[int, int]:
    """(height, width) of the training pictures in an epoch; multiples of what the network asks for."""
    full = (options.height_px, options.width_px)
    if not options.progressive or epoch >= _PROGRESSIVE_EPOCHS * options.epochs:
        return full
    height, width = (max(multiple, round(_PROGRESSIVE_SHARE * side / multiple) * multiple) for side in full)
    return height, width


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Move the average: average <- decay * average + (1 - decay) * network, with the statistics of the norms."""
    for kept, seen in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.lerp_(seen.to(kept.dtype), 1.0 - decay)
        else:
            kept.copy_(seen)
