"""From the words of the command line to the options of a training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

from physedge.deploy.network import DEMO_WORD, demo_weights
from physedge.models.registry import find
from physedge.train.options import Augmentation, Physics, TrainOptions
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Colour
from physedge_runtime.spec import Task

BACKGROUND = "background"


def options_from_words(
    *,
    model: str,
    data: Sequence[Path],
    task: str | None,
    size: str | None,
    classes: str | None,
    grey: bool,
    physics: str,
    growth: Sequence[str],
    densities: Path | None,
    augment: str | None,
    output: Path | None,
    weights: Path | None,
    teacher: Path | None,
    epochs: int,
    batch: int,
    learning_rate: float,
    progressive: bool,
    seed: int,
    workers: int,
    devices: str,
    nodes: int,
    strategy: str,
    accelerator: str,
    resume: bool,
) -> TrainOptions:
    """The options that are meant.

    Raises:
        UsageError: A word is none of those that are known (`PE-TRAIN-001`), or the class folders cannot be read.
    """
    meant = _task_of(model, task)
    height_px, width_px = _own_size(model) if size is None else size_from_word(size)
    for name, word, known in (
        ("physics", physics, get_args(Physics)),
        ("augment", augment, get_args(Augmentation)),
    ):
        if word is not None and word not in known:
            raise _unknown(name, word, f"one of {', '.join(known)}")
    return TrainOptions(
        model=model,
        task=meant,
        data=tuple(data),
        output=output or Path("runs") / re.sub(r"[^a-z0-9_-]+", "-", model.rpartition(":")[2].lower()),
        weights=demo_weights(model) if weights == DEMO_WORD else weights,
        teacher=teacher,
        classes=_classes(meant, classes, data),
        height_px=height_px,
        width_px=width_px,
        colour=Colour.GREY if grey else Colour.RGB,
        physics=cast(Physics, physics),
        growth=tuple(growth),
        densities=densities,
        augmentation=cast(Augmentation | None, augment),
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        progressive=progressive,
        seed=seed,
        workers=workers,
        devices=devices,
        nodes=nodes,
        strategy=strategy,
        accelerator=accelerator,
        resume=resume,
    )


def size_from_word(word: str) -> tuple[int, int]:
    """(height, width) of `256` or `256x320`.

    Example:
        >>> size_from_word("256x320")
        (256, 320)

    Raises:
        UsageError: It is neither (`PE-TRAIN-001`).
    """
    found = re.fullmatch(r"([1-9]\d{0,3})(?:x([1-9]\d{0,3}))?", word)
    if found is None:
        raise _unknown("size", word, "one number of pixels, or HEIGHTxWIDTH")
    return int(found[1]), int(found[2] or found[1])


def classes_from_word(word: str) -> tuple[str, ...]:
    """The names of all classes; the background comes first and need not be said.

    Example:
        >>> classes_from_word("polyp")
        ('background', 'polyp')
    """
    return (BACKGROUND, *(name for name in _names(word) if name != BACKGROUND))


def _task_of(model: str, word: str | None) -> Task:
    own = None if ":" in model else find(model).spec.task
    if word is None:
        return own or Task.SEGMENTATION
    if word not in tuple(Task) or (own is not None and word != own):
        raise _unknown("task", word, f"{own}, which {model} answers" if own else f"one of {', '.join(Task)}")
    return Task(word)


def _own_size(model: str) -> tuple[int, int]:
    frame = None if ":" in model else find(model).spec.frame
    return (256, 256) if frame is None else (frame.height, frame.width)


def _classes(task: Task, word: str | None, data: Sequence[Path]) -> tuple[str, ...]:
    if task is Task.CLASSIFICATION:
        from physedge_calibrate.class_folders import class_names

        return class_names(data[0]) if word is None else _names(word)
    return classes_from_word("lesion" if word is None else word)


def _names(word: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in word.split(",") if name.strip())


def _unknown(name: str, word: str, expected: str) -> UsageError:
    return UsageError("PE-TRAIN-001", found=f"{name} = {word!r}", expected=expected, next_step=f"correct --{name}")
