"""Reads a source to its end; a live one that is lost is opened again, with back-off, for as long as it is worth it.

Back is a source that delivers a picture, not one that can be opened: a camera that lets everybody in and sends nothing
is lost for as long as it does so.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from physedge_runtime.errors import PhysedgeError
from physedge_runtime.frame import Frame
from physedge_runtime.sources.base import SignalLost, Source, SourceEnded
from physedge_runtime.stream.clock import NS_PER_S, Clock

_FIRST_BACK_OFF_S = 0.1
_LONGEST_BACK_OFF_S = 2.0


class Grabber:
    """The loop of the thread that owns the source.

    Args:
        source: Open already; closed when `run` returns.
        reconnect_s: A lost source is tried again for this long, from its loss to its first picture.
        stopping: Ends the loop, also in the middle of waiting for a lost source.
        clock: Monotonic nanoseconds.
        on_frame: Takes each frame; may wait where the source can.
        on_lost: Told once, in words, when the source is lost.
        on_back: Told when it is back, before the first picture is handed on.

    Attributes:
        error: Why the source ended before its time; None for an orderly end.
    """

    def __init__(
        self,
        source: Source,
        *,
        reconnect_s: float,
        stopping: threading.Event,
        clock: Clock,
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[str], None],
        on_back: Callable[[], None],
    ) -> None:
        self.error: PhysedgeError | None = None
        self._source, self._reconnect_ns = source, round(reconnect_s * NS_PER_S)
        self._stopping, self._clock = stopping, clock
        self._on_frame, self._on_lost, self._on_back = on_frame, on_lost, on_back
        self._loss: SignalLost | None = None
        self._give_up_ns = 0

    def run(self) -> None:
        """Read until the source ends, is lost for good, or the stream stops."""
        try:
            while not self._stopping.is_set():
                try:
                    frame = self._source.read()
                except SignalLost as lost:
                    self._note_loss(lost)
                    self._source.close()
                    self._open_again(lost)
                    continue
                if frame is not None:
                    self._note_picture()
                    self._on_frame(frame)
                elif self._loss is not None and self._clock() > self._give_up_ns:
                    raise self._loss
        except SourceEnded:
            return
        except PhysedgeError as error:
            self.error = error
        finally:
            self._source.close()

    def _note_loss(self, lost: SignalLost) -> None:
        if self._loss is None:
            self._give_up_ns = self._clock() + self._reconnect_ns
            self._on_lost(lost.found)
        self._loss = lost

    def _note_picture(self) -> None:
        if self._loss is not None:
            self._loss = None
            self._on_back()

    def _open_again(self, lost: SignalLost) -> None:
        """Come back with the source open, or with the stream stopping.

        Raises:
            SignalLost: It did not come back in time.
        """
        back_off_s = _FIRST_BACK_OFF_S
        while not self._stopping.wait(back_off_s):
            if self._clock() > self._give_up_ns:
                raise lost
            try:
                self._source.open()
            except SignalLost:
                back_off_s = min(2 * back_off_s, _LONGEST_BACK_OFF_S)
            else:
                return
