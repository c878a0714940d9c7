"""Voltages of an impedance tomograph: recorded in a file, or live over TCP, one frame a line.

A network that images differences takes in (2, voltage): the body at rest, and now. The source joins both, so that
what is recorded of a stream is complete in itself. A line holds the voltages of one frame in volts, separated by
commas or blanks. The live form is what a few lines of firmware can send: text lines over a TCP connection that we
open.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Frame, VoltageSpec
from physedge_runtime.sources.base import READ_WAIT_S, SignalLost, Source, SourceEnded, SourceInfo
from physedge_runtime.sources.voltage_files import MATLAB, parse_voltages, read_voltages

VOLTAGES = "voltages:"
REFERENCE_FRAMES = 8
_REFERENCE = "?reference="
_CONNECT_TIMEOUT_S = 3.0
_LONGEST_LINE_BYTES = 1 << 20


class Reference:
    """The frame of the body at rest, for networks that image differences from it.

    Args:
        path: A file as `voltage_files` reads it, several frames are averaged; None where the source has it otherwise.
        takes_first: The first frames of the source are the reference, averaged.
    """

    def __init__(self, path: Path | None = None, *, takes_first: bool = False) -> None:
        self._path, self._takes_first = path, takes_first
        self._spec: VoltageSpec | None = None
        self._frame: NDArray[np.float32] | None = None
        self._first: list[NDArray[np.float32]] = []

    def declare(self, spec: VoltageSpec | None) -> None:
        """Say what the network takes in, before the first frame.

        Raises:
            SourceError: The file cannot be read (`PE-SRC-002`, `PE-SRC-015`).
            UsageError: The network needs a reference and there is none (`PE-SRC-018`), or the file has other patterns
                (`PE-FRAME-003`).
        """
        self._spec = spec
        if spec is None or not spec.reference:
            return
        if self._path is not None:
            self._frame = read_voltages(self._path, spec).reshape(-1, spec.count).mean(axis=0, dtype=np.float32)
        elif not self._takes_first:
            raise UsageError(
                "PE-SRC-018",
                found="voltages without a reference frame",
                expected="the frame of the body at rest: this network images differences from it",
                next_step="add ?reference=FILE to --source, or ?reference=first where the body is at rest in the"
                f" first {REFERENCE_FRAMES} frames",
            )

    @property
    def needs_frames(self) -> bool:
        """Whether frames are still taken for the reference."""
        wanted = self._spec is not None and self._spec.reference and self._takes_first
        return wanted and self._frame is None

    def take(self, frame: NDArray[np.float32]) -> None:
        """Take one of the first frames."""
        self._first.append(frame)
        if len(self._first) == REFERENCE_FRAMES:
            self._frame = np.stack(self._first).mean(axis=0, dtype=np.float32)

    def join(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        """(2, voltage): the reference and the frame; the frame alone where no reference is wanted or it has one.

        Raises:
            UsageError: They have different lengths (`PE-FRAME-002`).
        """
        if self._frame is None or frame.ndim == 2:
            return frame
        if self._frame.shape != frame.shape:
            raise UsageError(
                "PE-FRAME-002",
                found=f"{frame.size} voltages in a frame and {self._frame.size} in its reference",
                expected="the same number",
                next_step="give a reference that was measured with the same protocol",
            )
        return np.stack([self._frame, frame])


class VoltageFileSource:
    """The frames of a file or folder that `voltage_files` can read.

    Args:
        path: The file or folder.
        reference: For networks that take one in.
        clock: Monotonic nanoseconds.
    """

    def __init__(
        self, path: Path, *, reference: Reference | None = None, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._path, self._clock = path, clock
        self._reference = reference or Reference()
        self._spec: VoltageSpec | None = None
        self._frames: NDArray[np.float32] | None = None
        self._next_id = 0

    @property
    def info(self) -> SourceInfo:
        """Not live, of no stated rate."""
        return SourceInfo(name=self._path.name, live=False, frames=None if self._frames is None else len(self._frames))

    def declare(self, spec: VoltageSpec | None) -> None:
        """Say what the network takes in; the file is read again where that changes what is read of it.

        Raises:
            PhysedgeError: As `Reference.declare` and `read_voltages`.
        """
        self._spec = spec
        frames = read_voltages(self._path, spec)
        if frames.ndim == 2:
            self._reference.declare(spec)
        self._frames = frames if self._frames is not None else None

    def open(self) -> None:
        """Read the file.

        Raises:
            SourceError: It is missing (`PE-SRC-002`) or holds no voltages (`PE-SRC-015`).
        """
        if self._frames is None:
            self._frames, self._next_id = read_voltages(self._path, self._spec), 0

    def read(self) -> Frame | None:
        """The next frame.

        Raises:
            SourceEnded: That was the last one.
        """
        assert self._frames is not None
        while self._reference.needs_frames and self._next_id < len(self._frames):
            self._reference.take(self._frames[self._next_id])
            self._next_id += 1
        if self._next_id >= len(self._frames):
            raise SourceEnded
        frame_id = self._next_id
        self._next_id += 1
        voltages = self._reference.join(self._frames[frame_id])
        return Frame(pixels=voltages, frame_id=frame_id, captured_ns=self._clock())

    def close(self) -> None:
        """Let the array go."""
        self._frames = None


class VoltageTcpSource:
    """Frames of a device that sends one line a frame over TCP.

    Args:
        host: Of the device.
        port: Of the device.
        reference: For networks that take one in; kept when the connection is made anew.
        clock: Monotonic nanoseconds.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        reference: Reference | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._address, self._clock = (host, port), clock
        self._reference = reference or Reference()
        self.info = SourceInfo(name=f"voltages of {host}:{port}", live=True)
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._next_id = 0

    def declare(self, spec: VoltageSpec | None) -> None:
        """Say what the network takes in.

        Raises:
            PhysedgeError: As `Reference.declare`.
        """
        self._reference.declare(spec)

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
        if self._reference.needs_frames:
            self._reference.take(voltages)
            return None
        frame = Frame(pixels=self._reference.join(voltages), frame_id=self._next_id, captured_ns=captured_ns)
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


def parse_voltage_source(text: str, *, clock: Callable[[], int] = time.monotonic_ns) -> Source:
    """The source for `voltages:FILE`, `voltages:DIR` or `voltages:tcp://HOST:PORT`, each with `?reference=FILE|first`.

    Raises:
        UsageError: The address has no host or port (`PE-SRC-017`).
    """
    rest, _, option = text.removeprefix(VOLTAGES).partition(_REFERENCE)
    reference = Reference(None if option in ("", "first") else Path(option), takes_first=option == "first")
    if not rest.startswith("tcp://"):
        return VoltageFileSource(Path(rest), reference=reference, clock=clock)
    try:
        parts = urlsplit(rest)
        if parts.hostname and parts.port:
            return VoltageTcpSource(parts.hostname, parts.port, reference=reference, clock=clock)
    except ValueError:
        pass
    raise UsageError(
        "PE-SRC-017",
        found=f"the address '{rest}'",
        expected="voltages:tcp://HOST:PORT or voltages:FILE",
        next_step="correct --source",
    )


def is_voltage_file(text: str) -> bool:
    """Whether a text names a file that can only be voltages."""
    return Path(text.partition(_REFERENCE)[0]).suffix.lower() == MATLAB
