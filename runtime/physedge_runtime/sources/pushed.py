"""Frames that come from Python: an iterable that is pulled, or a firmware that pushes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import SourceError
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources.base import READ_WAIT_S, SourceEnded, SourceInfo


class IteratorSource:
    """The items of an iterable: `Frame` objects, or arrays of pixels that are numbered and stamped here.

    Args:
        items: uint8 (height, width, 3) or (height, width), float32 (voltage,), or frames.
        live: Whether the items come in real time; False makes the iterable wait for the network.
        name: As a log may show it.
        colour: Channel order of bare arrays.
        period_ns: From item to item where it is known.
        clock: Monotonic nanoseconds.
    """

    def __init__(
        self,
        items: Iterable[Frame | NDArray[Any]],
        *,
        live: bool = False,
        name: str = "iterator",
        colour: Colour = Colour.RGB,
        period_ns: int | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.info = SourceInfo(name=name, live=live, period_ns=period_ns)
        self._items = items
        self._iterator: Iterator[Frame | NDArray[Any]] | None = None
        self._colour, self._clock = colour, clock
        self._next_id = 0

    def open(self) -> None:
        """Start at the first item."""
        self._iterator = iter(self._items)

    def read(self) -> Frame | None:
        """The next item.

        Raises:
            SourceEnded: The iterable ended.
            SourceError: It raised (`PE-SRC-009`).
        """
        assert self._iterator is not None
        try:
            item = next(self._iterator)
        except StopIteration:
            raise SourceEnded from None
        except Exception as error:
            raise SourceError(
                "PE-SRC-009",
                found=f"the iterable of frames raised {type(error).__name__}: {error}",
                expected="frames or an orderly end",
                next_step="mend the iterable that was handed to stream()",
            ) from error
        frame = stamp(item, self._next_id, self._clock(), self._colour)
        self._next_id = frame.frame_id + 1
        return frame

    def close(self) -> None:
        """Close the iterable where it can be closed (a generator)."""
        close = getattr(self._iterator, "close", None)
        self._iterator = None
        if close is not None:
            close()


class PushSource:
    """A source for a firmware that has frames and pushes them in; `push` never waits.

    Holds the newest frames, `capacity` of them; older ones make room and leave a gap in the frame numbers, which the
    stream counts.

    Args:
        name: As a log may show it.
        capacity: Frames held between two reads.
        colour: Channel order of bare arrays.
        period_ns: From frame to frame where it is known.
        clock: Monotonic nanoseconds.
    """

    def __init__(
        self,
        *,
        name: str = "firmware",
        capacity: int = 2,
        colour: Colour = Colour.RGB,
        period_ns: int | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.info = SourceInfo(name=name, live=True, period_ns=period_ns)
        self._frames: deque[Frame] = deque(maxlen=capacity)
        self._colour, self._clock = colour, clock
        self._changed = threading.Condition()
        self._ended = False
        self._next_id = 0

    def push(self, item: Frame | NDArray[Any]) -> None:
        """Hand in one frame, from any thread; an array is numbered and stamped now and must not be written again."""
        with self._changed:
            frame = stamp(item, self._next_id, self._clock(), self._colour)
            self._next_id = frame.frame_id + 1
            self._frames.append(frame)
            self._changed.notify()

    def end(self) -> None:
        """Say that no further frame comes; the stream then ends in an orderly way."""
        with self._changed:
            self._ended = True
            self._changed.notify()

    def open(self) -> None:
        """Ready at once."""

    def read(self) -> Frame | None:
        """The next frame that was pushed; None where none came for a while.

        Raises:
            SourceEnded: `end` was called and every frame was read.
        """
        with self._changed:
            if not self._frames and not self._ended:
                self._changed.wait(READ_WAIT_S)
            if self._frames:
                return self._frames.popleft()
            if self._ended:
                raise SourceEnded
            return None

    def close(self) -> None:
        """Nothing is held."""


def stamp(item: Frame | NDArray[Any], frame_id: int, captured_ns: int, colour: Colour) -> Frame:
    """A frame of an array; a frame that comes without a capture stamp gets one, and the number that is due.

    Raises:
        SourceError: It is neither a frame nor an array (`PE-SRC-009`).
    """
    if not isinstance(item, Frame | np.ndarray):
        raise SourceError(
            "PE-SRC-009",
            found=f"an item of type {type(item).__name__} among the frames",
            expected="a numpy array of pixels or a Frame",
            next_step="mend the iterable that was handed to stream()",
        )
    if not isinstance(item, Frame):
        return Frame(pixels=item, frame_id=frame_id, captured_ns=captured_ns, colour=colour)
    if item.captured_ns == 0:
        return replace(item, captured_ns=captured_ns, frame_id=item.frame_id or frame_id)
    return item
