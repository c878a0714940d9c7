"""Motion JPEG over HTTP, read byte by byte: a picture that came in part is found, counted and not shown.

FFmpeg fills up what is missing of a JPEG and says nothing, so that half of an old picture could be answered. Here every
part of the `multipart/x-mixed-replace` message must begin and end as a JPEG does. Pictures that have queued up in the
system's buffer, since this machine was too busy to take them, are passed over without being decoded.
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
from urllib.parse import unquote, urlsplit

from physedge_runtime.frame import Frame
from physedge_runtime.sources.base import SignalLost
from physedge_runtime.sources.picture import decode_picture

_MULTIPART = "multipart/x-mixed-replace"
_BEGIN, _END = b"\xff\xd8", b"\xff\xd9"
_LONGEST_LINE = 4096
_MOST_HEADERS = 32
_LARGEST_PICTURE = 32 << 20
_MOST_PASSED_OVER = 100
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
        self._boundary = b"--" + boundary.removeprefix("--").encode("latin-1")

    def read(self) -> Frame | None:
        """The next whole picture, stamped when its last byte had arrived; None in place of a damaged one.

        Raises:
            SignalLost: The connection broke, fell silent, or carries something else (`PE-SRC-008`).
        """
        try:
            headers = self._headers()
            body = self._body(headers)
            for _ in range(_MOST_PASSED_OVER):
                if not self._has_waiting(len(body)):
                    break
                self.next_id += 1
                headers = self._headers()
                body = self._body(headers)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise _lost(self._name) from error
        captured_ns = self._clock()
        number, self.next_id = self.next_id, self.next_id + 1
        if not (body.startswith(_BEGIN) and body.rstrip(b"\r\n\0").endswith(_END)):
            return None
        pixels, colour = decode_picture(body)
        if pixels is None:
            return None
        return Frame(
            pixels=pixels,
            frame_id=number,
            captured_ns=captured_ns,
            colour=colour,
            source_stamp_ns=_stamp_ns(headers.get("x-timestamp", "")),
        )

    def _has_waiting(self, size_bytes: int) -> bool:
        """Whether as much as a whole picture has come in already behind the one that was read."""
        waiting = array.array("i", [0])
        fcntl.ioctl(self._sock.fileno(), termios.FIONREAD, waiting)
        return waiting[0] > size_bytes

    def close(self) -> None:
        """Hang up."""
        self._response.close()
        self._connection.close()

    def _line(self) -> bytes:
        line = self._response.readline(_LONGEST_LINE)
        if not line:
            raise ValueError("the connection was closed")
        return line

    def _headers(self) -> dict[str, str]:
        """Of the next part; whatever stands before its boundary is passed over."""
        while not self._line().rstrip().startswith(self._boundary):
            pass
        headers: dict[str, str] = {}
        while line := self._line().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
            if len(headers) > _MOST_HEADERS:
                raise ValueError("more headers than a camera sends")
        return headers

    def _body(self, headers: dict[str, str]) -> bytes:
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return self._body_to_boundary()
        if int(length) > _LARGEST_PICTURE:
            raise ValueError("a picture larger than any camera's")
        body = self._response.read(int(length))
        if len(body) < int(length):
            raise ValueError("the connection was closed")
        return body

    def _body_to_boundary(self) -> bytes:
        """A camera that states no length: up to the picture's end."""
        body = bytearray()
        while not body.rstrip(b"\r\n").endswith(_END):
            body += self._line()
            if len(body) > _LARGEST_PICTURE:
                raise ValueError("a picture larger than any camera's")
        return bytes(body)


def connect_mjpeg(
    url: str, name: str, *, clock: Callable[[], int] = time.monotonic_ns, timeout_s: float, read_s: float, first_id: int
) -> MjpegConnection | None:
    """A connection to a camera that sends motion JPEG; None where this address gives anything else.

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
        if response.status != http.client.OK or response.headers.get_content_type() != _MULTIPART:
            connection.close()
            return None
        sock.settimeout(read_s)
    except (OSError, ValueError, http.client.HTTPException):
        connection.close()
        return None
    return MjpegConnection(response, connection, sock, name, clock, first_id)


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
