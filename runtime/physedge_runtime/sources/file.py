"""A video file, every frame in order; a single picture is a video of one frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from physedge_runtime.errors import SourceError
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources.base import SourceEnded, SourceInfo
from physedge_runtime.sources.opencv import frame_period_ns, import_opencv, is_picture

if TYPE_CHECKING:
    import cv2


class VideoFileSource:
    """The frames of a video file; `frame_id` is the frame's number in the file, from 0.

    Args:
        path: The file.
        clock: Monotonic nanoseconds.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._path = path
        self._clock = clock
        self._capture: cv2.VideoCapture | None = None
        self._period_ns: int | None = None
        self._frames: int | None = None
        self._next_id = 0

    @property
    def info(self) -> SourceInfo:
        """Not live; period and number of frames as the container states them."""
        return SourceInfo(name=self._path.name, live=False, period_ns=self._period_ns, frames=self._frames)

    def open(self) -> None:
        """Open the file at its first frame.

        Raises:
            SourceError: The file is missing (`PE-SRC-002`) or is no video (`PE-SRC-003`).
        """
        if self._capture is not None:
            return
        if not self._path.is_file():
            raise missing_file(self._path)
        cv2 = import_opencv()
        capture = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            capture.release()
            raise self._no_frames("it is no video that FFmpeg reads")
        frames = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self._capture, self._period_ns, self._next_id = capture, frame_period_ns(capture), 0
        self._frames = frames if frames > 0 else None

    def read(self) -> Frame | None:
        """The next frame of the file.

        Raises:
            SourceEnded: That was the last one.
            SourceError: The file has not a single frame (`PE-SRC-003`).
        """
        assert self._capture is not None
        decoded, pixels = self._capture.read()
        if not decoded or not is_picture(pixels):
            if self._next_id == 0:
                raise self._no_frames("it has no frame that can be decoded")
            raise SourceEnded
        frame_id = self._next_id
        self._next_id += 1
        return Frame(
            pixels=pixels,
            frame_id=frame_id,
            captured_ns=self._clock(),
            colour=Colour.BGR,
            source_stamp_ns=None if self._period_ns is None else frame_id * self._period_ns,
            name=self._path.name,
        )

    def close(self) -> None:
        """Close the file."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

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
