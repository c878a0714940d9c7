"""From the words of the command line to the options of a training."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast, get_args

from physedge.train.options import Augmentation, Physics, TrainOptions
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Colour

BACKGROUND = "background"


def options_from_words(
    *,
    model: str,
    data: Sequence[Path],
    size: str,
    classes: str,
    grey: bool,
    physics: str,
    augment: str,
    output: Path | None,
    weights: Path | None,
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
        UsageError: A word is none of those that are known (`PE-TRAIN-001`).
    """
    height_px, width_px = size_from_word(size)
    for name, word, known in (
        ("physics", physics, get_args(Physics)),
        ("augment", augment, get_args(Augmentation)),
    ):
        if word not in known:
            raise _unknown(name, word, f"one of {', '.join(known)}")
    return TrainOptions(
        model=model,
        data=tuple(data),
        output=output or Path("runs") / re.sub(r"[^a-z0-9_-]+", "-", model.rpartition(":")[2].lower()),
        weights=weights,
        classes=classes_from_word(classes),
        height_px=height_px,
        width_px=width_px,
        colour=Colour.GREY if grey else Colour.RGB,
        physics=cast(Physics, physics),
        augmentation=cast(Augmentation, augment),
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
    names = [name.strip() for name in word.split(",") if name.strip()]
    return (BACKGROUND, *(name for name in names if name != BACKGROUND))


def _unknown(name: str, word: str, expected: str) -> UsageError:
    return UsageError("PE-TRAIN-001", found=f"{name} = {word!r}", expected=expected, next_step=f"correct --{name}")
