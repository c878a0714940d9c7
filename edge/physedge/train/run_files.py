"""The text files of a run: what was asked for, the specification of what came out, the defaults of the directory."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from physedge.project import PROJECT_FILE
from physedge.train.options import TrainOptions
from physedge_runtime.spec import ModelSpec

CONFIG, SPEC, BEST_WEIGHTS, LAST_CHECKPOINT = "config.toml", "spec.toml", "best.safetensors", "last.ckpt"
VALIDATION = "validation.csv"
STRICT_FACTORIES = "physedge.models.strict"

FREE_TO_CHANGE = frozenset({"output", "workers", "devices", "nodes", "strategy", "accelerator", "resume", "data"})
"""Options that a resumed run may change: they say where and how, not what."""


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(path)


def config_text(options: TrainOptions) -> str:
    """`config.toml`: every option by its name."""
    rows = dataclasses.asdict(options)
    del rows["resume"]
    return "# What this run was asked to do; `physedge train --resume` compares with it.\n" + _rows(rows)


def config_values(options: TrainOptions) -> dict[str, object]:
    """What `config.toml` gives back when it is read: plain values by name."""
    return {
        key: _plain(value)
        for key, value in dataclasses.asdict(options).items()
        if key != "resume" and value is not None
    }


def spec_text(spec: ModelSpec) -> str:
    """`spec.toml`, as `physedge_runtime.spec.read_spec` reads it."""
    content = spec.model_dump(mode="json", exclude_none=True)
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    text = _rows({key: value for key, value in content.items() if key not in tables})
    for name, table in tables.items():
        inner = {key: value for key, value in table.items() if isinstance(value, dict)}
        text += f"\n[{name}]\n" + _rows({key: value for key, value in table.items() if key not in inner})
        text += "".join(f"\n[{name}.{_key(key)}]\n{_rows(value)}" for key, value in inner.items())
    return text


def write_project(folder: Path, options: TrainOptions) -> Path:
    """`physedge.toml`: what the next verbs take where nothing is said; paths relative to it.

    Returns:
        The file.
    """
    path = folder / PROJECT_FILE
    is_strict = options.physics == "strict" and ":" not in options.model
    rows = {
        "model": f"{STRICT_FACTORIES}:{options.model}" if is_strict else options.model,
        "weights": _relative(options.output / BEST_WEIGHTS, folder),
        "spec": _relative(options.output / SPEC, folder),
        "data": _relative(options.data[0], folder),
    }
    write_text(path, "# Written by `physedge train`; docs/spec.md describes it.\n" + _rows(rows))
    return path


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()


def _rows(values: Mapping[str, object]) -> str:
    return "".join(f"{key} = {_toml(_plain(value))}\n" for key, value in values.items() if value is not None)


def _key(name: str) -> str:
    """As it stands in a table's name: with quotes where it is more than letters, digits, - and _."""
    return name if name.isascii() and name.replace("-", "a").replace("_", "a").isalnum() else _toml(name)


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | float):
        return value
    return value.as_posix() if isinstance(value, Path) else str(value)


def _toml(value: object) -> str:
    # JSON's numbers, strings, booleans and flat lists are TOML's, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
