"""The contract of a sink: opened once, handed one thing at a time from one thread of its own, closed once.

A sink may be slow: the stream gives each one a bounded queue and, for live sources, counts what does not fit. A sink
that raises has failed for good, and the stream ends in its safe state: what was asked to be kept is not being kept. A
sink whose peer may come and go (a broker, a browser) mends that by itself and raises nothing.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from physedge_runtime.output_file import OutputFile
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo


class Sink(Protocol):
    """Where results go."""

    @property
    def name(self) -> str:
        """As a log may show it."""
        ...

    def open(self, info: StreamInfo) -> None:
        """Make it ready to be written to.

        Raises:
            PhysedgeError: It cannot be written to.
        """
        ...

    def write(self, item: StreamedFrame) -> None:
        """Take in one picture with its answer, or a change of state (`item.frame` is None)."""
        ...

    def close(self) -> None:
        """Finish what was begun (a file's index, a connection); further calls do nothing."""
        ...


@runtime_checkable
class FileSink(Protocol):
    """A sink that writes a file."""

    @property
    def output(self) -> OutputFile:
        """The file."""
        ...


@runtime_checkable
class FilesSink(FileSink, Protocol):
    """A sink that may write more files beside its first, which it names itself."""

    @property
    def further_outputs(self) -> list[OutputFile]:
        """The other files; none before it is known that they are needed."""
        ...


class CollectingSink:
    """Keeps everything in a list. For tests, which users write too."""

    name = "collecting sink"

    def __init__(self) -> None:
        self.items: list[StreamedFrame] = []
        self.info: StreamInfo | None = None
        self.is_closed = False

    def open(self, info: StreamInfo) -> None:
        """Remember what was told."""
        self.info = info

    def write(self, item: StreamedFrame) -> None:
        """Keep it."""
        self.items.append(item)

    def close(self) -> None:
        """Remember that it was called."""
        self.is_closed = True
