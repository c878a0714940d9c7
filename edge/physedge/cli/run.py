"""`physedge run`: answer the frames of a camera, a file, a folder or a stream."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import console, emit, note, say
from physedge.cli.options import (
    AllowRejectedOption,
    BuildIfMissingOption,
    EngineOption,
    JsonOption,
    PrecisionOption,
    RootOption,
    ThreadsOption,
    TrustOption,
)
from physedge_runtime.errors import UsageError

if TYPE_CHECKING:
    from physedge_runtime.stream import StreamedFrame, StreamEvent
    from physedge_runtime.stream.loop import Stream

_LINE_EVERY_S = 0.2
_PLAIN_LINE_EVERY_S = 5.0
_INTERRUPTED = 130
_PAGE = "serve:8080"


def run(
    source: Annotated[
        str | None, typer.Option("--source", help="A file, a folder, a URL, or a scheme such as synthetic:")
    ] = None,
    camera: Annotated[int | None, typer.Option("--camera", min=0, help="Number of a camera.")] = None,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="NAME.physedge; the project's or the demo's if not said.")
    ] = None,
    engine: EngineOption = "auto",
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    frames: Annotated[int | None, typer.Option("--frames", help="End after this many pictures.")] = None,
    duration: Annotated[float | None, typer.Option("--duration", help="End after this many seconds.")] = None,
    sink: Annotated[
        list[str] | None, typer.Option("--sink", help="jsonl:FILE, video:FILE ...; may be repeated.")
    ] = None,
    record: Annotated[Path | None, typer.Option("--record", help="A video with the overlay.")] = None,
    record_raw: Annotated[
        Path | None, typer.Option("--record-raw", help="Frames, stamps and decisions, for physedge replay.")
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="A page at http://127.0.0.1:8080; elsewhere with --sink serve:HOST:PORT.")
    ] = False,
    drop: Annotated[
        str | None, typer.Option("--drop", help="latest, oldest or never; latest of a live source, never of a file.")
    ] = None,
    deadline_ms: Annotated[float | None, typer.Option("--deadline-ms", help="From capture to answer.")] = None,
    max_age_ms: Annotated[float | None, typer.Option("--max-age-ms", help="An older answer is withdrawn.")] = None,
    allow_rejected: AllowRejectedOption = False,
    trust: TrustOption = None,
    installed: Annotated[
        str | None, typer.Option("--installed", help="Name of a network that physedge install put here.")
    ] = None,
    root: RootOption = None,
    build_if_missing: BuildIfMissingOption = False,
    json_output: JsonOption = False,
) -> None:
    """Stream: the newest frame of a live source, every frame of a file; results with age, signal and trust."""
    from physedge.cli.build import engine_builder
    from physedge.deploy.opening import OpenRequest, open_chosen
    from physedge_runtime.sinks.table import open_sink
    from physedge_runtime.sources.table import open_source
    from physedge_runtime.stream.loop import stream

    opened_source = open_source(_source_text(source, camera))
    texts = [*(sink or []), *([f"video:{record}"] if record else []), *([_PAGE] if serve else [])]
    sinks = [open_sink(text) for text in texts]
    opened_source.open()  # first: a missing camera should not wait for a network
    try:
        opened, ready, sentence = open_chosen(
            OpenRequest(
                bundle=bundle,
                installed=installed,
                root=root,
                trust=trust,
                engine=engine,
                precision=precision,
                threads=threads,
                allow_rejected=allow_rejected,
                prepare=engine_builder(engine, precision) if build_if_missing else None,
            )
        )
        note(sentence)
        with ready as net:
            note(f"{opened.manifest.spec.name}, verdict {opened.manifest.verdict}, {opened.trust}, on {net.engine}")
            running = stream(
                net,
                opened_source,
                drop=drop,
                deadline_ms=deadline_ms,
                max_age_ms=max_age_ms,
                frames=frames,
                duration_s=duration,
                sinks=sinks,
                record=record_raw,
                on_event=_print_event,
            )
            interrupted = _follow(running)
    finally:
        opened_source.close()
    summary = running.summary()
    say(*summary.lines(), *(f"wrote {name}" for name in _written(texts, record_raw)), json_output=json_output)
    told = {"bundle": str(opened.path), "bundle_sha256": opened.sha256, "bundle_trust": opened.trust}
    emit({**summary.to_dict(), **told}, json_output)
    if interrupted:
        raise typer.Exit(_INTERRUPTED)


def _source_text(source: str | None, camera: int | None) -> str:
    if (source is None) == (camera is None):
        raise UsageError(
            "PE-RUN-002",
            found="no source" if source is None else "both --source and --camera",
            expected="one of them",
            next_step="give --camera 0, or --source FILE, DIR or URL",
        )
    return source if source is not None else str(camera)


def _written(texts: list[str], record_raw: Path | None) -> list[str]:
    files = [text.partition(":")[2] for text in texts if text.startswith(("jsonl:", "video:"))]
    return [*files, *([str(record_raw)] if record_raw else [])]


def _print_event(event: StreamEvent) -> None:
    note(f"{event.kind}: {event.text}")


def _follow(running: Stream) -> bool:
    """Show a live line until the stream ends; True where somebody interrupted it."""
    from rich.live import Live
    from rich.text import Text

    printer = console(stderr=True)
    line = _LiveLine()
    try:
        with running:
            if printer.is_terminal:
                with Live(Text(""), console=printer, refresh_per_second=5, transient=True) as live:
                    for item in running.frames():
                        if line.is_due(item, _LINE_EVERY_S):
                            live.update(Text(line.text()))
            else:
                for item in running.frames():
                    if line.is_due(item, _PLAIN_LINE_EVERY_S):
                        printer.print(line.text())
    except KeyboardInterrupt:
        return True
    return False


class _LiveLine:
    """One line about the stream as it is now."""

    def __init__(self) -> None:
        self._shown_s = time.monotonic()
        self._pictures = 0
        self._answers = 0
        self._since = 0
        self._item: StreamedFrame | None = None
        self._rate = 0.0

    def is_due(self, item: StreamedFrame, every_s: float) -> bool:
        """Count an item; whether it is time to show the line again."""
        self._item = item
        self._pictures += item.frame is not None
        self._answers += item.result is not None
        self._since += item.result is not None
        elapsed = time.monotonic() - self._shown_s
        if elapsed < every_s:
            return False
        self._rate, self._since = self._since / elapsed, 0
        self._shown_s = time.monotonic()
        return True

    def text(self) -> str:
        """Signal, frames, answers a second, age, drops, trust."""
        item = self._item
        assert item is not None
        trust = f"trust {item.result.trust.state}" if item.result is not None else "no answer"
        drops = item.result.drops if item.result is not None else 0
        return (
            f"{item.signal:<10} {self._pictures} pictures, {self._answers} answered, {self._rate:.1f} a second, "
            f"age {item.age_ms:.0f} ms, {drops} dropped, {trust}"
        )
