"""Motion JPEG over HTTP, read byte by byte: a picture that came in part is found, counted and not shown.

FFmpeg fills up what is missing of a JPEG and says nothing, so that half of an old picture could be answered. Here every
part of the message (`multipart`) must begin and end as a JPEG does. Pictures that have queued up, since this machine
was too busy to take them, are passed over without being decoded.

A server may take a single connection in all (`ffmpeg -listen 1`), and may not say what it sends. So the first bytes
tell, and whoever reads on does so over the same connection.
"""

from __future__ import annotations

import array
import base64
import fcntl
import http.client
import socket
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources.base import SignalLost
from physedge_runtime.sources.multipart import PartReader
from physedge_runtime.sources.picture import decode_picture

_MULTIPART = "multipart/x-mixed-replace"
_MOST_PASSED_OVER = 100
_SILENCES = 3  # of the longest silence: within which a picture must be complete
_PLAYLIST = b"#EXT"
_NS_PER_S = 1_000_000_000


class MjpegConnection:
    """One open connection to a camera; pictures come out as frames.

    Args:
        response: Of the camera, at its first byte.
        connection: To be closed with it.
        sock: Below both.
        name: As a log may show it.
        clock: Monotonic nanoseconds.
        first_id: Number of the first frame.

    Attributes:
        next_id: Number of the next frame; a picture that is damaged or was passed over uses one up, so that the stream
            counts a gap.
    """

    def __init__(
        self,
        response: http.client.HTTPResponse,
        connection: http.client.HTTPConnection,
        sock: socket.socket,
        name: str,
        clock: Callable[[], int],
        first_id: int,
    ) -> None:
        self._response, self._connection, self._sock = response, connection, sock
        self._name, self._clock = name, clock
        self.next_id = first_id
        boundary = response.headers.get_boundary() or ""
        self._parts = PartReader(response.read1, boundary, _SILENCES * (sock.gettimeout() or 1))

    def read(self) -> Frame | None:
        """The next whole picture, stamped when its last byte had arrived; None in place of a damaged one.

        Raises:
            SignalLost: The connection broke, fell silent, or carries something else (`PE-SRC-008`).
        """
        try:
            part = self._parts.read()
            for _ in range(_MOST_PASSED_OVER):
                if part.is_picture and not self._has_waiting(part.size):
                    break
                self.next_id += part.is_picture
                part = self._parts.read()
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise _lost(self._name) from error
        captured_ns = self._clock()
        if not part.is_picture:
            return None
        number, self.next_id = self.next_id, self.next_id + 1
        pixels, colour = (None, Colour.RGB) if part.body is None else decode_picture(part.body)
        if pixels is None:
            return None
        return Frame(
            pixels=pixels,
            frame_id=number,
            captured_ns=captured_ns,
            colour=colour,
            source_stamp_ns=_stamp_ns(part.headers.get("x-timestamp", "")),
        )

    def _has_waiting(self, size_bytes: int) -> bool:
        """Whether as much as a whole picture has come in already behind the one that was read."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._sock.fileno(), termios.FIONREAD, waiting)
        return waiting[0] + self._parts.waiting > size_bytes

    def close(self) -> None:
        """Hang up."""
        self._response.close()
        self._connection.close()


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """A camera's answer that is no motion JPEG, at its first byte; closing `content` hangs up."""

    content: http.client.HTTPResponse
    connection: http.client.HTTPConnection

    def close(self) -> None:
        """Hang up."""
        self.content.close()
        self.connection.close()


def connect_mjpeg(
    url: str, name: str, *, clock: Callable[[], int] = time.monotonic_ns, timeout_s: float, read_s: float, first_id: int
) -> MjpegConnection | OpenAnswer | None:
    """A connection to a camera that sends motion JPEG; the open answer where an endless stream of something else comes.

    None where the address is left to FFmpeg: nobody answers, a password is asked for, or it is a file or a playlist,
    which is read by several requests.

    Args:
        url: `http://` or `https://`; user and password may stand in it.
        name: As a log may show it.
        clock: Monotonic nanoseconds.
        timeout_s: For the camera to answer.
        read_s: Silence after which the connection counts as lost.
        first_id: Number of the first frame.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    headers = {"User-Agent": "physedge", "Accept": _MULTIPART}
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", target, headers=headers)
        sock = connection.sock
        response = connection.getresponse()
        if response.status != http.client.OK:
            connection.close()
            return None
        is_parts = response.headers.get_content_maintype() == "multipart"
        head = b"" if is_parts else response.peek(512)
        is_parts = is_parts or _begins_as_parts(head)
        is_endless = response.headers.get("Content-Length") is None
        if not is_parts and (not is_endless or not head or head.startswith(_PLAYLIST)):
            connection.close()
            return None
        sock.settimeout(read_s)
    except (OSError, ValueError, http.client.HTTPException):
        connection.close()
        return None
    if not is_parts:
        return OpenAnswer(response, connection)
    return MjpegConnection(response, connection, sock, name, clock, first_id)


def _begins_as_parts(head: bytes) -> bool:
    """Whether an answer that does not say so consists of parts: dashes or a header stand where a video begins."""
    return head.lstrip(b"\r\n").lower().startswith((b"--", b"content-"))


def _stamp_ns(text: str) -> int | None:
    """The camera's own time, seconds with a fraction as mjpg-streamer sends it."""
    seconds, _, fraction = text.partition(".")
    if not seconds.isdecimal() or (fraction and not fraction.isdecimal()):
        return None
    return int(seconds) * _NS_PER_S + int(fraction.ljust(9, "0")[:9] or 0)


def _lost(name: str) -> SignalLost:
    return SignalLost(
        "PE-SRC-008",
        found=f"{name} was lost",
        expected="a camera that goes on sending",
        next_step="check the network and the camera's power",
    )
