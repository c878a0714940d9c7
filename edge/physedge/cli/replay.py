"""`physedge replay`: make the decisions of a recorded stream again, and name the first that differs."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from physedge.cli.console import emit, say
from physedge.cli.options import AllowRejectedOption, EngineOption, JsonOption, PrecisionOption, ThreadsOption


def replay(
    recording: Annotated[Path, typer.Argument(help="The file of run --record-raw.")],
    bundle: Annotated[
        Path | None, typer.Option("--bundle", help="Answer every frame again too, and compare bit for bit.")
    ] = None,
    engine: EngineOption = "auto",
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    allow_rejected: AllowRejectedOption = False,
    json_output: JsonOption = False,
) -> None:
    """Replay a recording lock-step, drops included; exits 1 where something differs."""
    from physedge_runtime.bundle import read_bundle
    from physedge_runtime.stream.record import replay as replay_recording

    opened = (
        read_bundle(bundle).open(engine=engine, precision=precision, threads=threads, allow_rejected=allow_rejected)
        if bundle is not None
        else nullcontext(None)
    )
    with opened as net:
        report = replay_recording(recording, net)
    say(
        f"{report.frames} frames, {report.decisions} decisions and {report.answers} answers replayed",
        "identical" if report.is_identical else f"first difference: {report.first_difference}",
        json_output=json_output,
    )
    emit({"schema_version": 1, "recording": str(recording), **report.to_dict()}, json_output)
    if not report.is_identical:
        raise typer.Exit(1)
