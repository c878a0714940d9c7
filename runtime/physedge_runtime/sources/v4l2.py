"""What a Video4Linux camera can do and is set to, asked of its driver: formats, sizes, rates and controls.

Numbers and layouts are those of `linux/videodev2.h`; a test holds them against that file where it is installed.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

Ioctl = Callable[[int, int, bytearray], object]
"""File descriptor, request, the structure that is read and written; raises OSError."""

_READ, _WRITE = 2, 1


def _request(direction: int, number: int, layout: struct.Struct) -> int:
    return direction << 30 | layout.size << 16 | ord("V") << 8 | number


CAPABILITY = struct.Struct("<16s32s32sIII3I")
FORMAT = struct.Struct("<III32sII3I")
FRAME_SIZE = struct.Struct("<III6I2I")
FRAME_INTERVAL = struct.Struct("<IIIII6I2I")
QUERY_CONTROL = struct.Struct("<II32siiiiI2I")
CONTROL = struct.Struct("<Ii")

QUERYCAP = _request(_READ, 0, CAPABILITY)
ENUM_FMT = _request(_READ | _WRITE, 2, FORMAT)
ENUM_FRAMESIZES = _request(_READ | _WRITE, 74, FRAME_SIZE)
ENUM_FRAMEINTERVALS = _request(_READ | _WRITE, 75, FRAME_INTERVAL)
QUERYCTRL = _request(_READ | _WRITE, 36, QUERY_CONTROL)
G_CTRL = _request(_READ | _WRITE, 27, CONTROL)
S_CTRL = _request(_READ | _WRITE, 28, CONTROL)

_CAPTURE, _DEVICE_CAPS, _STREAMING = 0x1, 0x80000000, 0x04000000
_VIDEO_CAPTURE = 1
_DISCRETE = 1
_NEXT_CONTROL = 0x80000000
_DISABLED, _READ_ONLY = 0x1, 0x4
_INTEGER, _BOOLEAN, _MENU = 1, 2, 3
_MOST = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraMode:
    """A format and size that a camera offers.

    Attributes:
        format: Four characters, for example `MJPG` or `YUYV`.
        width, height: Pixels; the largest where the driver offers a range.
        rates_hz: Pictures a second, largest first; empty where the driver does not say.
    """

    format: str
    width: int
    height: int
    rates_hz: tuple[float, ...]

    def __str__(self) -> str:
        rates = ", ".join(f"{rate:g}" for rate in self.rates_hz)
        return f"{self.format} {self.width}x{self.height}{f' at {rates}' if rates else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraControl:
    """Something about a camera that can be set.

    Attributes:
        number: The driver's.
        name: As `v4l2-ctl` writes it: small letters and underscores.
        lowest, highest, usual: Values, in the driver's unit.
    """

    number: int
    name: str
    lowest: int
    highest: int
    usual: int


class V4l2Device(AbstractContextManager["V4l2Device"]):
    """An open camera device, asked beside whoever streams from it: Linux lets several programs open one.

    Args:
        path: `/dev/videoN`.
        ioctl: For tests, a driver that is none.

    Raises:
        OSError: It is not there, or may not be opened.
    """

    def __init__(self, path: Path, *, ioctl: Ioctl | None = None) -> None:
        self._ioctl = ioctl or _system_ioctl
        self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def card(self) -> str:
        """The camera's name; empty where the device is none that gives pictures.

        Raises:
            OSError: It is no Video4Linux device.
        """
        _, card, _, _, everything, own, *_ = self._ask(QUERYCAP, CAPABILITY, bytearray(CAPABILITY.size))
        able = own if everything & _DEVICE_CAPS else everything
        return _text(card) if able & _CAPTURE and able & _STREAMING else ""

    def modes(self) -> list[CameraMode]:
        """Every format with every size."""
        found = []
        for index in range(_MOST):
            given = FORMAT.pack(index, _VIDEO_CAPTURE, 0, b"", 0, 0, 0, 0, 0)
            answer = self._try(ENUM_FMT, FORMAT, given)
            if answer is None:
                break
            code = answer[4]
            for width, height in self._sizes(code):
                rates_hz = tuple(sorted(self._rates_hz(code, width, height), reverse=True))
                found.append(CameraMode(format=fourcc(code), width=width, height=height, rates_hz=rates_hz))
        return found

    def controls(self) -> list[CameraControl]:
        """Every control that can be set to a number."""
        found = []
        number = 0
        for _ in range(_MOST):
            given = QUERY_CONTROL.pack(number | _NEXT_CONTROL, 0, b"", 0, 0, 0, 0, 0, 0, 0)
            answer = self._try(QUERYCTRL, QUERY_CONTROL, given)
            if answer is None:
                break
            number, kind, name, lowest, highest, _, usual, flags, *_ = answer
            if kind in (_INTEGER, _BOOLEAN, _MENU) and not flags & (_DISABLED | _READ_ONLY):
                plain = re.sub(r"[^a-z0-9]+", "_", _text(name).lower()).strip("_")
                found.append(CameraControl(number=number, name=plain, lowest=lowest, highest=highest, usual=usual))
        return found

    def get(self, control: CameraControl) -> int:
        """The value of a control.

        Raises:
            OSError: The driver does not say.
        """
        return int(self._ask(G_CTRL, CONTROL, bytearray(CONTROL.pack(control.number, 0)))[1])

    def set(self, control: CameraControl, value: int) -> None:
        """Set a control.

        Raises:
            OSError: The driver refuses.
        """
        self._ask(S_CTRL, CONTROL, bytearray(CONTROL.pack(control.number, value)))

    def _sizes(self, code: int) -> Iterator[tuple[int, int]]:
        for index in range(_MOST):
            answer = self._try(ENUM_FRAMESIZES, FRAME_SIZE, FRAME_SIZE.pack(index, code, *[0] * 9))
            if answer is None:
                return
            _, _, kind, first, second, _, _, highest, *_ = answer
            if kind == _DISCRETE:
                yield first, second
            else:  # smallest, largest and step of the width, then of the height
                yield second, highest
                return

    def _rates_hz(self, code: int, width: int, height: int) -> Iterator[float]:
        for index in range(_MOST):
            given = FRAME_INTERVAL.pack(index, code, width, height, *[0] * 9)
            answer = self._try(ENUM_FRAMEINTERVALS, FRAME_INTERVAL, given)
            if answer is None:
                return
            seconds, parts = answer[5], answer[6]  # of the interval, or of the shortest one
            if seconds:
                yield round(parts / seconds, 3)
            if answer[4] != _DISCRETE:
                return

    def _ask(self, request: int, layout: struct.Struct, buffer: bytearray) -> tuple[int, ...]:
        self._ioctl(self._file, request, buffer)
        return layout.unpack(buffer)

    def _try(self, request: int, layout: struct.Struct, given: bytes) -> tuple[int, ...] | None:
        """The answer; None where the list has ended, or the driver does not know the question."""
        try:
            return self._ask(request, layout, bytearray(given))
        except OSError:
            return None


def fourcc(code: int) -> str:
    """The four characters of a pixel format."""
    return code.to_bytes(4, "little").decode("ascii", "replace").strip()


def list_cameras(
    folder: Path = Path("/dev"), *, ioctl: Ioctl | None = None
) -> list[tuple[int, str, tuple[CameraMode, ...]]]:
    """Number, name and modes of every camera of this machine; devices that may not be opened are left out."""
    found = []
    for path in sorted(folder.glob("video*"), key=lambda path: (len(path.name), path.name)):
        number = path.name.removeprefix("video")
        if not number.isdecimal():
            continue
        try:
            with V4l2Device(path, ioctl=ioctl) as device:
                if name := device.card():
                    found.append((int(number), name, tuple(device.modes())))
        except OSError:
            continue
    return found


def _text(padded: bytes | int) -> str:
    assert isinstance(padded, bytes)
    return padded.split(b"\0", 1)[0].decode("utf-8", "replace").strip()


def _system_ioctl(file: int, request: int, buffer: bytearray) -> object:
    return fcntl.ioctl(file, request, buffer, True)
