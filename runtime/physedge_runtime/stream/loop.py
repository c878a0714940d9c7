"""Streams as they are used: started by `stream`, iterated over, waited for, closed."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from physedge_runtime.file_guard import files_named_in
from physedge_runtime.output_file import OutputFile
from physedge_runtime.results import Result
from physedge_runtime.sinks.base import Sink
from physedge_runtime.sources.base import Measuring
from physedge_runtime.sources.deinterlace import Deinterlace
from physedge_runtime.stream.clock import Clock, monotonic_ns
from physedge_runtime.stream.options import SourceLike, StreamOptions, as_source
from physedge_runtime.stream.shell import Answering, OnEvent, Shell
from physedge_runtime.stream.slot import Drop
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo
from physedge_runtime.stream.summary import StreamSummary


class Stream:
    """A running stream. Iterate over it for the answers, use it in a `with` block, or `wait` for its end.

    Iterating gives each `Result` that may be shown when it is handed out; of a live source the newest one. `frames()`
    gives every picture, answered or not, and every change of state; `poll` the same without being held up.
    """

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._finalizer = weakref.finalize(self, shell.close)  # also where a loop over it is left without `close`

    def __iter__(self) -> Iterator[Result]:
        return self

    def __next__(self) -> Result:
        while True:
            item = self._next_item()
            result = self._shell.fresh_result(item)
            if result is not None:
                return result

    def frames(self) -> Iterator[StreamedFrame]:
        """Every picture with its answer or the reason why there is none, and every change of state."""
        while True:
            try:
                yield self._next_item()
            except StopIteration:
                return

    def poll(self, timeout_s: float = 0.0) -> StreamedFrame | None:
        """The next thing handed out, or None where nothing comes in this time, or the stream has ended.

        For loops that must not be held up: a firmware that pushes frames itself, a user interface.

        Raises:
            PhysedgeError: As iterating does.
        """
        item = self._shell.next_item(timeout_s)
        if item is None and self._shell.is_over:
            self.close()
            if self._shell.error is not None:
                raise self._shell.error
        return item

    def wait(self) -> StreamSummary:
        """Let the stream run to its end.

        Raises:
            PhysedgeError: As iterating does.
        """
        for _ in self.frames():
            pass
        return self.summary()

    def summary(self) -> StreamSummary:
        """What the stream was so far, in numbers; also after `close`."""
        return self._shell.summary()

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended and everything was handed out."""
        return self._shell.is_over

    @property
    def written(self) -> tuple[Path, ...]:
        """Files that stand finished under their names; all of them after `close`."""
        return self._shell.written

    @property
    def info(self) -> StreamInfo:
        """What the sinks were told."""
        return self._shell.info

    def stop(self) -> None:
        """Ask the stream to end, from any thread or signal handler; returns at once."""
        self._shell.stop()

    def close(self) -> None:
        """End the stream: threads joined, sinks finished, source given back. Further calls do nothing."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _next_item(self) -> StreamedFrame:
        item = self._shell.next_item()
        if item is None:
            self.close()
            raise self._shell.error or StopIteration
        return item


def stream(
    net: Answering,
    source: SourceLike,
    *,
    drop: Drop | str | None = None,
    deadline_ms: float | None = None,
    max_age_ms: float | None = None,
    frames: int | None = None,
    duration_s: float | None = None,
    reconnect_s: float = 30.0,
    hang_ms: float = 5000.0,
    record: OutputFile | Path | None = None,
    inputs: Sequence[Path] = (),
    name: str = "",
    keep_passing: bool = False,
    deinterlace: Deinterlace | str = Deinterlace.AUTO,
    sinks: Sequence[Sink] = (),
    on_event: OnEvent | None = None,
    clock: Clock = monotonic_ns,
) -> Stream:
    """Start answering the frames of a source.

    Args:
        net: The network.
        source: A text as after `--source`, an open or unopened source, or an iterable of frames or arrays.
        drop: Which frames are kept while the engine is busy; see `StreamOptions`, also for what follows.
        deadline_ms: From capture to answer.
        max_age_ms: Above it an answer is withdrawn.
        frames: End after this many pictures.
        duration_s: End after this time.
        reconnect_s: How long a lost live source is tried again.
        hang_ms: Above it an engine has hung.
        record: A file for `physedge_runtime.stream.record.replay`.
        inputs: Files that are read and must not be written over, besides the bundle and the file that `source` names.
        name: Of the stream, in every line, topic, label and page; the source's if not said.
        keep_passing: In the safe state, go on passing pictures.
        deinterlace: What is done with interlaced pictures of files and network cameras: `auto` or `off`.
        sinks: Where results go; each is opened now and closed at the end.
        on_event: Called with every line of the log, from the stream's threads; it must return soon.
        clock: Monotonic nanoseconds.

    Returns:
        The running stream: iterate over it, or `wait` for its end.

    Raises:
        SourceError: The source is not there.
        UsageError: An option is out of range (`PE-STREAM-002`, `PE-STREAM-003`), the source measures something
            else than the network takes in (`PE-FRAME-003`, `PE-SRC-018`), or an output is an input, is in use or is
            written twice (`PE-OUT-001` to `PE-OUT-003`).
        SafeState: While iterating: the stream gave up answering (`PE-STREAM-001`).
    """
    options = StreamOptions(
        drop=drop,
        deadline_ms=deadline_ms,
        max_age_ms=max_age_ms,
        frames=frames,
        duration_s=duration_s,
        reconnect_s=reconnect_s,
        hang_ms=hang_ms,
        record=OutputFile(record) if isinstance(record, Path) else record,
        inputs=(*inputs, *(files_named_in(str(source)) if isinstance(source, str | Path) else ())),
        name=name,
        keep_passing=keep_passing,
        deinterlace=deinterlace,
    )
    opened = as_source(source, options)
    if isinstance(opened, Measuring):
        opened.declare(getattr(getattr(net, "spec", None), "voltages", None))
    shell = Shell(net, opened, options, sinks, on_event, clock)
    running = Stream(shell)
    shell.start()
    return running
