"""Time: integer nanoseconds of a monotonic clock that is handed in; the source's own stamps are checked, not trusted.

A source's stamp never orders frames (one in the future would make every later frame look old). It is compared with
the local clock: a jump is told and the comparison starts anew; a growing difference is a queue that builds up before
us.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], int]
monotonic_ns: Clock = time.monotonic_ns

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_JUMP_NS = NS_PER_S
_STOOD_STILL_NS = NS_PER_S


class ManualClock:
    """A clock that moves when it is told to; it ships, since users test too.

    Example:
        >>> clock = ManualClock(5)
        >>> clock.advance(10)
        >>> clock()
        15
    """

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns

    def __call__(self) -> int:
        """The time, nanoseconds."""
        return self.now_ns

    def advance(self, by_ns: int) -> None:
        """Move on; never back."""
        if by_ns < 0:
            raise ValueError(f"a monotonic clock does not go back, by_ns is {by_ns}")
        self.now_ns += by_ns


class WatchedSpan:
    """How long something has taken, by one who looks every few milliseconds.

    A look that comes more than a second after the last counts as one second: then it was the whole process that stood
    still (stopped, swapped out, its virtual machine paused), and what is watched had no time to work in either.
    """

    def __init__(self) -> None:
        self._start_ns = self._looked_ns = 0

    def start(self, now_ns: int) -> None:
        """It begins now."""
        self._start_ns = self._looked_ns = now_ns

    def look(self, now_ns: int) -> int:
        """For how long it has gone on, nanoseconds."""
        self._start_ns += max(0, now_ns - self._looked_ns - _STOOD_STILL_NS)
        self._looked_ns = now_ns
        return now_ns - self._start_ns


class SourceClock:
    """Watches a source's own stamps against the capture stamps.

    Attributes:
        jumps: Times the source's clock jumped against ours, in whatever direction.
        lag_ns: How much later frames now arrive than the quickest did, by the source's stamps; drift included.
    """

    def __init__(self) -> None:
        self.jumps = 0
        self.lag_ns = 0
        self._offset_ns: int | None = None
        self._least_offset_ns = 0

    def check(self, source_stamp_ns: int | None, captured_ns: int) -> str:
        """Take in one pair of stamps.

        Returns:
            A sentence where the source's clock jumped, else an empty text.
        """
        if source_stamp_ns is None:
            return ""
        offset_ns = captured_ns - source_stamp_ns
        last_ns, self._offset_ns = self._offset_ns, offset_ns
        if last_ns is None:
            self._least_offset_ns = offset_ns
            return ""
        if abs(offset_ns - last_ns) > _JUMP_NS:
            self.jumps += 1
            self._least_offset_ns, self.lag_ns = offset_ns, 0
            forward_ms = (last_ns - offset_ns) / NS_PER_MS
            return f"the source's own clock jumped by {forward_ms:+.0f} ms against ours; synchronised anew"
        self._least_offset_ns = min(self._least_offset_ns, offset_ns)
        self.lag_ns = offset_ns - self._least_offset_ns
        return ""
