"""Train a network: from folders of labelled pictures to a run folder with the best weights."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ProgressBar
from torch import nn

from physedge.data.prepared import PreparedExamples
from physedge.data.splits import Splits
from physedge.deploy.network import load_weights
from physedge.models.registry import factory_options, find, load_factory
from physedge.train.batches import TrainingData
from physedge.train.growth_options import growth_of
from physedge.train.guards import FiniteLoss, check_checkpoint, known_devices
from physedge.train.module import Training
from physedge.train.options import TrainOptions
from physedge.train.recipe import FinalScores, Recipe
from physedge.train.recipes import recipe_for
from physedge.train.reconstruction import declared_voltages
from physedge.train.record import BestScore, RunRecorder, save_weights
from physedge.train.run_files import BEST_WEIGHTS, SPEC, VALIDATION, write_text
from physedge.train.start import start_run
from physedge_runtime.frame import FrameSpec
from physedge_runtime.spec import ModelSpec, Normalise

Progress = Callable[[str, float | None], AbstractContextManager[Callable[..., None]]]
_CLIP_NORM = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """What a training left behind.

    Attributes:
        output: The folder of the run.
        weights: The best weights.
        spec: The specification that belongs to them.
        best: Epoch and scores of the best weights on the validation set, as they were chosen.
        splits: What was trained and validated on.
        epochs_seconds: Time spent in the epochs, resumed ones included.
        scores: Of the best weights on the validation set, read from disk again; None in a process that only helped.
    """

    output: Path
    weights: Path
    spec: Path
    best: BestScore
    splits: Splits
    epochs_seconds: float
    scores: FinalScores | None


def silent(description: str, total: float | None) -> AbstractContextManager[Callable[..., None]]:
    """No progress bar."""
    _ = description, total
    return nullcontext(lambda _n=1: None)


def fit(
    options: TrainOptions,
    *,
    progress: Progress = silent,
    report: Callable[[str], None] = lambda _line: None,
    callbacks: tuple[pl.Callback, ...] = (),
) -> TrainResult:
    """Train.

    Args:
        options: What is asked for.
        progress: Makes a progress bar for the reading of the data.
        report: Takes one line an epoch.
        callbacks: Further ones for Lightning, for example its progress bar.

    Raises:
        UsageError: The data, the options or the run folder cannot be used (areas DATA, TRAIN, NETWORK).
        KeyboardInterrupt: It was interrupted; the last finished epoch is kept.
    """
    spec = spec_of(options)
    recipe = recipe_for(spec, options)
    splits = reduce(add, [recipe.split(folder) for folder in options.data])
    checkpoint = start_run(options, spec)
    if checkpoint is not None:
        check_checkpoint(checkpoint)
    with progress("reading the data", len(splits.train) + len(splits.val)) as advance:
        train = recipe.prepare(splits.train, where="the training set", advance=advance)
        val = recipe.prepare(splits.val, where="the validation set", advance=advance)
    recipe.fit_to(train)
    pl.seed_everything(options.seed, workers=True, verbose=False)
    network = build_network(options, spec)
    if options.weights is not None and checkpoint is None:
        begin_with(network, options.weights, build_network(options, spec, for_training=False))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overload lacks it
    recipe.begin(network, train)
    module = Training(network, recipe, options, validation_count=len(val))
    data = TrainingData(train=train, val=val, batch=options.batch, workers=options.workers, seed=options.seed)
    recorder = RunRecorder(options.output, recipe, epochs=options.epochs, report=report)
    with quiet_lightning():
        trainer = _trainer(options, (FiniteLoss(), recorder, *callbacks))
        _run(trainer, module, data, checkpoint)
        is_main = trainer.is_global_zero
    assert recorder.best is not None
    return TrainResult(
        output=options.output,
        weights=options.output / BEST_WEIGHTS,
        spec=options.output / SPEC,
        best=recorder.best,
        splits=splits,
        epochs_seconds=sum(row["seconds"] for row in recorder.rows),
        scores=_finish(options, spec, recipe, train, splits, recorder, progress) if is_main else None,
    )


def _finish(
    options: TrainOptions,
    spec: ModelSpec,
    recipe: Recipe,
    train: PreparedExamples[Any],
    splits: Splits,
    recorder: RunRecorder,
    progress: Progress,
) -> FinalScores:
    network = build_network(options, spec, for_training=False)
    load_weights(network, options.output / BEST_WEIGHTS)
    if recipe.end(network, train):
        save_weights(network, options.output / BEST_WEIGHTS)
    with progress("scoring the best weights", len(splits.val)) as advance:
        scores = recipe.final(network, splits.val, advance=advance)
    write_text(options.output / VALIDATION, scores.table())
    recipe.draw(recorder.rows, scores, splits.val, options.output)
    return scores


def spec_of(options: TrainOptions) -> ModelSpec:
    """The declaration of the network that will be trained: the registry's, with the asked frame and classes."""
    frame = FrameSpec(height=options.height_px, width=options.width_px, colour=options.colour)
    if ":" in options.model:
        name = options.model.rpartition(":")[2].lower()
        return ModelSpec(name=name, task=options.task, classes=options.classes, frame=frame)
    entry = find(options.model)
    if entry.spec.frame is None:
        return entry.spec.model_copy(update={"voltages": declared_voltages(options.data)})
    frame = replace(frame, fit=entry.spec.frame.fit)
    normalise = entry.spec.normalise
    if len(normalise.mean) > 1 and options.colour.channels == 1:
        normalise = Normalise()
    changed = {"frame": frame, "classes": options.classes, "normalise": normalise}
    return entry.spec.model_copy(update={**changed, "growth": growth_of(entry.spec, options)})


