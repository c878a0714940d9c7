"""`physedge.toml`: what the verbs take where nothing is said. `train` writes it; `docs/spec.md` describes it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from physedge_runtime.errors import UsageError

PROJECT_FILE = "physedge.toml"
_KEYS = ("model", "weights", "spec", "data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The defaults of a working directory.

    Attributes:
        path: The file they were read from.
        model: A built-in network or `package.module:factory`.
        weights: Trained weights, safetensors.
        spec: The specification that belongs to them.
        data: Folder the network was trained on.
    """

    path: Path
    model: str
    weights: Path | None = None
    spec: Path | None = None
    data: Path | None = None


def read_project(folder: Path | None = None) -> Project | None:
    """The project file of a folder (the working directory where None), or None where there is none.

    Raises:
        UsageError: It cannot be read, or a key is missing or unknown (`PE-PROJECT-001`).
    """
    path = (folder or Path.cwd()) / PROJECT_FILE
    if not path.is_file():
        return None
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unusable(path, str(error)) from error
    unknown = sorted(set(content) - set(_KEYS))
    if unknown:
        raise _unusable(path, f"the key {unknown[0]!r} is unknown")
    if not all(isinstance(value, str) for value in content.values()) or "model" not in content:
        raise _unusable(path, "'model' is missing or a value is no text")
    paths = {key: path.parent / content[key] for key in _KEYS[1:] if key in content}
    return Project(path=path, model=content["model"], **paths)


def _unusable(path: Path, detail: str) -> UsageError:
    return UsageError(
        "PE-PROJECT-001",
        found=f"{path.name} cannot be used ({detail})",
        expected=f"the keys {', '.join(_KEYS)}",
        next_step="correct it, or remove it to work with the built-in demo model",
    )
