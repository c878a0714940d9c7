"""A file played at its own speed, as a camera would deliver it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from physedge_runtime.frame import Frame
from physedge_runtime.sources.base import READ_WAIT_S, Source, SourceInfo

_NANOSECONDS_PER_SECOND = 1_000_000_000
_DEFAULT_PERIOD_NS = 33_333_333
_LONGEST_STEP_NS = 10 * _NANOSECONDS_PER_SECOND


class PacedSource:
    """Wraps a source that waits, and hands its frames out in real time: at their positions in the clip.

    Frames without a position follow at the source's period. So does one whose position lies before the last one's or
    more than 10 s behind it: the clip's clock was set anew there.

    Args:
        source: Usually a file or a folder; 30 frames a second where it states no rate.
        clock: Monotonic nanoseconds.
        sleep: Waits that many seconds.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._source = source
        self._clock, self._sleep = clock, sleep
        self._due_ns: int | None = None
        self._waiting: Frame | None = None
        self._position_ns: int | None = None

    @property
    def info(self) -> SourceInfo:
        """As the wrapped one, but live."""
        inner = self._source.info
        return replace(inner, live=True, period_ns=inner.period_ns or _DEFAULT_PERIOD_NS)

    def open(self) -> None:
        """Open the wrapped source; its first frame is due at once."""
        self._source.open()
        self._due_ns = self._position_ns = None

    def read(self) -> Frame | None:
        """The next frame at its time, stamped then; None where that is further away than a read may wait."""
        if self._waiting is None:
            self._waiting = self._source.read()
            if self._waiting is not None and self._due_ns is not None:
                self._due_ns += self._step_ns(self._waiting)
        if self._waiting is None:
            return None
        now_ns = self._clock()
        due_ns = now_ns if self._due_ns is None else self._due_ns
        self._due_ns = due_ns
        wait_s = (due_ns - now_ns) / _NANOSECONDS_PER_SECOND
        if wait_s > 0:
            self._sleep(min(wait_s, READ_WAIT_S))
        if wait_s > READ_WAIT_S:
            return None
        frame, self._waiting = self._waiting, None
        self._position_ns = frame.position_ns
        return replace(frame, captured_ns=self._clock())

    def close(self) -> None:
        """Close the wrapped source."""
        self._source.close()

    def _step_ns(self, frame: Frame) -> int:
        """From the frame before to this one."""
        if frame.position_ns is not None and self._position_ns is not None:
            step_ns = frame.position_ns - self._position_ns
            if 0 < step_ns <= _LONGEST_STEP_NS:
                return step_ns
        return self.info.period_ns or _DEFAULT_PERIOD_NS
