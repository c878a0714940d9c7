"""A file that is written: never over an input, a bundle or an older result. `docs/streaming.md` tells the rule.

What is written goes beside, under a name that says so (`clip.partial.mp4`), and gets its own name when it is whole, or,
of a log, with its first entry. A name that is taken is left alone: the next free number is chosen and told.
"""

from __future__ import annotations

import enum
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from physedge_runtime.errors import UsageError
from physedge_runtime.file_guard import in_use, lock_alone, refuse_if_in_use, refuse_input

_PARTIAL = ".partial"
_MOST_NUMBERS = 10_000
_MODE = 0o666  # less the umask


class Existing(enum.StrEnum):
    """What becomes of a file that stands under the name already."""

    NUMBER = "number"  # it stays; `clip-2.mp4` is written
    OVERWRITE = "overwrite"  # it is replaced once the new one is whole
    APPEND = "append"  # a log goes on; for what is no log as NUMBER


class OutputFile:
    """One file that is written by one process.

    Args:
        path: As it was asked for.
        existing: What becomes of a file of that name.
        is_log: Whether it may be appended to, line by line.
        rotations: A log's older files are `FILE.1` to `FILE.rotations`.

    Attributes:
        path: The name it has or will have.
        written: The name under which it stands finished; None before.
        said: What its owner must be told, as a sentence without a full stop; empty for nothing.
    """

    def __init__(
        self, path: Path, *, existing: Existing = Existing.NUMBER, is_log: bool = False, rotations: int = 0
    ) -> None:
        self.requested = self.path = path
        self.existing = existing
        self.written: Path | None = None
        self.said = ""
        self._is_log, self._rotations = is_log, rotations
        self._inputs: tuple[Path, ...] = ()
        self._partial: Path | None = None
        self._file: IO[bytes] | None = None

    @property
    def writing(self) -> Path:
        """Where the bytes go now; a library that wants a name is given this one."""
        return self._partial or self.path

    def open(self, inputs: Iterable[Path] = ()) -> IO[bytes]:
        """Claim the name and open the file, unbuffered; it is the process's own from now on.

        Raises:
            UsageError: The output is an input (`PE-OUT-001`), or somebody reads or writes it (`PE-OUT-002`).
            OSError: It cannot be created.
        """
        self._inputs = tuple(inputs)
        self.path = self.requested
        if _is_special(self.path):  # a pipe or a device: nothing stands there that could be lost
            self._file, self._partial = self.path.open("wb", buffering=0), None
            return self._file
        if self.path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
        refuse_input(self.path, self._inputs, replaces=self._replaces)
        if not self._replaces:
            self._file = self._open_numbered()
        elif self.existing is Existing.APPEND:
            self._file = self._open_end()
        else:
            self._file = self._open_over()
        return self._file

    def publish(self) -> Path:
        """Give the file its name; its handle stays open. Further calls do nothing.

        Raises:
            UsageError: What is to be replaced is in use by now (`PE-OUT-001`, `PE-OUT-002`).
            OSError: The disk is gone.
        """
        if self._partial is None:
            self.written = self.path
            return self.path
        if self._file is not None:
            os.fsync(self._file.fileno())
        if self._replaces:
            refuse_input(self.path, self._inputs, replaces=True)
            if self.path.exists():
                refuse_if_in_use(self.path)
            self._partial.replace(self.path)
        else:
            self._name_first_free()
        self._partial, self.written = None, self.path
        return self.path

    def close(self) -> None:
        """Close the file, which gives its lock back; one that has not got its name yet keeps that of a part."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def discard(self) -> None:
        """Close the file and leave none behind, where it has not got its name yet; further calls do nothing."""
        if self._partial is not None:
            self._partial.unlink(missing_ok=True)
            self._partial = None
        self.close()

    def rotated(self) -> IO[bytes]:
        """Rename a log to `FILE.1`, that to `FILE.2` and so on, the oldest removed, and begin the next file.

        Raises:
            OSError: The disk is gone, or somebody made a file of that name meanwhile.
        """
        self.close()
        for number in range(self._rotations, 0, -1):
            older = self._older(self.path, number - 1)
            if older.exists():
                older.replace(self._older(self.path, number))
        self._file = _create(self.path)
        return self._file

    @property
    def _replaces(self) -> bool:
        return self.existing is Existing.OVERWRITE or (self.existing is Existing.APPEND and self._is_log)

    def _open_numbered(self) -> IO[bytes]:
        for path in self._names():
            partial = _partial_name(path)
            if self._is_taken(path) or os.path.lexists(partial):
                continue
            try:
                file = _create(partial)
            except FileExistsError:
                continue
            self.path, self._partial = path, partial
            if path != self.requested:
                self.said = f"{self.requested} is there already, so {path} is written"
            return file
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(self.requested))

    def _open_end(self) -> IO[bytes]:
        """The log that is there, behind its last line; or a new one."""
        for number in range(self._rotations + 1):
            older = self._older(self.path, number)
            refuse_input(older, self._inputs, replaces=True)
            if older.exists():
                refuse_if_in_use(older)
        file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _MODE), "r+b", 0)
        if not (lock_alone(file.fileno()) and _is_still(file, self.path)):
            file.close()
            raise in_use(self.path)
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            file.write(b"\n")  # the last line broke off
        return file

    def _open_over(self) -> IO[bytes]:
        """A part beside what is there, which stays until the new one is whole."""
        self.path = Path(os.path.realpath(self.requested))
        for number in range(1, self._rotations + 1):
            refuse_input(self._older(self.path, number), self._inputs, replaces=True)
        self._partial = _partial_name(self.path)
        refuse_input(self._partial, self._inputs, replaces=True)
        if self.path.exists():
            refuse_if_in_use(self.path)
        file = os.fdopen(os.open(self._partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE), "r+b", 0)
        if not (lock_alone(file.fileno()) and _is_still(file, self._partial)):
            file.close()
            self._partial = None
            raise in_use(self.path)
        file.truncate(0)
        return file

    def _name_first_free(self) -> None:
        """Rename without ever replacing; a name that somebody took meanwhile is passed over."""
        assert self._partial is not None
        asked = self.path
        for path in (asked, *(name for name in self._names() if name != asked)):
            if os.path.lexists(path):
                continue
            try:
                os.link(self._partial, path)
            except FileExistsError:
                continue
            except OSError:  # a file system without links
                self._partial.rename(path)
            else:
                self._partial.unlink()
            if path != asked:
                self.said = f"{asked} was made by somebody else meanwhile, so {path} was written"
            self.path = path
            return
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(asked))

    def _names(self) -> Iterator[Path]:
        yield self.requested
        for number in range(2, _MOST_NUMBERS):
            yield numbered(self.requested, number)

    def _is_taken(self, path: Path) -> bool:
        return any(os.path.lexists(self._older(path, number)) for number in range(self._rotations + 1))

    @staticmethod
    def _older(path: Path, number: int) -> Path:
        return path if number == 0 else path.with_name(f"{path.name}.{number}")


def numbered(path: Path, number: int) -> Path:
    """The name of the second file, the third ...

    Example:
        >>> numbered(Path("clip.mp4"), 2)
        PosixPath('clip-2.mp4')
    """
    return path.with_name(f"{path.stem}-{number}{path.suffix}")


def not_writable(path: Path, why: str) -> UsageError:
    """The error for a file that cannot be created."""
    return UsageError(
        "PE-SINK-001",
        found=f"{path} cannot be written ({why})",
        expected="a file in a folder that exists and may be written to",
        next_step="name another file, or create the folder",
    )


def _create(path: Path) -> IO[bytes]:
    """A new file under an exclusive lock.

    Raises:
        FileExistsError: Something stands there, or somebody took it in the same instant.
    """
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE), "r+b", 0)
    if lock_alone(file.fileno()) and _is_still(file, path):
        return file
    file.close()
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _partial_name(path: Path) -> Path:
    return path.with_name(f"{path.stem}{_PARTIAL}{path.suffix}")


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _is_still(file: IO[bytes], path: Path) -> bool:
    """Whether the file that was locked is the one that has the name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
