"""What is being read, so that no output destroys it: compared by inode here, by locks between processes.

A file or folder that is read is held under a shared lock (`flock`), a file that is written under an exclusive one. The
system gives a lock back when its process ends, however it ends. A file system without locks has the comparison alone.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from physedge_runtime.errors import UsageError

_BUNDLE_BEGINS = b"PK\x03\x04"
_PROBES = 5
_PROBE_WAIT_S = 0.005


class HeldInputs:
    """Files and folders under a shared lock as long as they are read; what is not there or no file is passed over."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._handles = [handle for path in paths if (handle := _open_regular(path)) is not None]
        for handle in self._handles:
            _share(handle)

    def close(self) -> None:
        """Give the locks back; further calls do nothing."""
        while self._handles:
            os.close(self._handles.pop())


def files_named_in(text: str) -> tuple[Path, ...]:
    """Files and folders that a source's text names, whatever its scheme.

    `clip.mp4`, `dicom:DIR`, `a.mat?reference=b.mat`: a name may itself hold colons, question marks and equal signs, so
    every part that is there counts.
    """
    parts = re.split(r"[?&=]", text)
    candidates = [text, *parts, *(part.partition(":")[2] for part in (text, *parts))]
    return tuple(dict.fromkeys(Path(one) for one in candidates if one and _exists(one)))


def refuse_input(path: Path, inputs: Iterable[Path], *, replaces: bool) -> None:
    """Refuse an output that is the same file as an input of this run.

    Args:
        path: The output.
        inputs: Files and folders that are read.
        replaces: Whether what stands there would be changed; then any file of a folder that is read is refused too.

    Raises:
        UsageError: It is one of them, under whatever name (`PE-OUT-001`).
    """
    try:
        found = path.stat()
    except OSError:
        return
    for one in inputs:
        if _is_same(one, found) or (replaces and one.is_dir() and any(_is_same(file, found) for file in _files(one))):
            raise UsageError(
                "PE-OUT-001",
                found=f"{path} is to be written and is read by the same run, as {one}",
                expected="an output that is no input",
                next_step="name another file for the output",
            )


def refuse_output(path: Path, inputs: Iterable[Path | None], *, is_bundle: bool = False) -> None:
    """Refuse what a verb is about to write where it would destroy what is read, or a bundle.

    An older one of the same kind, a report or a record, is what the verb writes anew.

    Args:
        path: The output.
        inputs: Files and folders that the verb reads; None for one that was not given.
        is_bundle: Whether a bundle is written.

    Raises:
        UsageError: It is an input (`PE-OUT-001`), or a bundle stands there (`PE-OUT-005`).
    """
    refuse_input(path, [one for one in inputs if one is not None], replaces=True)
    if is_bundle or not path.is_file():
        return
    with path.open("rb") as file:
        found = file.read(len(_BUNDLE_BEGINS))
    if found == _BUNDLE_BEGINS:
        raise UsageError(
            "PE-OUT-005",
            found=f"{path} is a bundle or another zip file and is to be written over",
            expected="an output that replaces nothing but an older one of its kind",
            next_step="name another file",
        )


def refuse_if_in_use(path: Path) -> None:
    """Refuse to change a file that is being read or written by anybody who holds a lock on it or on a folder above it.

    Raises:
        UsageError: It is in use (`PE-OUT-002`).
    """
    for one in (path, *path.absolute().parents):
        handle = _open_regular(one)
        if handle is None:
            continue
        try:
            if not lock_alone(handle):
                raise in_use(path)
        finally:
            os.close(handle)


def refuse_same_outputs(paths: Iterable[Path]) -> None:
    """Refuse two outputs of one run that are one file.

    Raises:
        UsageError: Two are the same (`PE-OUT-003`).
    """
    seen: list[Path] = []
    for path in paths:
        if any(_is_one_file(path, other) for other in seen):
            raise UsageError(
                "PE-OUT-003",
                found=f"two outputs of one run are one file, {path}",
                expected="a file for each",
                next_step="name another file for one of them",
            )
        seen.append(path)


def lock_alone(handle: int) -> bool:
    """Take the exclusive lock of an open file, without waiting; whether it was to be had."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def in_use(path: Path) -> UsageError:
    """The error for an output that somebody reads or writes at this moment."""
    return UsageError(
        "PE-OUT-002",
        found=f"{path} is being read or written by another run",
        expected="an output that nobody uses",
        next_step="name another file, or wait for the other run to end",
    )


def _open_regular(path: Path) -> int | None:
    """A handle of a file or folder; None where it is neither, is not there or may not be read."""
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            return None
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None


def _share(handle: int) -> None:
    """Take the shared lock; another process that is looking whether it may write holds its own for an instant."""
    for _ in range(_PROBES):
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PROBE_WAIT_S)
        except OSError:
            return
        else:
            return


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        for name in names:
            yield Path(parent) / name


def _is_one_file(path: Path, other: Path) -> bool:
    if os.path.realpath(path) == os.path.realpath(other):
        return True
    try:
        return path.is_file() and path.samefile(other)
    except OSError:
        return False


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or a zero byte
        return False


def _is_same(path: Path, other: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), other)
    except OSError:
        return False
