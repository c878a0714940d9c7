"""A camera driver that is none, for tests of whoever lists or sets cameras: the ioctls of Video4Linux over tables."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from physedge_runtime.sources.v4l2 import (
    CAPABILITY,
    CONTROL,
    ENUM_FMT,
    ENUM_FRAMEINTERVALS,
    ENUM_FRAMESIZES,
    FORMAT,
    FRAME_INTERVAL,
    FRAME_SIZE,
    G_CTRL,
    QUERY_CONTROL,
    QUERYCAP,
    QUERYCTRL,
    S_CTRL,
    CameraControl,
    CameraMode,
)

_CAPTURES_AND_STREAMS = 0x04000001
_NEXT = 0x80000000

Item = TypeVar("Item")


@dataclass
class FakeDriver:
    """Answers as a driver of one camera would; its `ioctl` is handed to `V4l2Device`.

    Attributes:
        card: The camera's name.
        modes: What it offers.
        controls: What can be set; the names as a driver writes them.
        able: Its capabilities; 0x04000001 captures video and streams.
        step: Values are rounded down to a multiple of it, as drivers do.
        values: Of the controls, by number.
    """

    card: str
    modes: Sequence[CameraMode] = ()
    controls: Sequence[CameraControl] = ()
    able: int = _CAPTURES_AND_STREAMS
    step: int = 1
    values: dict[int, int] = field(default_factory=dict)

    def ioctl(self, _file: int, request: int, buffer: bytearray) -> int:
        """One request; the structure in the buffer is read and written."""
        match request:
            case _ if request == QUERYCAP:
                card = self.card.encode()
                CAPABILITY.pack_into(buffer, 0, b"fake", card, b"usb-0", 0, self.able, 0, 0, 0, 0)
            case _ if request == ENUM_FMT:
                code = _at(list(dict.fromkeys(_code(mode.format) for mode in self.modes)), FORMAT.unpack(buffer)[0])
                FORMAT.pack_into(buffer, 0, 0, 1, 0, b"", code, 0, 0, 0, 0)
            case _ if request == ENUM_FRAMESIZES:
                index, code, *_ = FRAME_SIZE.unpack(buffer)
                mode = _at([one for one in self.modes if _code(one.format) == code], index)
                FRAME_SIZE.pack_into(buffer, 0, index, code, 1, mode.width, mode.height, 0, 0, 0, 0, 0, 0)
            case _ if request == ENUM_FRAMEINTERVALS:
                index, code, width, height, *_ = FRAME_INTERVAL.unpack(buffer)
                asked = (code, width, height)
                rates = [one.rates_hz for one in self.modes if (_code(one.format), one.width, one.height) == asked]
                rate = _at(list(_at(rates, 0)), index)
                FRAME_INTERVAL.pack_into(buffer, 0, index, *asked, 1, 1000, round(1000 * rate), 0, 0, 0, 0, 0, 0)
            case _ if request == QUERYCTRL:
                after = QUERY_CONTROL.unpack(buffer)[0] & ~_NEXT
                one = _at([control for control in self.controls if control.number > after], 0)
                bounds = (one.lowest, one.highest, self.step, one.usual)
                QUERY_CONTROL.pack_into(buffer, 0, one.number, 1, one.name.encode(), *bounds, 0, 0, 0)
            case _ if request in (G_CTRL, S_CTRL):
                number, value = CONTROL.unpack(buffer)
                known = _at([control for control in self.controls if control.number == number], 0)
                if request == S_CTRL:
                    self.values[number] = value // self.step * self.step
                CONTROL.pack_into(buffer, 0, number, self.values.get(number, known.usual))
            case _:
                raise OSError(errno.ENOTTY, "no such request")
        return 0


def _code(text: str) -> int:
    return int.from_bytes(text.ljust(4).encode(), "little")


def _at(items: Sequence[Item], index: int) -> Item:
    if index >= len(items):
        raise OSError(errno.EINVAL, "the list has ended")
    return items[index]
