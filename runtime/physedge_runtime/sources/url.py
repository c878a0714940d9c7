"""A network camera: motion JPEG over HTTP, RTSP, and what else FFmpeg reads, without its password in any message."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources.base import SignalLost, SourceInfo
from physedge_runtime.sources.mjpeg import MjpegConnection, connect_mjpeg
from physedge_runtime.sources.opencv import frame_period_ns, import_opencv, is_picture

if TYPE_CHECKING:
    import cv2

URL_SCHEMES = ("http", "https", "rtsp", "rtsps")
_OPEN_TIMEOUT_MS = 3000
_READ_TIMEOUT_MS = 1000


class UrlSource:
    """Frames of a network camera.

    A lost connection is opened again by the stream, with back-off. FFmpeg keeps a buffer of its own; the stream's
    grabber empties it at the camera's speed, so that it never fills.

    Args:
        url: `rtsp://`, `rtsps://`, `http://` or `https://`; user and password may stand in it.
        clock: Monotonic nanoseconds.
        read_timeout_ms: Silence of the camera after which the connection counts as lost.
    """

    def __init__(
        self, url: str, *, clock: Callable[[], int] = time.monotonic_ns, read_timeout_ms: int = _READ_TIMEOUT_MS
    ) -> None:
        self._url = url
        self._name = redact_url(url)
        self._clock = clock
        self._read_timeout_ms = read_timeout_ms
        self._mjpeg: MjpegConnection | None = None
        self._capture: cv2.VideoCapture | None = None
        self._period_ns: int | None = None
        self._next_id = 0

    @property
    def info(self) -> SourceInfo:
        """Live; named by scheme, host and port alone."""
        return SourceInfo(name=self._name, live=True, period_ns=self._period_ns)

    def open(self) -> None:
        """Connect.

        Raises:
            SignalLost: Nobody answers, or what is sent is no video (`PE-SRC-006`).
        """
        if self._capture is not None or self._mjpeg is not None:
            return
        if self._url.lower().startswith("http"):
            self._mjpeg = connect_mjpeg(
                self._url,
                self._name,
                clock=self._clock,
                timeout_s=_OPEN_TIMEOUT_MS / 1000,
                read_s=self._read_timeout_ms / 1000,
                first_id=self._next_id,
            )
            if self._mjpeg is not None:
                return
        cv2 = import_opencv()
        limits = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_TIMEOUT_MS),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, self._read_timeout_ms),
        ]
        capture = cv2.VideoCapture(self._url, cv2.CAP_FFMPEG, limits)
        if not capture.isOpened():
            capture.release()
            raise SignalLost(
                "PE-SRC-006",
                found=f"{self._name} does not answer with a video",
                expected="a network camera that is switched on and lets this user in",
                next_step="check the address, the user and the password, and try it with ffprobe",
            )
        self._capture, self._period_ns = capture, frame_period_ns(capture)

    def read(self) -> Frame | None:
        """The next picture, stamped when its last byte had arrived; None in place of one that came in part.

        Raises:
            SignalLost: The connection broke or fell silent (`PE-SRC-008`).
        """
        if self._mjpeg is not None:
            frame = self._mjpeg.read()
            self._next_id = self._mjpeg.next_id
            return frame
        assert self._capture is not None
        if not self._capture.grab():
            raise SignalLost(
                "PE-SRC-008",
                found=f"{self._name} was lost",
                expected="a camera that goes on sending",
                next_step="check the network and the camera's power",
            )
        captured_ns = self._clock()
        decoded, pixels = self._capture.retrieve()
        if not decoded or not is_picture(pixels):
            return None
        frame = Frame(pixels=pixels, frame_id=self._next_id, captured_ns=captured_ns, colour=Colour.BGR)
        self._next_id += 1
        return frame

    def close(self) -> None:
        """Disconnect."""
        if self._mjpeg is not None:
            self._mjpeg.close()
            self._mjpeg = None
        if self._capture is not None:
            self._capture.release()
            self._capture = None


def redact_url(url: str) -> str:
    """Scheme, host and port of a URL: user, password, path and query are left out.

    Cameras carry passwords in all four.

    Example:
        >>> redact_url("rtsp://admin:geheim@10.0.0.7:554/user=admin_password=x?token=y")
        'rtsp://10.0.0.7:554/...'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "?", parts.port
    except ValueError:
        return "a URL that cannot be read"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}/..."
