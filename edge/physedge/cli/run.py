"""`physedge run`: answer the frames of a camera, a file, a folder or a stream."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import emit, note, say
from physedge.cli.options import (
    AllowRejectedOption,
    BuildIfMissingOption,
    EngineOption,
    JsonOption,
    OnlyAsExportedOption,
    PrecisionOption,
    RootOption,
    ThreadsOption,
    TrustOption,
)
from physedge_runtime.errors import UsageError

if TYPE_CHECKING:
    from physedge_runtime.stream import StreamEvent

_INTERRUPTED = 130
_PAGE = "serve:8080"


def run(
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="A file, a folder, a URL, or a scheme; repeated: several streams, one engine."),
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
    pixel_mm: Annotated[
        float | None,
        typer.Option("--pixel-mm", help="Side of a pixel of the raw frame, where the source does not say it."),
    ] = None,
    serve: Annotated[
        bool, typer.Option("--serve", help="A page at http://127.0.0.1:8080; elsewhere with --sink serve:HOST:PORT.")
    ] = False,
    drop: Annotated[
        str | None, typer.Option("--drop", help="latest, oldest or never; latest of a live source, never of a file.")
    ] = None,
    deadline_ms: Annotated[float | None, typer.Option("--deadline-ms", help="From capture to answer.")] = None,
    max_age_ms: Annotated[float | None, typer.Option("--max-age-ms", help="An older answer is withdrawn.")] = None,
    keep_passing: Annotated[
        bool, typer.Option("--keep-passing", help="In the safe state go on passing pictures, without answers.")
    ] = False,
    allow_rejected: AllowRejectedOption = False,
    only_as_exported: OnlyAsExportedOption = False,
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
    from physedge.cli.follow import follow
    from physedge.deploy.opening import OpenRequest, open_chosen
    from physedge_runtime.sinks.serve import ServeSink
    from physedge_runtime.sinks.table import open_sink, sink_text
    from physedge_runtime.sources.spaced import SpacedSource
    from physedge_runtime.sources.table import open_source
    from physedge_runtime.stream.loop import stream
    from physedge_runtime.stream.share import SharedNet

    texts = [*(sink or []), *([f"video:{record}"] if record else []), *([_PAGE] if serve else [])]
    sources = [open_source(text) for text in _source_texts(source, camera)]
    if pixel_mm is not None:
        sources = [SpacedSource(one, pixel_mm) for one in sources]
    sinks = [[sink_text(text, number) for text in texts] for number in range(1, len(sources) + 1)]
    recordings = [_numbered(record_raw, number) for number in range(1, len(sources) + 1)]
    opened_sinks = [[open_sink(text) for text in one] for one in sinks]
    with ExitStack() as stack:
        for one in sources:  # first: a missing camera should not wait for a network
            one.open()
            stack.callback(one.close)
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
                only_as_exported=only_as_exported,
                prepare=engine_builder(engine, precision) if build_if_missing else None,
            )
        )
        note(sentence)
        net = stack.enter_context(ready)
        if net.computes_as_exported is False:
            note("the graph computes here otherwise than at export: physedge verify --data DIR judges it here")
        note(f"{opened.manifest.spec.name}, verdict {opened.manifest.verdict}, {opened.trust}, on {net.engine}")
        answering = net if len(sources) == 1 else SharedNet(net)
        streams = []
        for one, into, recording in zip(sources, opened_sinks, recordings, strict=True):
            running = stream(
                answering,
                one,
                drop=drop,
                deadline_ms=deadline_ms,
                max_age_ms=max_age_ms,
                frames=frames,
                duration_s=duration,
                sinks=into,
                record=recording,
                keep_passing=keep_passing,
                on_event=_print_event,
            )
            stack.callback(running.close)
            streams.append(running)
            for page in into:
                if isinstance(page, ServeSink):
                    note(f"page: {page.url}")
        ending = follow(streams)
    summaries = [running.summary() for running in streams]
    for summary, named, recording in zip(summaries, sinks, recordings, strict=True):
        name = [f"{summary.source}:"] if len(summaries) > 1 else []
        say(*name, *summary.lines(), *_written(named, recording), json_output=json_output)
    told = {"bundle": str(opened.path), "bundle_sha256": opened.sha256, "bundle_trust": opened.trust}
    if ending.error is not None:
        raise ending.error
    if len(summaries) == 1:
        emit({**summaries[0].to_dict(), **told}, json_output)
    else:
        emit({"schema_version": 1, "streams": [summary.to_dict() for summary in summaries], **told}, json_output)
    if ending.interrupted:
        raise typer.Exit(_INTERRUPTED)


def _source_texts(sources: list[str] | None, camera: int | None) -> list[str]:
    if bool(sources) == (camera is not None):
        raise UsageError(
            "PE-RUN-002",
            found="no source" if not sources else "both --source and --camera",
            expected="one of them",
            next_step="give --camera 0, or --source FILE, DIR or URL",
        )
    return sources or [str(camera)]


def _numbered(path: Path | None, number: int) -> Path | None:
    return path if path is None or number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def _written(texts: list[str], record_raw: Path | None) -> list[str]:
    files = [text.partition(":")[2] for text in texts if text.startswith(("jsonl:", "video:", "dicom:"))]
    return [f"wrote {name}" for name in [*files, *([str(record_raw)] if record_raw else [])]]


def _print_event(event: StreamEvent) -> None:
    note(f"{event.kind}: {event.text}")
