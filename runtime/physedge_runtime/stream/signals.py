"""SIGTERM ends a stream in order: the last answer is written, the sinks are finished, the source is given back."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Protocol, Self


class _Stoppable(Protocol):
    def stop(self) -> None: ...


class StopOnTerminate:
    """While in the block, SIGTERM (a service manager, a shutdown) stops the streams that were named.

    Python delivers signals to the main thread alone; in another thread the block does nothing.

    Example:
        with stream(net, "0") as running, StopOnTerminate(running):
            running.wait()
    """

    def __init__(self, *streams: _Stoppable) -> None:
        self._streams = streams
        self._before: Any = None
        self.was_terminated = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
            self._before = None

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self.was_terminated = True
        for stream in self._streams:
            stream.stop()
