"""The log of one stream, bounded: a fault that flaps a hundred times a second must not fill a disk."""

from __future__ import annotations

from dataclasses import dataclass

from physedge_runtime.stream.clock import NS_PER_S
from physedge_runtime.stream.streamed import EventKind, StreamEvent

_WINDOW_NS = 10 * NS_PER_S
_LINES_PER_WINDOW = 20


@dataclass(slots=True)
class _Window:
    start_ns: int
    said: int = 0
    left_out: int = 0


class EventLog:
    """Collects events, at most 20 of a kind in 10 seconds; how many were left out is said when the next one comes."""

    def __init__(self) -> None:
        self._events: list[StreamEvent] = []
        self._windows: dict[EventKind, _Window] = {}

    def say(self, at_ns: int, kind: EventKind, text: str) -> None:
        """Add one line; the one about the safe state always gets through."""
        window = self._windows.get(kind)
        if window is None or at_ns - window.start_ns >= _WINDOW_NS:
            left_out = window.left_out if window else 0
            window = self._windows[kind] = _Window(at_ns)
            if left_out:
                self._events.append(StreamEvent(at_ns, kind, f"{left_out} lines like the last one were left out"))
        if window.said >= _LINES_PER_WINDOW and kind is not EventKind.SAFE_STATE:
            window.left_out += 1
            return
        window.said += 1
        self._events.append(StreamEvent(at_ns, kind, text))

    def drain(self) -> tuple[StreamEvent, ...]:
        """The lines since the last call."""
        events = tuple(self._events)
        self._events.clear()
        return events
