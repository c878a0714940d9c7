"""Voltages of an impedance tomograph: recorded in a file, or live over TCP, one frame a line.

A line holds the voltages of one frame in volts, separated by commas or blanks. The live form is what a few lines of
firmware can send: text lines over a TCP connection that we open.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import SourceError, UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.sources.base import READ_WAIT_S, SignalLost, Source, SourceEnded, SourceInfo
from physedge_runtime.sources.file import missing_file

VOLTAGES = "voltages:"
_CONNECT_TIMEOUT_S = 3.0
_LONGEST_LINE_BYTES = 1 << 20


class VoltageFileSource:
    """The frames of a `.npy` array (frame, voltage), or of a text file of one frame a line.

    Args:
        path: The file.
        clock: Monotonic nanoseconds.
    """

    def __init__(self, path: Path, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._path, self._clock = path, clock
        self._frames: NDArray[np.float32] | None = None
        self._next_id = 0

    @property
    def info(self) -> SourceInfo:
        """Not live, of no stated rate."""
        return SourceInfo(name=self._path.name, live=False, frames=None if self._frames is None else len(self._frames))

    def open(self) -> None:
        """Read the file.

        Raises:
            SourceError: It is missing (`PE-SRC-002`) or holds no voltages (`PE-SRC-015`).
        """
        if self._frames is not None:
            return
        if not self._path.is_file():
            raise missing_file(self._path)
        try:
            if self._path.suffix.lower() == ".npy":
                frames = np.load(self._path, allow_pickle=False)
            else:
                lines = self._path.read_text(encoding="utf-8").splitlines()
                frames = np.array([parse_voltages(line) for line in lines if line.strip() and line[0] != "#"])
            frames = np.atleast_2d(np.asarray(frames, np.float32))
        except (ValueError, OSError, UnicodeDecodeError) as error:
            raise _no_voltages(self._path.name, str(error).splitlines()[0]) from error
        if frames.ndim != 2 or not frames.size:
            raise _no_voltages(self._path.name, f"an array of {frames.shape}")
        self._frames, self._next_id = frames, 0

    def read(self) -> Frame | None:
        """The next frame.

        Raises:
            SourceEnded: That was the last one.
        """
        assert self._frames is not None
        if self._next_id >= len(self._frames):
            raise SourceEnded
        frame_id = self._next_id
        self._next_id += 1
        return Frame(pixels=self._frames[frame_id], frame_id=frame_id, captured_ns=self._clock())

    def close(self) -> None:
        """Let the array go."""
        self._frames = None


class VoltageTcpSource:
    """Frames of a device that sends one line a frame over TCP.

    Args:
        host: Of the device.
        port: Of the device.
        clock: Monotonic nanoseconds.
    """

    def __init__(self, host: str, port: int, *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._address, self._clock = (host, port), clock
        self.info = SourceInfo(name=f"voltages of {host}:{port}", live=True)
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._next_id = 0

    def open(self) -> None:
        """Connect.

        Raises:
            SignalLost: Nobody answers (`PE-SRC-016`).
        """
        if self._socket is not None:
            return
        try:
            self._socket = socket.create_connection(self._address, timeout=_CONNECT_TIMEOUT_S)
        except OSError as error:
            raise SignalLost(
                "PE-SRC-016",
                found=f"no device answers at {self._address[0]}:{self._address[1]} ({error.strerror or error})",
                expected="a device that sends voltages",
                next_step="switch it on, or correct --source voltages:tcp://HOST:PORT",
            ) from error
        self._socket.settimeout(READ_WAIT_S)
        self._received.clear()

    def read(self) -> Frame | None:
        """The next frame, stamped when its line was complete.

        Raises:
            SignalLost: The connection broke, or a line held no voltages (`PE-SRC-008`).
        """
        assert self._socket is not None
        while b"\n" not in self._received:
            try:
                chunk = self._socket.recv(65536)
            except TimeoutError:
                return None
            except OSError as error:
                raise self._lost(error.strerror or str(error)) from error
            if not chunk or len(self._received) > _LONGEST_LINE_BYTES:
                raise self._lost("the device closed the connection" if not chunk else "a line does not end")
            self._received += chunk
        captured_ns = self._clock()
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received[:] = rest
        try:
            voltages = parse_voltages(line.decode("ascii"))
        except (ValueError, UnicodeDecodeError) as error:
            raise self._lost("a line holds something else than numbers") from error
        frame = Frame(pixels=voltages, frame_id=self._next_id, captured_ns=captured_ns)
        self._next_id += 1
        return frame

    def close(self) -> None:
        """Disconnect."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _lost(self, why: str) -> SignalLost:
        return SignalLost(
            "PE-SRC-008",
            found=f"{self.info.name} were lost, {why}",
            expected="a device that goes on sending",
            next_step="check its cable and its power",
        )


def parse_voltages(line: str) -> NDArray[np.float32]:
    """float32 (voltage,) of a line of numbers separated by commas or blanks.

    Raises:
        ValueError: A word is no number.

    Example:
        >>> parse_voltages("0.5, 0.25 1")
        array([0.5 , 0.25, 1.  ], dtype=float32)
    """
    return np.array([float(word) for word in line.replace(",", " ").split()], np.float32)


def parse_voltage_source(text: str, *, clock: Callable[[], int] = time.monotonic_ns) -> Source:
    """The source for `voltages:FILE` or `voltages:tcp://HOST:PORT`.

    Raises:
        UsageError: The address has no host or port (`PE-SRC-017`).
    """
    rest = text.removeprefix(VOLTAGES)
    if not rest.startswith("tcp://"):
        return VoltageFileSource(Path(rest), clock=clock)
    try:
        parts = urlsplit(rest)
        if parts.hostname and parts.port:
            return VoltageTcpSource(parts.hostname, parts.port, clock=clock)
    except ValueError:
        pass
    raise UsageError(
        "PE-SRC-017",
        found=f"the address '{rest}'",
        expected="voltages:tcp://HOST:PORT or voltages:FILE",
        next_step="correct --source",
    )


def _no_voltages(name: str, why: str) -> SourceError:
    return SourceError(
        "PE-SRC-015",
        found=f"{name} holds no voltages ({why})",
        expected="a .npy array (frame, voltage), or lines of numbers, one frame a line, all of one length",
        next_step="check the file",
    )
