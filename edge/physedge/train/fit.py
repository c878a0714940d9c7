"""Train a network: from folders of labelled pictures to a run folder with the best weights."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import ProgressBar
from torch import nn

from physedge.data.prepared import PreparedPairs
from physedge.data.splits import Splits, find_splits
from physedge.deploy.network import load_weights
from physedge.models.registry import find, load_factory
from physedge.train.batches import SegmentationData
from physedge.train.guards import FiniteLoss, check_checkpoint, known_devices
from physedge.train.module import SegmentationTraining
from physedge.train.options import TrainOptions
from physedge.train.pictures import CURVES, WORST, draw_curves, draw_worst
from physedge.train.record import BestScore, RunRecorder
from physedge.train.run_files import BEST_WEIGHTS, SPEC, VALIDATION, write_text
from physedge.train.start import start_run
from physedge.train.validate import Scores, score_weights
from physedge_runtime.frame import FrameSpec
from physedge_runtime.spec import ModelSpec, Normalise, Task

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
    scores: Scores | None


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
    splits = reduce(add, [_divided(folder, spec, options.seed) for folder in options.data])
    checkpoint = start_run(options, spec)
    if checkpoint is not None:
        check_checkpoint(checkpoint)
    train, val = _prepare(splits, spec, progress)
    pl.seed_everything(options.seed, workers=True, verbose=False)
    network = build_network(options, spec)
    if options.weights is not None and checkpoint is None:
        begin_with(network, options.weights, build_network(options, spec, for_training=False))
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overload lacks it
    module = SegmentationTraining(network, spec, options, validation_count=len(val))
    data = SegmentationData(train=train, val=val, batch=options.batch, workers=options.workers, seed=options.seed)
    recorder = RunRecorder(options.output, epochs=options.epochs, report=report)
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
        scores=_finish(options, spec, splits, recorder, progress) if is_main else None,
    )


def _finish(
    options: TrainOptions, spec: ModelSpec, splits: Splits, recorder: RunRecorder, progress: Progress
) -> Scores:
    network = build_network(options, spec, for_training=False)
    load_weights(network, options.output / BEST_WEIGHTS)
    with progress("scoring the best weights", len(splits.val)) as advance:
        scores = score_weights(network, spec, splits.val, advance=advance)
    write_text(options.output / VALIDATION, scores.table())
    draw_curves(recorder.rows, options.output / CURVES)
    draw_worst(scores, splits.val, spec, options.output / WORST)
    return scores


def spec_of(options: TrainOptions) -> ModelSpec:
    """The declaration of the network that will be trained: the registry's, with the asked frame and classes."""
    frame = FrameSpec(height=options.height_px, width=options.width_px, colour=options.colour)
    if ":" in options.model:
        name = options.model.rpartition(":")[2].lower()
        return ModelSpec(name=name, task=Task.SEGMENTATION, classes=options.classes, frame=frame)
    entry = find(options.model)
    normalise = entry.spec.normalise
    if len(normalise.mean) > 1 and options.colour.channels == 1:
        normalise = Normalise()
    return entry.spec.model_copy(update={"frame": frame, "classes": options.classes, "normalise": normalise})


def build_network(options: TrainOptions, spec: ModelSpec, *, for_training: bool = True) -> nn.Module:
    """The untrained network; for training with heads for deep supervision, where it offers them."""
    assert spec.frame is not None
    arguments: dict[str, object] = {"classes": spec.output_channels, "channels": spec.frame.colour.channels}
    if ":" in options.model:
        return load_factory(options.model)(**arguments)
    arguments["physics"] = options.physics
    factory = load_factory(find(options.model).factory)
    if for_training and "auxiliary" in (factory.__kwdefaults__ or {}):
        arguments["auxiliary"] = True
    return factory(**arguments)


def begin_with(network: nn.Module, weights: Path, deployed: nn.Module) -> None:
    """Load trained weights into a network that may have heads for training only; those stay fresh.

    Raises:
        UsageError: The file is no safetensors, or belongs to another network (`PE-NETWORK-003`, `PE-NETWORK-004`).
    """
    load_weights(deployed, weights)
    network.load_state_dict(deployed.state_dict(), strict=False)


def _divided(folder: Path, spec: ModelSpec, seed: int) -> Splits:
    return find_splits(folder, class_count=len(spec.classes) - 1, seed=seed)


def _prepare(splits: Splits, spec: ModelSpec, progress: Progress) -> tuple[PreparedPairs, PreparedPairs]:
    assert spec.frame is not None
    with progress("reading the pictures", len(splits.train) + len(splits.val)) as advance:
        return (
            PreparedPairs(splits.train, spec.frame, where="the training set", advance=advance),
            PreparedPairs(splits.val, spec.frame, where="the validation set", advance=advance),
        )


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


def _run(trainer: pl.Trainer, module: SegmentationTraining, data: SegmentationData, checkpoint: Path | None) -> None:
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
