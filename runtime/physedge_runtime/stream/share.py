"""One engine for several streams: each asks in turn.

An engine answers one frame at a time. Python's lock lets whoever is quickest in again and again; here the one who has
waited longest is next, so that N streams that are always busy get a share of 1/N each. A stream takes its frame only
when its turn has come: the newest one then, so that waiting for others makes answers rarer, not older.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from physedge_runtime.frame import Frame
from physedge_runtime.results import Result
from physedge_runtime.stream.ahead import Preparing
from physedge_runtime.stream.clock import Clock, WatchedSpan, monotonic_ns

if TYPE_CHECKING:
    from physedge_runtime.spec import SignalSpec

_LOOK_AGAIN_S = 0.1


class _Answering(Protocol):
    @property
    def engine(self) -> str: ...

    def answer(self, frame: Frame) -> Result: ...


def _never() -> bool:
    return False


class SharedNet:
    """A network for several streams at once; hand the same object to each of them.

    Args:
        net: It is asked by one thread at a time.
        clock: Monotonic nanoseconds.

    Example:
        shared = SharedNet(net)
        with stream(shared, "0") as left, stream(shared, "1") as right: ...
    """

    def __init__(self, net: _Answering, *, clock: Clock = monotonic_ns) -> None:
        self._net, self._clock = net, clock
        self._preparing: Preparing | None = net if isinstance(net, Preparing) else None
        self.spec = getattr(net, "spec", None)
        self.trust_signals: Mapping[str, SignalSpec] = getattr(net, "trust_signals", {})
        self.bundle_trust: str = getattr(net, "bundle_trust", "")
        self.bundle_path: Path | None = getattr(net, "bundle_path", None)
        self._changed = threading.Condition()
        self._line: deque[object] = deque()
        self._owner: int | None = None
        self._span = WatchedSpan()

    @property
    def engine(self) -> str:
        """Fingerprint of what answers."""
        return self._net.engine

    def busy_ns(self) -> int:
        """For how long the one whose turn it is has had it, as the watchdogs saw it; 0 where nobody has."""
        with self._changed:
            return 0 if self._owner is None else self._span.look(self._clock())

    @contextmanager
    def turn(self, give_up: Callable[[], bool] = _never) -> Iterator[bool]:
        """Wait for this thread's turn, and have it while in the block.

        Args:
            give_up: Asked every tenth of a second; once it says yes, the turn is no longer waited for.

        Yields:
            Whether the turn came.
        """
        ticket = object()
        with self._changed:
            self._line.append(ticket)
            while self._line[0] is not ticket and not give_up():
                self._changed.wait(_LOOK_AGAIN_S)
            is_ours = self._line[0] is ticket
            if is_ours:
                self._owner = threading.get_ident()
                self._span.start(self._clock())
        try:
            yield is_ours
        finally:
            with self._changed:
                self._line.remove(ticket)
                if is_ours:
                    self._owner = None
                self._changed.notify_all()

    def prepared(self, frame: Frame) -> object:
        """What the network prepares of a frame, in no turn; None where it prepares nothing."""
        return None if self._preparing is None else self._preparing.prepared(frame)

    def answer(self, frame: Frame, ahead: object = None) -> Result:
        """Answer one frame, in this thread's turn; it is waited for where this thread does not have it."""
        if self._owner == threading.get_ident():
            return self._answer(frame, ahead)
        with self.turn():
            return self._answer(frame, ahead)

    def _answer(self, frame: Frame, ahead: object) -> Result:
        if ahead is not None and self._preparing is not None:
            return self._preparing.answer(frame, ahead)
        return self._net.answer(frame)
