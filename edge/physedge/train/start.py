"""The beginning of a run: a folder of its own, or the checkpoint to go on from."""

from __future__ import annotations

import tomllib
from pathlib import Path

from physedge.train.options import TrainOptions
from physedge.train.run_files import (
    CONFIG,
    FREE_TO_CHANGE,
    LAST_CHECKPOINT,
    SPEC,
    config_text,
    config_values,
    spec_text,
    write_text,
)
from physedge_runtime.errors import UsageError
from physedge_runtime.spec import ModelSpec


def start_run(options: TrainOptions, spec: ModelSpec) -> Path | None:
    """Make the folder of a run and write what was asked for.

    Returns:
        The checkpoint to go on from; None for a run from the beginning.

    Raises:
        UsageError: The folder holds a run already (`PE-TRAIN-002`), another one than is asked for
            (`PE-TRAIN-003`), or cannot be written (`PE-TRAIN-004`).
    """
    folder = options.output
    checkpoint = folder / LAST_CHECKPOINT
    if checkpoint.is_file():
        if not options.resume:
            raise UsageError(
                "PE-TRAIN-002",
                found=f"{folder} holds a run already",
                expected="a new folder, or --resume to go on with it",
                next_step="add --resume, or name another folder with --output",
            )
        _compare(folder / CONFIG, options)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / CONFIG, config_text(options))
        write_text(folder / SPEC, spec_text(spec))
    except OSError as error:
        raise UsageError(
            "PE-TRAIN-004",
            found=f"{folder} cannot be written ({error.strerror})",
            expected="a folder for the run",
            next_step="name another one with --output",
        ) from error
    return checkpoint if checkpoint.is_file() else None


def _compare(path: Path, options: TrainOptions) -> None:
    try:
        before = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _another(path, f"cannot be read ({error})") from error
    for key, value in config_values(options).items():
        if key not in FREE_TO_CHANGE and before.get(key) != value:
            raise _another(path, f"says {key} = {before.get(key)!r}, not {value!r}")


def _another(path: Path, detail: str) -> UsageError:
    return UsageError(
        "PE-TRAIN-003",
        found=f"{path} {detail}",
        expected="the options of the run that is resumed",
        next_step="give the same options, or name another folder with --output",
    )
