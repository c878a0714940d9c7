"""One engine for several streams: each asks in turn.

An engine answers one frame at a time. Python's lock lets whoever is quickest in again and again; here the one who has
waited longest is next, so that N streams that are always busy get a share of 1/N each, and a frame waits for at most
N - 1 others.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from physedge_runtime.frame import Frame
from physedge_runtime.results import Result

if TYPE_CHECKING:
    from physedge_runtime.spec import SignalSpec

_LOOK_AGAIN_S = 0.1


class _Answering(Protocol):
    @property
    def engine(self) -> str: ...

    def answer(self, frame: Frame) -> Result: ...


class SharedNet:
    """A network for several streams at once; hand the same object to each of them.

    The time that a frame waits for its turn is part of its age, and of the time after which an engine counts as hung.

    Args:
        net: It is asked by one thread at a time.

    Example:
        shared = SharedNet(net)
        with stream(shared, "0") as left, stream(shared, "1") as right: ...
    """

    def __init__(self, net: _Answering) -> None:
        self._net = net
        self.spec = getattr(net, "spec", None)
        self.trust_signals: Mapping[str, SignalSpec] = getattr(net, "trust_signals", {})
        self.bundle_trust: str = getattr(net, "bundle_trust", "")
        self._turn = threading.Condition()
        self._waiting: deque[object] = deque()

    @property
    def engine(self) -> str:
        """Fingerprint of what answers."""
        return self._net.engine

    def answer(self, frame: Frame) -> Result:
        """Answer one frame when it is this caller's turn."""
        ticket = object()
        with self._turn:
            self._waiting.append(ticket)
            while self._waiting[0] is not ticket:
                self._turn.wait(_LOOK_AGAIN_S)
        try:
            return self._net.answer(frame)
        finally:
            with self._turn:
                self._waiting.popleft()
                self._turn.notify_all()
