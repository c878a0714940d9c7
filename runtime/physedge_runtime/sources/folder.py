"""A folder of pictures, or a single one: searched recursively, in the order in which people count."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from physedge_runtime.errors import SourceError
from physedge_runtime.frame import Frame
from physedge_runtime.sources.base import SourceEnded, SourceInfo
from physedge_runtime.sources.file import missing_file
from physedge_runtime.sources.picture import is_picture_file, read_picture


class FolderSource:
    """The pictures below a folder; a frame's `name` is its path relative to it.

    Args:
        path: The folder, or one picture.
        clock: Monotonic nanoseconds.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._path = path
        self._clock = clock
        self._pictures: list[Path] = []
        self._next_id = 0

    @property
    def info(self) -> SourceInfo:
        """Not live, without a frame rate."""
        return SourceInfo(name=self._path.name or str(self._path), live=False, frames=len(self._pictures) or None)

    def open(self) -> None:
        """List the pictures.

        Raises:
            SourceError: The folder is missing (`PE-SRC-002`) or holds no picture (`PE-SRC-004`).
        """
        if not self._path.exists():
            raise missing_file(self._path)
        self._pictures = [self._path] if self._path.is_file() else find_pictures(self._path)
        self._next_id = 0
        if not self._pictures:
            raise SourceError(
                "PE-SRC-004",
                found=f"the folder {self._path} holds no picture",
                expected="at least one bmp, jpg, png, tif or webp file at any depth",
                next_step="name another folder with --source",
            )

    def read(self) -> Frame | None:
        """The next picture.

        Raises:
            SourceEnded: That was the last one.
            SourceError: A file is no picture or damaged (`PE-SRC-005`); it is named.
        """
        if self._next_id >= len(self._pictures):
            raise SourceEnded
        path = self._pictures[self._next_id]
        pixels, colour = read_picture(path)
        frame_id = self._next_id
        self._next_id += 1
        name = path.name if path == self._path else path.relative_to(self._path).as_posix()
        return Frame(pixels=pixels, frame_id=frame_id, captured_ns=self._clock(), colour=colour, name=name)

    def close(self) -> None:
        """Nothing is held open between two pictures."""


def find_pictures(folder: Path) -> list[Path]:
    """Every picture below a folder, hidden ones left out, in natural order (`2.png` before `10.png`)."""
    found = [path for path in folder.rglob("*") if path.is_file() and is_picture_file(path)]
    return sorted(found, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """A key that sorts runs of digits as numbers, letters without regard to case; ties by the name itself.

    Example:
        >>> sorted(["f10", "f9", "F1"], key=natural_key)
        ['F1', 'f9', 'f10']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name.lower())
    return tuple((0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts), name
