"""Batches for Lightning: the order of an epoch is a function of the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from physedge.data.prepared import PreparedExamples, stacked

Batch = tuple[Tensor, Tensor, Tensor]
"""Frames and truths of `Example` with a batch axis, indices int64 (batch,)."""


class _Indexed(Dataset[int]):
    """Hands on indices; the batch is put together at once, in `_collate`."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:
        return index


class _Collate:
    def __init__(self, examples: PreparedExamples[Any]) -> None:
        self._examples = examples

    def __call__(self, indices: Sequence[int]) -> Batch:
        frames, truths = stacked([self._examples[index] for index in indices])
        return torch.from_numpy(frames), torch.from_numpy(truths), torch.tensor(indices, dtype=torch.int64)


class ShuffledShare(Sampler[int]):
    """The indices of one process of many for one epoch: the same permutation for all, divided evenly.

    Args:
        count: Samples in all.
        seed: Of the run.
        rank: Of this process.
        world: Processes.
    """

    def __init__(self, count: int, *, seed: int, rank: int, world: int) -> None:
        self._count, self._seed, self._rank, self._world = count, seed, rank, world
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before every epoch, after a resume too."""
        self._epoch = epoch

    def __len__(self) -> int:
        return max(1, self._count // self._world)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self._seed, self._epoch)).permutation(self._count)
        order = np.resize(order, max(self._count, self._world))  # every process has one sample at least
        return iter(order[self._rank :: self._world][: len(self)].tolist())


class TrainingData(pl.LightningDataModule):
    """Training and validation examples for every process.

    Args:
        train: Shuffled; the last, smaller batch of an epoch is left out where there is another.
        val: In order, every sample once, divided between the processes.
        batch: Samples a step and process.
        workers: Processes that decode.
        seed: Of the order.
    """

    def __init__(
        self, *, train: PreparedExamples[Any], val: PreparedExamples[Any], batch: int, workers: int, seed: int
    ) -> None:
        super().__init__()
        self.train, self.val = train, val
        self._batch, self._workers, self._seed = batch, workers, seed

    def train_dataloader(self) -> DataLoader[int]:
        """This process's batches of an epoch."""
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        sampler = ShuffledShare(len(self.train), seed=self._seed, rank=rank, world=world)
        return self._loader(self.train, sampler, drop_last=len(sampler) > self._batch)

    def val_dataloader(self) -> DataLoader[int]:
        """This process's part of the validation set."""
        trainer = self.trainer
        rank, world = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        return self._loader(self.val, range(rank, len(self.val), world), drop_last=False)

    def _loader(
        self, examples: PreparedExamples[Any], order: Sampler[int] | range, *, drop_last: bool
    ) -> DataLoader[int]:
        return DataLoader(
            _Indexed(len(examples)),
            batch_size=self._batch,
            sampler=order,
            drop_last=drop_last,
            num_workers=self._workers,
            persistent_workers=self._workers > 0,
            collate_fn=_Collate(examples),
        )