def build_network(options: TrainOptions, spec: ModelSpec, *, for_training: bool = True) -> nn.Module:
    """The untrained network; for training with heads for deep supervision, where it offers them."""
    arguments = factory_options(spec)
    if ":" in options.model:
        return load_factory(options.model)(**arguments)
    return find(options.model).build(**arguments, physics=options.physics, auxiliary=for_training)


def begin_with(network: nn.Module, weights: Path, deployed: nn.Module) -> None:
    """Load trained weights into a network that may have heads for training only; those stay fresh.

    Raises:
        UsageError: The file is no safetensors, or belongs to another network (`PE-NETWORK-003`, `PE-NETWORK-004`).
    """
    load_weights(deployed, weights)
    network.load_state_dict(deployed.state_dict(), strict=False)


def _trainer(options: TrainOptions, callbacks: tuple[pl.Callback, ...]) -> pl.Trainer:
    asked = f"{options.devices} device(s), accelerator {options.accelerator}, strategy {options.strategy}"
    with known_devices(asked):
        return pl.Trainer(
            max_epochs=options.epochs,
            accelerator=options.accelerator,
            devices=int(options.devices) if options.devices.lstrip("-").isdigit() else options.devices,
            num_nodes=options.nodes,
            strategy=options.strategy,
            gradient_clip_val=_CLIP_NORM,
            logger=False,
            enable_checkpointing=False,  # `RunRecorder` keeps the run
            enable_model_summary=False,
            enable_progress_bar=any(isinstance(callback, ProgressBar) for callback in callbacks),
            num_sanity_val_steps=0,
            use_distributed_sampler=False,  # `ShuffledShare` divides the samples
            callbacks=list(callbacks),
            default_root_dir=options.output,
        )


def _run(trainer: pl.Trainer, module: Training, data: TrainingData, checkpoint: Path | None) -> None:
    previous = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    except SystemExit as ended:
        # Lightning turns an interrupt into exit 1 and leaves the signal ignored.
        signal.signal(signal.SIGINT, previous)
        raise KeyboardInterrupt from ended


class quiet_lightning(AbstractContextManager[None]):  # noqa: N801  a context manager that reads like a function
    """Lightning without its tips, device lists and advice about workers; real warnings pass."""

    def __enter__(self) -> None:
        self._logger = logging.getLogger("lightning.pytorch")
        self._level = self._logger.level
        self._logger.setLevel(logging.ERROR)
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*is deprecated")  # Lightning's, about itself

    def __exit__(self, *exception: object) -> None:
        self._warnings.__exit__(None, None, None)
        self._logger.setLevel(self._level)


def is_helper() -> bool:
    """Whether this process was started by another one of the same training, to help it."""
    return os.environ.get("LOCAL_RANK", "0") != "0" or os.environ.get("NODE_RANK", "0") != "0"
