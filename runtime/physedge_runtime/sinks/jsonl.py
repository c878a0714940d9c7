"""Results as JSON lines in a file that rotates and stays bounded. `docs/results_jsonl.md` is its schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from physedge_runtime.errors import UsageError
from physedge_runtime.sinks.record import describe, describe_stream
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

_LARGEST_FILE_BYTES = 64 * 1024 * 1024
_FILES_KEPT = 4


def utc_now() -> str:
    """The time of day for a log, never for a decision."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class JsonLinesSink:
    """One line for each picture and each change of state; no pixels.

    A full file is renamed to `FILE.1`, that to `FILE.2` and so on; the oldest is removed.

    Args:
        path: The file; an older one of that name is replaced.
        largest_bytes: A file that would grow beyond this is full.
        kept: Files in all, at least 1.
        utc: The time of day as text.
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
        self._path, self._largest_bytes, self._kept, self._utc = path, largest_bytes, kept, utc
        self._file: IO[bytes] | None = None
        self._size_bytes = 0
        self._info: StreamInfo | None = None

    def open(self, info: StreamInfo) -> None:
        """Create the file and write its first line.

        Raises:
            UsageError: The file cannot be created (`PE-SINK-001`).
        """
        self._info = info
        try:
            self._start_file()
        except OSError as error:
            self.close()
            raise not_writable(self._path, error.strerror or str(error)) from error

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

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _put(self, line: bytes) -> None:
        assert self._file is not None
        self._file.write(line)
        self._size_bytes += len(line)

    def _start_file(self) -> None:
        assert self._info is not None
        self._file = self._path.open("wb", buffering=0)
        self._size_bytes = 0
        self._put(_line(describe_stream(self._info, self._utc())))

    def _rotate(self) -> None:
        self.close()
        for number in range(self._kept - 1, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        self._start_file()

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")


def _line(content: dict[str, Any]) -> bytes:
    return json.dumps(content, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def not_writable(path: Path, why: str) -> UsageError:
    """The error for a file that cannot be created."""
    return UsageError(
        "PE-SINK-001",
        found=f"{path} cannot be written ({why})",
        expected="a file in a folder that exists and may be written to",
        next_step="name another file, or create the folder",
    )
