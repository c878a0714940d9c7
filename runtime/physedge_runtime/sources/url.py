"""A network camera: motion JPEG over HTTP, RTSP, and what else FFmpeg reads, without its password in any message."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import BinaryIO, cast
from urllib.parse import urlsplit

from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources.base import SignalLost, SourceInfo
from physedge_runtime.sources.deinterlace import Deinterlace
from physedge_runtime.sources.mjpeg import MjpegConnection, OpenAnswer, connect_mjpeg
from physedge_runtime.sources.packets import NotDecodable
from physedge_runtime.sources.video import VideoDecoder

URL_SCHEMES = ("http", "https", "rtsp", "rtsps")
_OPEN_TIMEOUT_MS = 3000
_READ_TIMEOUT_MS = 1000
_OPTIONS = {
    "fpsprobesize": "0",  # counting pictures for a rate would hold the first ones back for seconds
    "rtsp_flags": "prefer_tcp",  # else a packet that the network loses is a hole in the picture
    # No files: who answers is a stranger.
    "protocol_whitelist": "http,https,httpproxy,rtsp,rtp,udp,tcp,tls,crypto,data",
}


class UrlSource:
    """Frames of a network camera.

    A lost connection is opened again by the stream, with back-off. FFmpeg keeps a buffer of its own; the stream's
    grabber empties it at the camera's speed, so that it never fills.

    Args:
        url: `rtsp://`, `rtsps://`, `http://` or `https://`; user and password may stand in it.
        deinterlace: What is done with interlaced pictures.
        clock: Monotonic nanoseconds.
        read_timeout_ms: Silence of the camera after which the connection counts as lost.
    """

    def __init__(
        self,
        url: str,
        *,
        deinterlace: Deinterlace = Deinterlace.AUTO,
        clock: Callable[[], int] = time.monotonic_ns,
        read_timeout_ms: int = _READ_TIMEOUT_MS,
    ) -> None:
        self._url = url
        self._name = redact_url(url)
        self._clock, self._deinterlace = clock, deinterlace
        self._read_timeout_ms = read_timeout_ms
        self._mjpeg: MjpegConnection | None = None
        self._answer: OpenAnswer | None = None
        self._decoder: VideoDecoder | None = None
        self._damage_before: Counter[str] = Counter()
        self._notes: list[str] = []
        self._first_id = self._next_id = 0

    @property
    def info(self) -> SourceInfo:
        """Live; named by scheme, host and port alone."""
        notes = tuple(self._notes if self._decoder is None else self._decoder.notes)
        return SourceInfo(name=self._name, live=True, damage=dict(self._damage()), notes=notes)

    def deinterlace_by(self, how: Deinterlace) -> None:
        """Say what is done with interlaced pictures, before it is opened."""
        self._deinterlace = how

    def open(self) -> None:
        """Connect.

        Raises:
            SignalLost: Nobody answers, or what is sent is no video (`PE-SRC-006`).
        """
        if self._decoder is not None or self._mjpeg is not None:
            return
        answer: OpenAnswer | None = None
        if self._url.lower().startswith("http"):
            found = connect_mjpeg(
                self._url,
                self._name,
                clock=self._clock,
                timeout_s=_OPEN_TIMEOUT_MS / 1000,
                read_s=self._read_timeout_ms / 1000,
                first_id=self._next_id,
            )
            if isinstance(found, MjpegConnection):
                self._mjpeg = found
                return
            answer = found
        try:
            self._decoder = VideoDecoder(
                self._url if answer is None else cast("BinaryIO", answer.content),  # there may be no second connection
                deinterlace=self._deinterlace,
                live=True,
                timeout_s=(_OPEN_TIMEOUT_MS / 1000, self._read_timeout_ms / 1000),
                options=_OPTIONS,
                clock=self._clock,
            )
        except NotDecodable:
            if answer is not None:
                answer.close()
            raise SignalLost(
                "PE-SRC-006",
                found=f"{self._name} does not answer with a video",
                expected="a network camera that is switched on and lets this user in",
                next_step="check the address, the user and the password, and try it with ffprobe",
            ) from None
        self._answer = answer
        self._decoder.notes[:0] = self._notes  # told once, whatever the number of connections
        self._first_id = self._next_id

    def read(self) -> Frame | None:
        """The next picture, stamped when its last byte had arrived; None in place of one that came in part.

        Raises:
            SignalLost: The connection broke or fell silent (`PE-SRC-008`).
        """
        if self._mjpeg is not None:
            frame = self._mjpeg.read()
            self._next_id = self._mjpeg.next_id
            return frame
        assert self._decoder is not None
        try:
            picture = self._decoder.read()
        except (ConnectionError, EOFError):
            raise SignalLost(
                "PE-SRC-008",
                found=f"{self._name} was lost",
                expected="a camera that goes on sending",
                next_step="check the network and the camera's power",
            ) from None
        if picture is None:
            return None
        frame_id = self._first_id + picture.number
        self._next_id = frame_id + 1
        return Frame(
            pixels=picture.pixels,
            frame_id=frame_id,
            captured_ns=picture.captured_ns,
            colour=Colour.RGB,
            source_stamp_ns=picture.time_ns,
            damage=picture.damage,
        )

    def close(self) -> None:
        """Disconnect."""
        if self._mjpeg is not None:
            self._mjpeg.close()
            self._mjpeg = None
        if self._decoder is not None:
            self._damage_before, self._notes = self._damage(), list(self._decoder.notes)
            self._decoder.close()
            self._decoder = None
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _damage(self) -> Counter[str]:
        """Counts over all connections."""
        return self._damage_before + (Counter() if self._decoder is None else self._decoder.damage)


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
