"""A sink with a thread and a bounded queue of its own, so that a slow one never stalls the stream."""

from __future__ import annotations

import threading
from collections import deque

from physedge_runtime.sinks.base import Sink
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

_LIVE_CAPACITY = 32
_FILE_CAPACITY = 8
_LOOK_AGAIN_S = 0.1


class Outlet:
    """The way to one sink.

    Args:
        sink: It is opened here, at once, so that what is wrong with it is said before the stream starts.
        info: What the sink is told.
        stopping: Once it is set, nothing waits for room any more.

    Attributes:
        dropped: Things the sink was too slow for; always 0 where the source waits.
        failure: Why the sink failed; empty as long as it works.
    """

    def __init__(self, sink: Sink, info: StreamInfo, stopping: threading.Event) -> None:
        self.sink = sink
        self.dropped = 0
        self.failure = ""
        self._waits = not info.live
        self._stopping = stopping
        self._capacity = _FILE_CAPACITY if self._waits else _LIVE_CAPACITY
        self._queue: deque[StreamedFrame] = deque()
        self._changed = threading.Condition()
        self._closing = False
        sink.open(info)
        self._thread = threading.Thread(target=self._run, name=f"physedge-sink-{sink.name}", daemon=True)
        self._thread.start()

    def put(self, item: StreamedFrame) -> None:
        """Queue one thing. Live: the oldest makes room. Else: waits until there is room, or the sink has failed."""
        with self._changed:
            if self.failure or self._closing:
                return
            while self._waits and len(self._queue) >= self._capacity and not self._is_ending:
                self._changed.wait(_LOOK_AGAIN_S)
            if len(self._queue) >= self._capacity:
                self._queue.popleft()
                self.dropped += 1
            self._queue.append(item)
            self._changed.notify_all()

    @property
    def _is_ending(self) -> bool:
        return bool(self.failure) or self._closing or self._stopping.is_set()

    def close(self, timeout_s: float) -> bool:
        """Write what is queued, close the sink, end the thread.

        Returns:
            Whether the thread ended in time; one that hangs in a system call is left behind.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while (item := self._next()) is not None:
                self.sink.write(item)
        except Exception as error:
            self._fail(error)
        try:
            self.sink.close()
        except Exception as error:
            self._fail(error)

    def _next(self) -> StreamedFrame | None:
        with self._changed:
            while not self._queue:
                if self._closing:
                    return None
                self._changed.wait(_LOOK_AGAIN_S)
            item = self._queue.popleft()
            self._changed.notify_all()
            return item

    def _fail(self, error: Exception) -> None:
        with self._changed:
            text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0]
            self.failure = self.failure or f"{self.sink.name}: {text}"
            self._queue.clear()
            self._changed.notify_all()
