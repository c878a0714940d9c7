"""Results as JSON lines in a file that rotates and stays bounded. `docs/results_jsonl.md` is its schema."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from physedge_runtime.output_file import OutputFile, not_writable
from physedge_runtime.sinks.record import describe, describe_stream
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

_LARGEST_FILE_BYTES = 64 * 1024 * 1024
_FILES_KEPT = 4
_LINE_ENDS = str.maketrans({"\x85": "\\u0085", "\u2028": "\\u2028", "\u2029": "\\u2029"})

__all__ = ["JsonLinesSink", "not_writable", "utc_now"]


def utc_now() -> str:
    """The time of day for a log, never for a decision."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLinesSink:
    """One line for each picture and each change of state; no pixels.

    A full file is renamed to `FILE.1`, that to `FILE.2` and so on; the oldest is removed.

    Args:
        path: The file; `output.existing` says what becomes of an older one of that name.
        largest_bytes: A file that would grow beyond this is full.
        kept: Files in all, at least 1.
        utc: The time of day as text.

    Attributes:
        output: The file.
    """

    def __init__(
        self,
        path: Path,
        *,
        largest_bytes: int = _LARGEST_FILE_BYTES,
        kept: int = _FILES_KEPT,
        utc: Callable[[], str] = utc_now,
    ) -> None:
        self.name = f"jsonl {path.name}"
        self.output = OutputFile(path, is_log=True, rotations=kept - 1)
        self._largest_bytes, self._utc = largest_bytes, utc
        self._file: IO[bytes] | None = None
        self._size_bytes = 0
        self._info: StreamInfo | None = None

    def open(self, info: StreamInfo) -> None:
        """Create the file, or open it at its end, and write the line that begins a stream.

        Raises:
            UsageError: The file cannot be created (`PE-SINK-001`), is an input or is in use (`PE-OUT-001`,
                `PE-OUT-002`).
        """
        self._info = info
        try:
            self._begin(self.output.open(info.inputs))
        except OSError as error:
            self.close()
            raise not_writable(self.output.requested, error.strerror or str(error)) from error

    def write(self, item: StreamedFrame) -> None:
        """Write one line, all the way to the system.

        Raises:
            OSError: The disk is full or gone.
        """
        assert self._file is not None
        assert self._info is not None
        line = _line(describe(item, self._info, self._utc()))
        if self._size_bytes + len(line) > self._largest_bytes:
            self._rotate()
        self._put(line)
        self.output.publish()

    def close(self) -> None:
        """Close the file; none is left where nothing came after its first line."""
        if self._file is not None:
            self.output.discard()
            self._file = None

    def _put(self, line: bytes) -> None:
        assert self._file is not None
        self._file.write(line)
        self._size_bytes += len(line)

    def _begin(self, file: IO[bytes]) -> None:
        assert self._info is not None
        self._file = file
        self._size_bytes = file.seek(0, os.SEEK_END) if file.seekable() else 0
        self._put(_line(describe_stream(self._info, self._utc())))

    def _rotate(self) -> None:
        self.output.publish()
        self._begin(self.output.rotated())


def _line(content: dict[str, Any]) -> bytes:
    """One line, also for readers that end lines at every character that Unicode ends a line with."""
    text = json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_LINE_ENDS).encode() + b"\n"
