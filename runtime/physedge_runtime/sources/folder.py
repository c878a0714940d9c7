"""A folder of pictures and clips, or a single picture: searched recursively, in the order in which people count."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from physedge_runtime.errors import SourceError
from physedge_runtime.frame import Frame
from physedge_runtime.sources.base import SourceEnded, SourceInfo
from physedge_runtime.sources.content import Content, content_of, contents_of
from physedge_runtime.sources.deinterlace import Deinterlace
from physedge_runtime.sources.file import DAMAGED, VideoFileSource, missing_file
from physedge_runtime.sources.picture import PicturePage, count_pages, is_picture_file, read_pages


class FolderSource:
    """The pictures and clips below a folder; a frame's `name` is its file's path relative to it, and its page.

    A damaged clip is played as far as it goes, then the next file; the folder then ends with that clip's error.

    Args:
        path: The folder, or one picture.
        deinterlace: What is done with interlaced clips.
        clock: Monotonic nanoseconds.
    """

    def __init__(
        self,
        path: Path,
        *,
        deinterlace: Deinterlace = Deinterlace.AUTO,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._path, self._deinterlace = path, deinterlace
        self._clock = clock
        self._frames: Iterator[Frame] | None = None
        self._count: int | None = None
        self._next_id = 0
        self._damage: Counter[str] = Counter()
        self._notes: dict[str, None] = {}
        self._damaged: SourceError | None = None

    @property
    def info(self) -> SourceInfo:
        """Not live, without a frame rate; damage and notes of all files that were read so far."""
        return SourceInfo(
            name=self._path.name or str(self._path),
            live=False,
            frames=self._count,
            damage=dict(self._damage),
            notes=tuple(self._notes),
        )

    def deinterlace_by(self, how: Deinterlace) -> None:
        """Say what is done with interlaced clips, before it is opened."""
        self._deinterlace = how

    def open(self) -> None:
        """List the files.

        Raises:
            SourceError: The folder is missing (`PE-SRC-002`) or holds neither picture nor clip (`PE-SRC-004`).
        """
        if self._frames is not None:
            return
        if not self._path.exists():
            raise missing_file(self._path)
        files = [self._path] if self._path.is_file() else find_media(self._path)
        if not files:
            raise SourceError(
                "PE-SRC-004",
                found=f"the folder {self._path} holds no picture",
                expected="at least one bmp, jpg, png, tif or webp file, or a clip, at any depth",
                next_step="name another folder with --source",
            )
        self._count = _count(files)
        self._frames = self._of_all(files)
        self._next_id, self._damaged = 0, None
        self._damage.clear()
        self._notes.clear()

    def read(self) -> Frame | None:
        """The next picture, page or frame.

        Raises:
            SourceEnded: That was the last one.
            SourceError: A file is no picture or damaged (`PE-SRC-005`), or a clip has no frames (`PE-SRC-003`); or all
                files were read and a clip among them was damaged (`PE-SRC-040`). The file is named.
        """
        assert self._frames is not None
        frame = next(self._frames, None)
        if frame is None and self._damaged is not None:
            raise self._damaged
        if frame is None:
            raise SourceEnded
        self._next_id = frame.frame_id + 1
        return frame

    def close(self) -> None:
        """Let the file go that is being read."""
        self._frames = None

    def _of_all(self, files: list[Path]) -> Iterator[Frame]:
        for path in files:
            name = path.name if path == self._path else path.relative_to(self._path).as_posix()
            if path != self._path and content_of(path) is Content.CLIP:
                yield from self._of_clip(path, name)
            else:
                yield from self._of_picture(path, name)

    def _of_picture(self, path: Path, name: str) -> Iterator[Frame]:
        for page in read_pages(path):
            yield self._frame(page, f"{name}, page {page.number + 1}" if page.count > 1 else name)

    def _frame(self, page: PicturePage, name: str) -> Frame:
        aspect, note = page.pixel_aspect, ""
        if aspect is not None:
            note = f"pixels are stated to be {aspect:.3g} times as wide as high, and answered as they are stored"
            self._notes[note] = None
        return Frame(
            pixels=page.pixels,
            frame_id=self._next_id,
            captured_ns=self._clock(),
            colour=page.colour,
            source_stamp_ns=page.stamp_ns,
            position_ns=page.stamp_ns,
            spacing_note=note,
            name=name,
            metadata={} if aspect is None else {"pixel_aspect": aspect},
        )

    def _of_clip(self, path: Path, name: str) -> Iterator[Frame]:
        clip, first_id, before = VideoFileSource(path, deinterlace=self._deinterlace), self._next_id, self._damage
        with closing(clip):
            clip.open()
            while True:
                try:
                    frame = clip.read()
                except SourceEnded:
                    return
                except SourceError as error:
                    if error.identifier != DAMAGED:
                        raise
                    self._damaged = self._damaged or error
                    return
                finally:
                    self._damage = before + Counter(clip.info.damage)
                    self._notes.update(dict.fromkeys(clip.info.notes))
                if frame is not None:
                    yield replace(frame, name=name, frame_id=first_id + frame.frame_id)


def _count(files: list[Path]) -> int | None:
    """Pictures to come; None where clips are among them, whose containers only estimate it, or a file is damaged."""
    if any(content_of(path) is Content.CLIP for path in files):
        return None
    try:
        return sum(count_pages(path) for path in files)
    except SourceError:
        return None


def find_media(folder: Path) -> list[Path]:
    """Every picture and clip below a folder, hidden ones left out, in natural order (`2.png` before `10.png`)."""
    wanted = (Content.PICTURE, Content.CLIP)
    return in_order(folder, [path for path, content in contents_of(folder).items() if content in wanted])


def find_pictures(folder: Path) -> list[Path]:
    """Every file below a folder that is named like a picture, hidden ones left out, in natural order."""
    return in_order(folder, [path for path in folder.rglob("*") if path.is_file() and is_picture_file(path)])


def in_order(folder: Path, paths: list[Path]) -> list[Path]:
    """Paths below a folder in the order in which people count."""
    return sorted(paths, key=lambda path: natural_key(path.relative_to(folder).as_posix()))


def natural_key(name: str) -> tuple[tuple[tuple[int, int, str], ...], str]:
    """A key that sorts runs of digits as numbers, letters without regard to case; ties by the name itself.

    Example:
        >>> sorted(["f10", "f9", "F1"], key=natural_key)
        ['F1', 'f9', 'f10']
    """
    parts = re.findall(r"[0-9]+|[^0-9]+", name.lower())
    return tuple((0, int(part), "") if part[0] in "0123456789" else (1, 0, part) for part in parts), name
