"""Running streams on the terminal: a line each until all have ended, somebody interrupts, or the system asks to end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from physedge.cli.console import console, note
from physedge_runtime.errors import PhysedgeError
from physedge_runtime.stream import StreamedFrame
from physedge_runtime.stream.loop import Stream
from physedge_runtime.stream.signals import StopOnTerminate
from physedge_runtime.text import one_line

_LINE_EVERY_S = 0.2
_PLAIN_LINE_EVERY_S = 5.0
_NOTHING_NEW_WAIT_S = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the streams ended.

    Attributes:
        interrupted: By Ctrl-C.
        terminated: By SIGTERM.
        error: The first that a stream ended with.
    """

    interrupted: bool
    terminated: bool
    error: PhysedgeError | None


def follow(streams: Sequence[Stream]) -> Ending:
    """Show what each stream does until all have ended; they are closed then, whatever happened.

    One that ends with an error is said at once and does not end the others.
    """
    from rich.live import Live
    from rich.text import Text

    printer = console(stderr=True)
    lines = [_LiveLine(stream.info.name if len(streams) > 1 else "") for stream in streams]
    errors: list[PhysedgeError] = []
    interrupted = False
    with StopOnTerminate(*streams) as guard:
        try:
            with ExitStack() as stack:
                for stream in streams:
                    stack.callback(stream.close)
                live = None
                if printer.is_terminal:
                    live = stack.enter_context(Live(Text(""), console=printer, refresh_per_second=5, transient=True))
                shown_s = time.monotonic()
                running = list(zip(streams, lines, strict=True))
                while running:
                    running = [pair for pair in running if _advance(*pair, errors, is_alone=len(streams) == 1)]
                    elapsed_s = time.monotonic() - shown_s
                    if elapsed_s >= (_LINE_EVERY_S if live is not None else _PLAIN_LINE_EVERY_S):
                        shown_s = time.monotonic()
                        texts = [text for line in lines if (text := line.text(elapsed_s))]
                        if live is not None:
                            live.update(Text("\n".join(map(one_line, texts))))
                        else:
                            printer.print("\n".join(texts))
        except KeyboardInterrupt:
            interrupted = True
    return Ending(interrupted=interrupted, terminated=guard.was_terminated, error=errors[0] if errors else None)


def _advance(stream: Stream, line: _LiveLine, errors: list[PhysedgeError], *, is_alone: bool) -> bool:
    """Take what is there; whether the stream goes on."""
    try:
        item = stream.poll(_NOTHING_NEW_WAIT_S)
        while item is not None:
            line.take(item)
            item = stream.poll()
    except PhysedgeError as error:
        if not is_alone:
            note(f"{stream.info.name} has ended: {error}")
        errors.append(error)
        return False
    return not stream.is_over


class _LiveLine:
    """One line about a stream as it is now."""

    def __init__(self, name: str) -> None:
        self._name = f"{name}: " if name else ""
        self._pictures = self._answers = self._since = 0
        self._item: StreamedFrame | None = None

    def take(self, item: StreamedFrame) -> None:
        """Count one thing that left the stream."""
        self._item = item
        self._pictures += item.frame is not None
        self._answers += item.result is not None
        self._since += item.result is not None

    def text(self, elapsed_s: float) -> str:
        """Signal, frames, answers a second, age, drops, trust; empty before anything came."""
        item = self._item
        if item is None:
            return ""
        rate, self._since = self._since / elapsed_s, 0
        if item.result is None:
            trust = f"no answer ({item.withdrawn_text})" if item.withdrawn_text else "no answer"
        elif item.result.trust.reason:
            trust = f"{item.result.trust.state}: {item.result.trust.reason}"
        else:
            trust = f"trust {item.result.trust.state}"
        return (
            f"{self._name}{item.signal:<10} {self._pictures} pictures, {self._answers} answered, {rate:.1f} a second, "
            f"age {item.age_ms:.0f} ms, {item.dropped} dropped, {trust}"
        )
