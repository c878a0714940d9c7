"""Cuts the power at every file operation of an installation and of the first start, and says what is left each time.

    python power_cut.py FOLDER      FOLDER holds 1.physedge and 2.physedge, two releases of one network

Prints one JSON list: for each cut the operation at which it came, and what started afterwards.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from physedge_runtime.install import install, update_good
from physedge_runtime.slots import read_state
from physedge_runtime.starting import start

CHANGES = ("open", "mkdir", "chmod", "fsync", "replace", "unlink", "remove", "rename")


class TornFile:
    """A file that gets half of what is written to it when the power is cut."""

    def __init__(self, stream: Any, step: Callable[[str], bool]) -> None:
        self._stream, self._step = stream, step

    def write(self, data: bytes) -> int:
        if self._step("write"):
            self._stream.write(data[: len(data) // 2])
            self._stream.flush()
            os._exit(137)
        return int(self._stream.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()


def cut_at(number: int, note: Path) -> None:
    """Make operation `number` of this process its last one; even ones are done, odd ones are not."""
    seen = 0
    handle = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def step(name: str) -> bool:
        nonlocal seen
        seen += 1
        if seen == number // 2 + 1:
            os.write(handle, name.encode())
            return True
        return False

    def guard(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **options: Any) -> Any:
            if not step(name):
                return original(*arguments, **options)
            try:
                if number % 2:
                    original(*arguments, **options)
            finally:
                os._exit(137)

        return run

    for name in CHANGES:
        setattr(os, name, guard(name, getattr(os, name)))
    fdopen = os.fdopen
    os.fdopen = lambda *arguments, **options: TornFile(fdopen(*arguments, **options), step)  # type: ignore[assignment]


def started_release(root: Path) -> int:
    running = start(root, engine="fake")
    running.net.close()
    update_good(root, running.bundle.manifest.spec.name, sha256=running.bundle.sha256)
    return running.bundle.manifest.release


def main(folder: Path) -> None:
    template, root = folder / "template", folder / "root"
    install(folder / "1.physedge", template, engine="fake")
    assert started_release(template) == 1
    found: list[dict[str, object]] = []
    while True:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(template, root)
        note = folder / "operation"
        child = os.fork()
        if child == 0:
            cut_at(len(found), note)
            install(folder / "2.physedge", root, engine="fake")
            started_release(root)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            break
        assert code == 137, code
        state = read_state(next(path for path in root.iterdir() if path.is_dir()))
        left = {"cut": note.read_text(), "named": state.slots[state.active].release if state.active else None}
        left["runs"] = started_release(root)
        install(folder / "2.physedge", root, engine="fake")
        left["after_another_try"] = started_release(root)
        left["leftovers"] = sum(path.name.startswith(".") for path in root.rglob("*")) - 1  # the lock stays
        found.append(left)
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
