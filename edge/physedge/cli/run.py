"""`physedge run`: answer the frames of a camera, a file, a folder or a stream."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import emit, note, say
from physedge.cli.options import (
    AllowRejectedOption,
    BuildIfMissingOption,
    EngineOption,
    IsolateOption,
    JsonOption,
    OnlyAsExportedOption,
    PrecisionOption,
    RootOption,
    ThreadsOption,
    TrustOption,
)
from physedge_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from physedge_runtime.output_file import Existing, OutputFile
    from physedge_runtime.sinks.base import Sink
    from physedge_runtime.sources.base import Source
    from physedge_runtime.sources.camera_settings import CameraSettings
    from physedge_runtime.stream import StreamEvent

_INTERRUPTED = 130
_PAGE = "serve:8080"


def run(
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="A file, a folder, a URL, or a scheme; repeated: several streams, one engine."),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="Of the stream, on every line, topic, label and page; once for each source."),
    ] = None,
    camera: Annotated[int | None, typer.Option("--camera", min=0, help="Number of a camera.")] = None,
    size: Annotated[str | None, typer.Option("--size", help="Of the camera's picture: WIDTHxHEIGHT.")] = None,
    rate: Annotated[float | None, typer.Option("--rate", help="Pictures a second of the camera.")] = None,
    pixel_format: Annotated[str | None, typer.Option("--format", help="Of the camera: MJPG, YUYV ...")] = None,
    control: Annotated[
        list[str] | None, typer.Option("--control", help="Of the camera: exposure=120, gain=auto ...; may be repeated.")
    ] = None,
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
    region: Annotated[
        str | None,
        typer.Option("--region", help="Of ultrasound DICOM: N, all (each apart, the default), first or whole."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that are there; else NAME-2 is written.")
    ] = False,
    append: Annotated[
        bool, typer.Option("--append", help="JSON lines go on in the file that is there; it rotates at 64 MiB.")
    ] = False,
    serve: Annotated[
        bool, typer.Option("--serve", help="A page at http://127.0.0.1:8080; elsewhere with --sink serve:HOST:PORT.")
    ] = False,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="PHYSEDGE_PAGE_TOKEN", help="Of the page, 16 characters or more; else made up."),
    ] = None,
    tls: Annotated[
        tuple[Path, Path] | None, typer.Option("--tls", metavar="CERT KEY", help="The page by https; two PEM files.")
    ] = None,
    drop: Annotated[
        str | None, typer.Option("--drop", help="latest, oldest or never; latest of a live source, never of a file.")
    ] = None,
    deinterlace: Annotated[
        str, typer.Option("--deinterlace", help="Interlaced video of files and URLs: auto or off.")
    ] = "auto",
    deadline_ms: Annotated[float | None, typer.Option("--deadline-ms", help="From capture to answer.")] = None,
    max_age_ms: Annotated[float | None, typer.Option("--max-age-ms", help="An older answer is withdrawn.")] = None,
    keep_passing: Annotated[
        bool, typer.Option("--keep-passing", help="In the safe state go on passing pictures, without answers.")
    ] = False,
    allow_rejected: AllowRejectedOption = False,
    only_as_exported: OnlyAsExportedOption = False,
    isolate: IsolateOption = None,
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
    from physedge.cli.page import prepare_pages, tell_page
    from physedge.deploy.opening import OpenRequest, open_chosen
    from physedge_runtime.file_guard import files_named_in, refuse_same_outputs
    from physedge_runtime.sinks.serve import ServeSink
    from physedge_runtime.sinks.table import open_sink, sink_text
    from physedge_runtime.sources.base import Deinterlacing
    from physedge_runtime.sources.camera import CameraSource
    from physedge_runtime.sources.camera_settings import parse_camera_settings
    from physedge_runtime.sources.deinterlace import parse_deinterlace
    from physedge_runtime.sources.dicom_region import choose_region
    from physedge_runtime.sources.spaced import SpacedSource
    from physedge_runtime.sources.table import open_source
    from physedge_runtime.stream.loop import stream
    from physedge_runtime.stream.names import StreamNames
    from physedge_runtime.stream.share import SharedNet
    from physedge_runtime.text import one_line

    texts = [*(sink or []), *([f"video:{record}"] if record else []), *([_PAGE] if serve else [])]
    source_texts = _source_texts(source, camera)
    existing = _existing(overwrite=overwrite, append=append)
    sources: list[Source] = [CameraSource(camera)] if camera is not None else list(map(open_source, source_texts))
    for one in sources:
        if isinstance(one, Deinterlacing):
            one.deinterlace_by(parse_deinterlace(deinterlace))
    asked = parse_camera_settings(size=size, rate_hz=rate, pixel_format=pixel_format, controls=control or ())
    _ask_cameras(sources, asked)
    if region is not None:
        choose_region(sources, region)
    if pixel_mm is not None:
        sources = [SpacedSource(one, pixel_mm) for one in sources]
    given = name or [""] * len(sources)
    sinks = [
        [sink_text(text, number, stream_name=called) for text in texts] for number, called in enumerate(given, start=1)
    ]
    recordings = [_recording(record_raw, number, existing) for number in range(1, len(sources) + 1)]
    opened_sinks = [[open_sink(text, existing=existing) for text in one] for one in sinks]
    prepare_pages(opened_sinks, token=token, tls=tls)
    inputs = [path for text in source_texts for path in files_named_in(text)]
    refuse_same_outputs(_outputs(opened_sinks, recordings))
    with ExitStack() as stack:
        names = stack.enter_context(StreamNames(name or (), [one.info.name for one in sources])).names
        for one in sources:  # first: a missing camera should not wait for a network
            one.open()
            stack.callback(one.close)
        opened = open_chosen(
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
                isolate=isolate,
                prepare=engine_builder(engine, precision) if build_if_missing else None,
            )
        )
        note(opened.sentence)
        net, read = stack.enter_context(opened.net), opened.bundle
        if net.computes_as_exported is False:
            note("the graph computes here otherwise than at export: physedge verify --data DIR judges it here")
        note(f"{read.manifest.spec.name}, verdict {read.manifest.verdict}, {net.bundle_trust}, on {net.engine}")
        live = [number for number, one in enumerate(sources) if one.info.live]
        if opened.trial is not None and live:
            opened_sinks[live[0]].append(opened.trial.sink)
        answering = net if len(sources) == 1 else SharedNet(net)
        streams = []
        for one, called, into, recording in zip(sources, names, opened_sinks, recordings, strict=True):
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
                inputs=inputs,
                name=called,
                keep_passing=keep_passing,
                deinterlace=deinterlace,
                on_event=_printer(called if name or len(sources) > 1 else ""),
            )
            stack.callback(running.close)
            streams.append(running)
            for page in into:
                if isinstance(page, ServeSink):
                    tell_page(page)
        ending = follow(streams)
    summaries = [running.summary() for running in streams]
    for summary, running in zip(summaries, streams, strict=True):
        title = [f"{summary.name}:"] if len(summaries) > 1 else []
        wrote = [f"wrote {one_line(str(path))}" for path in running.written]
        say(*title, *summary.lines(), *wrote, json_output=json_output)
    told = {"bundle": str(read.path), "bundle_sha256": read.sha256, "bundle_trust": net.bundle_trust}
    if ending.error is not None:
        raise ending.error
    if opened.trial is not None:
        opened.trial.ended_in_order()
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


def _ask_cameras(sources: Sequence[Source], settings: CameraSettings) -> None:
    from physedge_runtime.sources.camera import CameraSource

    cameras = [source for source in sources if isinstance(source, CameraSource)]
    if not settings.is_empty and not cameras:
        raise UsageError(
            "PE-RUN-006",
            found="--size, --rate, --format or --control without a camera of this machine",
            expected="--camera N, or --source /dev/videoN",
            next_step="leave them out, or name a camera",
        )
    for camera in cameras:
        camera.ask_for(settings)


def _existing(*, overwrite: bool, append: bool) -> Existing:
    from physedge_runtime.output_file import Existing

    if overwrite and append:
        raise UsageError(
            "PE-OUT-004",
            found="both --overwrite and --append",
            expected="one of them, or neither",
            next_step="leave one out",
        )
    return Existing.OVERWRITE if overwrite else Existing.APPEND if append else Existing.NUMBER


def _recording(path: Path | None, number: int, existing: Existing) -> OutputFile | None:
    from physedge_runtime.output_file import OutputFile, numbered

    return None if path is None else OutputFile(path if number == 1 else numbered(path, number), existing=existing)


def _outputs(sinks: list[list[Sink]], recordings: list[OutputFile | None]) -> list[Path]:
    from physedge_runtime.sinks.base import FileSink

    files = [sink.output.requested for one in sinks for sink in one if isinstance(sink, FileSink)]
    return [*files, *(recording.requested for recording in recordings if recording is not None)]


def _printer(name: str) -> Callable[[StreamEvent], None]:
    """What prints the lines of a stream's log, with its name where there could be a doubt."""
    before = f"{name}: " if name else ""
    return lambda event: note(f"{before}{event.kind}: {event.text}")
