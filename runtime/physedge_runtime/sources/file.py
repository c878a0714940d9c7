"""A video file, every picture in order and at its presentation time, on past what is damaged."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from physedge_runtime.errors import SourceError
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources.base import SourceEnded, SourceInfo, damage_words
from physedge_runtime.sources.deinterlace import Deinterlace
from physedge_runtime.sources.packets import NotDecodable
from physedge_runtime.sources.video import VideoDecoder

DAMAGED = "PE-SRC-040"


class VideoFileSource:
    """The pictures of a video file; `frame_id` is the picture's number in the file, from 0.

    A packet that cannot be decoded leaves a gap in the numbers. A file in which anything is damaged, or that was cut
    off, is read as far as it goes and then ends with an error.

    Args:
        path: The file.
        deinterlace: What is done with interlaced pictures.
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
        self._decoder: VideoDecoder | None = None
        self._info = SourceInfo(name=path.name, live=False)
        self._has_pictures = False

    @property
    def info(self) -> SourceInfo:
        """Not live; period and number of pictures as the container states them."""
        decoder = self._decoder
        if decoder is None:
            return self._info
        return SourceInfo(
            name=self._path.name,
            live=False,
            period_ns=decoder.period_ns,
            frames=decoder.pictures,
            damage=dict(decoder.damage),
            notes=tuple(decoder.notes),
        )

    def deinterlace_by(self, how: Deinterlace) -> None:
        """Say what is done with interlaced pictures, before it is opened."""
        self._deinterlace = how

    def open(self) -> None:
        """Open the file at its first picture.

        Raises:
            SourceError: The file is missing (`PE-SRC-002`) or is no video (`PE-SRC-003`).
        """
        if self._decoder is not None:
            return
        if not self._path.is_file():
            raise missing_file(self._path)
        try:
            self._decoder = VideoDecoder(self._path, deinterlace=self._deinterlace, clock=self._clock)
        except NotDecodable:
            raise self._no_frames("it is no video that FFmpeg reads, or its index is cut off") from None
        self._has_pictures = False

    def read(self) -> Frame | None:
        """The next picture of the file.

        Raises:
            SourceEnded: That was the last one of a whole file.
            SourceError: The file has not a single picture (`PE-SRC-003`), or it has ended and was damaged or cut off
                (`PE-SRC-040`).
        """
        assert self._decoder is not None
        try:
            picture = self._decoder.read()
        except EOFError:
            if not self._has_pictures:
                raise self._no_frames("it has no frame that can be decoded") from None
            if self._decoder.damage or self._decoder.truncated:
                raise damaged_video(self._path, self._decoder.damage, self._decoder.truncated) from None
            raise SourceEnded from None
        if picture is None:
            return None
        self._has_pictures = True
        return Frame(
            pixels=picture.pixels,
            frame_id=picture.number,
            captured_ns=picture.captured_ns,
            colour=Colour.RGB,
            source_stamp_ns=picture.time_ns,
            position_ns=picture.position_ns,
            damage=picture.damage,
            name=self._path.name,
        )

    def close(self) -> None:
        """Close the file; what was found out about it stays in `info`."""
        if self._decoder is not None:
            self._info = self.info
            self._decoder.close()
            self._decoder = None

    def _no_frames(self, why: str) -> SourceError:
        return SourceError(
            "PE-SRC-003",
            found=f"{self._path} has no frames ({why})",
            expected="a video with at least one frame, a picture, or a folder of pictures",
            next_step="check the file with: ffprobe FILE",
        )


def missing_file(path: Path) -> SourceError:
    """The error for a file or folder that is not there."""
    return SourceError(
        "PE-SRC-002",
        found=f"{path} is not there",
        expected="a video file, a picture or a folder of pictures",
        next_step="correct --source",
    )


def damaged_video(path: Path, damage: Mapping[str, int], truncated: str) -> SourceError:
    """The error at the end of a video of which something was damaged or missing."""
    told = "; ".join(text for text in (damage_words(damage), truncated) if text)
    return SourceError(
        DAMAGED,
        found=f"{path} is {'damaged' if damage else 'incomplete'}: {told}",
        expected="a whole video",
        next_step="copy it again from where it was made; what could be decoded was passed on",
    )
