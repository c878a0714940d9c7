"""The stream as people saw it: a video of the pictures with their answers."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import UsageError
from physedge_runtime.output_file import OutputFile, not_writable
from physedge_runtime.sinks.overlay import Overlay
from physedge_runtime.sources.opencv import import_opencv
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

if TYPE_CHECKING:
    import cv2

_CODECS = {".avi": "MJPG", ".mp4": "mp4v", ".webm": "VP80"}
_NS_PER_S = 1_000_000_000
_DEFAULT_RATE_HZ = 25.0
_LIVE_RATE_HZ = 30.0
_LONGEST_GAP_S = 10
_LEAST_FREE_BYTES = 32 * 1024 * 1024
_FRAMES_BETWEEN_DISK_CHECKS = 30


class VideoSink:
    """Writes an overlay video of the first picture's size.

    Of a file, every frame once. Of a live source, at 30 frames a second in real time: a picture is repeated until the
    next one, so that the video lasts as long as the stream did and shows when nothing came.

    Args:
        path: `.mp4`, `.avi` or `.webm`; `output.existing` says what becomes of an older file of that name.

    Attributes:
        output: The file; until the film is whole it is called `NAME.partial.mp4`.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"video {path.name}"
        self.output = OutputFile(path)
        self._overlay: Overlay | None = None
        self._info: StreamInfo | None = None
        self._rate_hz = _DEFAULT_RATE_HZ
        self._writer: cv2.VideoWriter | None = None
        self._size_px = (0, 0)
        self._last: NDArray[np.uint8] | None = None
        self._start_ns = 0
        self._written = 0

    def open(self, info: StreamInfo) -> None:
        """Claim the file; the film is begun with the first picture.

        Raises:
            UsageError: The ending names no video (`PE-SINK-003`), the file cannot be created (`PE-SINK-001`), is an
                input or is in use (`PE-OUT-001`, `PE-OUT-002`).
        """
        path = self.output.requested
        if path.suffix.lower() not in _CODECS:
            raise UsageError(
                "PE-SINK-003",
                found=f"a video named {path.name}",
                expected=f"a name that ends in {', '.join(_CODECS)}",
                next_step="choose another ending",
            )
        overlay = Overlay(info)
        try:
            self.output.open(info.inputs)
        except OSError as error:
            raise not_writable(path, error.strerror or str(error)) from error
        self._info, self._overlay = info, overlay
        if info.live:
            self._rate_hz = _LIVE_RATE_HZ
        elif info.period_ns:
            self._rate_hz = _NS_PER_S / info.period_ns

    def write(self, item: StreamedFrame) -> None:
        """Draw one picture and write it.

        Raises:
            OSError: Less than 32 MiB are left on the disk; OpenCV itself would not say that it is full.
        """
        assert self._overlay is not None
        assert self._info is not None
        if not self._info.live and item.frame is None:
            return
        drawn = self._overlay.draw(item)
        if drawn is None:
            return
        if self._writer is None:
            self._begin(drawn, item.at_ns)
        if self._info.live:
            self._fill_until(item.at_ns)
            self._last = drawn
        else:
            self._put(drawn)

    def close(self) -> None:
        """Finish the film and give it its name; none is left where no picture came."""
        if self._writer is not None:
            if self._last is not None:
                self._put(self._last)
            self._writer.release()
            self._writer = None
            self.output.publish()
        self.output.discard()

    def _begin(self, first: NDArray[np.uint8], at_ns: int) -> None:
        cv2 = import_opencv()
        self._size_px, self._start_ns = (first.shape[1], first.shape[0]), at_ns
        path = self.output.writing
        codec = cv2.VideoWriter.fourcc(*_CODECS[path.suffix.lower()])
        writer = cv2.VideoWriter(str(path), codec, self._rate_hz, self._size_px)
        self._writer = writer
        if not writer.isOpened():
            raise OSError(errno.EIO, f"OpenCV cannot write {path.suffix} of {self._size_px}")

    def _fill_until(self, at_ns: int) -> None:
        """Repeat the last picture up to now; a gap that no viewer would sit through is cut short."""
        if self._last is None:
            return
        wanted = int((at_ns - self._start_ns) * self._rate_hz / _NS_PER_S)
        longest = round(_LONGEST_GAP_S * self._rate_hz)
        if wanted - self._written > longest:
            self._start_ns += round((wanted - self._written - longest) * _NS_PER_S / self._rate_hz)
            wanted = self._written + longest
        while self._written < wanted:
            self._put(self._last)

    def _put(self, picture: NDArray[np.uint8]) -> None:
        assert self._writer is not None
        if self._written % _FRAMES_BETWEEN_DISK_CHECKS == 0:
            self._check_disk()
        height, width = picture.shape[:2]
        if (width, height) != self._size_px:
            picture = _fitted(picture, self._size_px)
        self._writer.write(picture)
        self._written += 1

    def _check_disk(self) -> None:
        if shutil.disk_usage(self.output.path.parent).free < _LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, "less than 32 MiB are left on the disk")


def _fitted(picture: NDArray[np.uint8], size_px: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture at another size, its shape kept, on black."""
    cv2 = import_opencv()
    scale = min(size_px[0] / picture.shape[1], size_px[1] / picture.shape[0])
    width, height = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    canvas = np.zeros((size_px[1], size_px[0], 3), np.uint8)
    top, left = (size_px[1] - height) // 2, (size_px[0] - width) // 2
    canvas[top : top + height, left : left + width] = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
    return canvas
