"""The file of `--record-raw`: what a stream was told, frame by frame, and what it decided. `docs/recording.md`.

    8 bytes     "physedg1"
    then records, each  4 bytes  length of the JSON text, little endian
                        4 bytes  length of the pixels
                        the JSON text, the pixels

A recording may break off (power, disk): it is then read up to its last whole record.
"""

from __future__ import annotations

import io
import json
import struct
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import IntegrityError, PhysedgeError, UsageError
from physedge_runtime.output_file import OutputFile

MAGIC = b"physedg1"
_LENGTHS = struct.Struct("<II")
_LARGEST_TEXT_BYTES = 1 << 20
_LARGEST_PIXELS_BYTES = 1 << 28
_QUEUE_BYTES = 1 << 28
_LARGEST_FILE_BYTES = 1 << 36
_LOOK_AGAIN_S = 0.1
_JOIN_S = 30.0

Record = dict[str, Any]


class RecordingWriter:
    """Writes records from a thread of its own, so that a slow disk never stalls a stream.

    A disk that cannot keep up (256 MiB wait), is full, or a file of 64 GiB ends the recording, not the stream; what was
    written stays whole.

    Args:
        output: The file; it gets its name with the first record behind the beginning.
        inputs: What is read meanwhile, and must not be written over.

    Attributes:
        output: The file.
        failure: Why the recording ended before the stream; empty as long as it goes on.

    Raises:
        UsageError: The file cannot be created (`PE-STREAM-004`), is an input or is in use (`PE-OUT-001`, `PE-OUT-002`).
    """

    def __init__(
        self, output: OutputFile | Path, *, inputs: Sequence[Path] = (), queue_bytes: int = _QUEUE_BYTES
    ) -> None:
        self.failure = ""
        self.output = output if isinstance(output, OutputFile) else OutputFile(output)
        self._queue_bytes = queue_bytes
        try:
            self._raw = self.output.open(inputs)
        except OSError as error:
            raise UsageError(
                "PE-STREAM-004",
                found=f"the recording {self.output.requested} cannot be written ({error.strerror or error})",
                expected="a file in a folder that exists and may be written to",
                next_step="name another file with --record-raw",
            ) from error
        self._queue: deque[tuple[Record, NDArray[Any] | None]] = deque()
        self._waiting_bytes = 0
        self._closing, self._keep = False, True
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="physedge-recording", daemon=True)
        self._thread.start()

    def put(self, record: Record, pixels: NDArray[Any] | None = None) -> None:
        """Queue one record; the pixels are read later and must not change."""
        with self._changed:
            if self.failure or self._closing:
                return
            self._waiting_bytes += 0 if pixels is None else pixels.nbytes
            if self._waiting_bytes > self._queue_bytes:
                self.failure = "the disk is too slow for the recording"
                return
            self._queue.append((record, pixels))
            self._changed.notify_all()

    def close(self, *, keep: bool = True) -> None:
        """Write what waits and close the file; `keep=False` leaves none where nothing followed the beginning."""
        with self._changed:
            self._closing, self._keep = True, self._keep and keep
            self._changed.notify_all()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        written = 0
        try:
            file = io.BufferedWriter(cast("io.RawIOBase", self._raw))
            file.write(MAGIC)
            while (item := self._next()) is not None:
                written += write_record(file, *item)
                file.flush()
                if item[0].get("call") != "begin":
                    self.output.publish()
                if written > _LARGEST_FILE_BYTES:
                    raise OSError("the recording has grown to 64 GiB")
            if self._keep:
                self.output.publish()
        except (OSError, PhysedgeError) as error:
            with self._changed:
                self.failure = self.failure or getattr(error, "strerror", None) or str(error)
                self._queue.clear()
        finally:
            self.output.discard()

    def _next(self) -> tuple[Record, NDArray[Any] | None] | None:
        with self._changed:
            while not self._queue:
                if self._closing:
                    return None
                self._changed.wait(_LOOK_AGAIN_S)
            record, pixels = self._queue.popleft()
            self._waiting_bytes -= 0 if pixels is None else pixels.nbytes
            return record, pixels


def write_record(file: IO[bytes], record: Record, pixels: NDArray[Any] | None = None) -> int:
    """Write one record and say how many bytes it took."""
    if pixels is not None:
        record = {**record, "dtype": pixels.dtype.str, "shape": list(pixels.shape)}
    text = json.dumps(record, separators=(",", ":")).encode()
    body = b"" if pixels is None else np.ascontiguousarray(pixels).tobytes()
    file.write(_LENGTHS.pack(len(text), len(body)) + text)
    file.write(body)
    return _LENGTHS.size + len(text) + len(body)


def read_records(path: Path) -> Iterator[tuple[Record, NDArray[Any] | None]]:
    """Every whole record of a recording, with its pixels.

    Raises:
        UsageError: The file cannot be opened (`PE-STREAM-005`).
        IntegrityError: It is no recording, or a record is damaged (`PE-STREAM-006`).
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise UsageError(
            "PE-STREAM-005",
            found=f"the recording {path} cannot be read ({error.strerror or error})",
            expected="a file that --record-raw wrote",
            next_step="name another file",
        ) from error
    with file:
        if file.read(len(MAGIC)) != MAGIC:
            raise _damaged(path, "it does not begin like one")
        while len(head := file.read(_LENGTHS.size)) == _LENGTHS.size:
            text_bytes, pixels_bytes = _LENGTHS.unpack(head)
            if text_bytes > _LARGEST_TEXT_BYTES or pixels_bytes > _LARGEST_PIXELS_BYTES:
                raise _damaged(path, "a record is larger than any")
            text, body = file.read(text_bytes), file.read(pixels_bytes)
            if len(text) < text_bytes or len(body) < pixels_bytes:
                return
            try:
                record = json.loads(text)
                yield record, _pixels(record, body)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise _damaged(path, f"a record says {type(error).__name__}") from error


def _pixels(record: Record, body: bytes) -> NDArray[Any] | None:
    if "dtype" not in record:
        return None
    if record["dtype"] not in ("|u1", "<f4"):
        raise ValueError(record["dtype"])
    return np.frombuffer(body, record["dtype"]).reshape([int(side) for side in record["shape"]])


def _damaged(path: Path, why: str) -> IntegrityError:
    return IntegrityError(
        "PE-STREAM-006",
        found=f"{path} is no whole recording ({why})",
        expected="a file that --record-raw wrote",
        next_step="copy it again",
    )
