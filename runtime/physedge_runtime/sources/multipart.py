"""The pictures in a stream of `multipart/x-mixed-replace`, as cameras really write it.

RFC 2046 puts `CRLF -- boundary` before each part and an empty line behind its headers. Cameras write the boundary with
or without dashes, state another one than they use, leave out the first one, the line break before it or the length,
state a wrong length, and fill up with zeros. So a part is taken to begin behind a line that is the boundary or before
one that is a header of content, and to end where its JPEG ends.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

_BEGIN, _END = b"\xff\xd8", b"\xff\xd9"
_PADDING = b"\r\n \0\xff"
_CONTENT = re.compile(rb"content-(type|length|disposition)[ \t]*:", re.IGNORECASE)
# In the entropy-coded data of a JPEG: a marker that is neither a stuffed byte, nor a restart, nor fill.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_START_OF_SCAN, _WITHOUT_LENGTH = 0xDA, frozenset({0x01, *range(0xD0, 0xD9)})
_LONGEST_LINE = 4096
_MOST_HEADERS = 32
_SHORTEST_MARK = 7  # a shorter boundary may stand in a picture by chance; the next picture tells then
LARGEST_PICTURE = 32 << 20


class Part:
    """One part of the stream.

    Attributes:
        headers: By their names in small letters.
        body: The JPEG; None where it is torn, or no JPEG.
        is_picture: Whether a picture was meant to stand here.
        size: Bytes that were read for it.
    """

    def __init__(self, headers: dict[str, str], body: bytes | None, size: int, *, is_picture: bool = True) -> None:
        self.headers, self.body, self.size, self.is_picture = headers, body, size, is_picture


class PartReader:
    """Takes parts off a stream of bytes.

    Args:
        receive: More bytes, as many as have come, at most so many; empty at the end.
        boundary: As the answer's header states it; empty where it states none.
        longest_s: Within which a part must be complete.
    """

    def __init__(self, receive: Callable[[int], bytes], boundary: str, longest_s: float) -> None:
        self._receive, self._longest_s = receive, longest_s
        self._buffer = bytearray()
        stated = boundary.encode("latin-1", "replace")
        bare = stated.removeprefix(b"--")
        self._boundaries = {line for line in (stated, bare, b"--" + stated, b"--" + bare) if line.strip(b"-")}
        self._delimiter = b"--" + bare if bare else b""
        self._give_up_s = 0.0
        self._lengths_hold = False  # once one was right, a picture that is not whole at its length is torn

    @property
    def waiting(self) -> int:
        """Bytes that have come and were not read."""
        return len(self._buffer)

    def read(self) -> Part:
        """The next part.

        Raises:
            ValueError: The stream ended, or what comes is no stream of pictures.
            OSError: Of the connection.
        """
        self._give_up_s = time.monotonic() + self._longest_s
        headers = self._headers()
        stated = headers.get("content-length", "")
        length = int(stated) if stated.isdecimal() else None
        if length is not None and length > LARGEST_PICTURE:
            raise ValueError("a picture larger than any camera's")
        if not headers.get("content-type", "image/jpeg").lower().startswith("image/") and length is not None:
            self._need(length)
            return Part(headers, None, len(self._take(length)), is_picture=False)
        if length is not None and self._lengths_hold:
            self._need(length)
            whole = self._take(length).lstrip(b"\r\n")
            is_whole = whole.startswith(_BEGIN) and whole.rstrip(_PADDING).endswith(_END)
            return Part(headers, whole if is_whole else None, length)
        part = self._to_end_of_jpeg(headers)
        self._lengths_hold = part.body is not None and part.size == length
        return part

    def _headers(self) -> dict[str, str]:
        """Of the next part; whatever stands before it is passed over."""
        before = b""
        headers: dict[str, str] = {}
        while True:
            line = self._line()
            if line in self._boundaries:
                self._delimiter = line
                line = self._line()
                break
            if _CONTENT.match(line):
                if 0 < len(before.strip(b"-")) and len(before) <= 72:  # a boundary's most characters: RFC 2046
                    self._delimiter = before
                break
            before = line or before
        while line:
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
            if len(headers) > _MOST_HEADERS:
                raise ValueError("more headers than a camera sends")
            line = self._line()
        return headers

    def _to_end_of_jpeg(self, headers: dict[str, str]) -> Part:
        """A part whose length is not stated, or wrongly: up to the end of its JPEG, or where it is torn."""
        self._need(2)
        while self._buffer[0] in b"\r\n":
            self._take(1)
            self._need(2)
        scan = JpegEnd()
        while True:
            end = scan.find(self._buffer)
            mark = self._delimiter if len(self._delimiter) >= _SHORTEST_MARK else b""
            torn = self._buffer.find(mark, 0, end) if mark else -1
            if torn >= 0 or scan.is_broken:
                size = len(self._take(max(torn, 0)))
                return Part(headers, None, size)
            if end is not None:
                body = self._take(end)
                return Part(headers, body, len(body))
            if len(self._buffer) > LARGEST_PICTURE:
                raise ValueError("a picture larger than any camera's")
            self._more()

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > _LONGEST_LINE:
                return self._take(_LONGEST_LINE)
            self._more()
        return self._take(end + 1).strip()

    def _need(self, size: int) -> None:
        while len(self._buffer) < size:
            self._more()

    def _more(self) -> None:
        if time.monotonic() > self._give_up_s:
            raise ValueError("no whole picture came for a while")
        received = self._receive(65536)
        if not received:
            raise ValueError("the connection was closed")
        self._buffer += received

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken


class JpegEnd:
    """Finds where a JPEG ends by walking its segments (ITU-T T.81, annex B); goes on where it stopped.

    Attributes:
        is_broken: It is no JPEG, or another one begins inside it.
    """

    def __init__(self) -> None:
        self._at, self._in_scan, self.is_broken = 0, False, False

    def find(self, content: bytearray) -> int | None:
        """The offset behind the JPEG that begins at 0; None where more bytes are needed."""
        if self._at == 0:
            if len(content) < 2:
                return None
            self.is_broken = not content.startswith(_BEGIN)
            self._at = 2
        while not self.is_broken:
            if self._in_scan:
                marker = _MARKER.search(content, self._at)
                if marker is None:
                    self._at = max(self._at, len(content) - 1)
                    return None
                self._at, self._in_scan = marker.start(), False
            if len(content) < self._at + 4 and content[self._at : self._at + 2] != _END:
                return None
            if content[self._at] != 0xFF:
                self.is_broken = True
            elif content[self._at + 1] == 0xFF:
                self._at += 1  # fill before a marker
            elif content[self._at + 1] == _END[1]:
                return self._at + 2
            elif content[self._at + 1] in _WITHOUT_LENGTH:
                self.is_broken = content[self._at + 1] == _BEGIN[1]
                self._at += 2
            else:
                self._in_scan = content[self._at + 1] == _START_OF_SCAN
                self._at += 2 + int.from_bytes(content[self._at + 2 : self._at + 4], "big")
        return None
