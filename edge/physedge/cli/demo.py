"""`physedge demo`: the main job in one go, on synthetic scenes and the built-in model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from physedge.cli.console import emit, progress, say
from physedge.cli.options import JsonOption, ThreadsOption


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder that takes everything.")] = Path("build/demo"),
    frames: Annotated[int, typer.Option("--frames", min=10, max=300, help="Length of the film.")] = 300,
    threads: ThreadsOption = None,
    json_output: JsonOption = False,
) -> None:
    """Draw scenes, export the built-in model with a verdict, stream a film, and name the pictures to look at."""
    from physedge.cli.verdicts import verdict_lines
    from physedge.deploy.demo import run_demo

    report = run_demo(output, frames=frames, threads=threads, progress=progress)
    say(
        "of the networks that come with weights this one runs fastest on a processor; docs/results.md compares them",
        *report.export.statements,
        *verdict_lines(report.export.manifest.verdicts),
        f"verdict: {report.export.verdict}   bundle: {report.export.bundle}",
        "",
        *report.summary.lines(),
        "",
        "Look at:",
        f"  {report.contact_sheet}   frames with the overlay, at a glance",
        f"  {report.overlay_video}   the whole film",
        f"  {report.results}   one JSON object a frame",
        "The scenes are synthetic. Not a medical device.",
        json_output=json_output,
    )
    emit(
        {
            "schema_version": 1,
            "bundle": str(report.export.bundle),
            "verdict": str(report.export.verdict),
            "summary": report.summary.to_dict(),
            "contact_sheet": str(report.contact_sheet),
            "overlay_video": str(report.overlay_video),
            "results": str(report.results),
        },
        json_output,
    )
