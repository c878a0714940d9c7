"""`physedge diff`: what changed from one release to the next, on paper and in the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from physedge.cli.console import emit, progress, say
from physedge.cli.options import EngineOption, JsonOption, SeedOption, ThreadsOption, TrustOption


def diff(
    before: Annotated[Path, typer.Argument(help="The older bundle.")],
    after: Annotated[Path, typer.Argument(help="The newer bundle.")],
    frames: Annotated[
        Path | None, typer.Option("--frames", help="Folder of pictures; the older bundle's golden frames if not said.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Labelled data, for the change of the metric with its interval.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Frames at most, spread over all.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for index.html and diff.json; build/diff if not said.")
    ] = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    trust: TrustOption = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Compare manifest, recipe and graphs of two bundles, then their answers to the same frames."""
    from physedge.deploy.diff import DiffOptions, pictures_of
    from physedge.deploy.diff import diff as run_diff
    from physedge.deploy.diff_page import as_json, summary_lines, write_diff
    from physedge_runtime.bundle import read_bundle
    from physedge_runtime.file_guard import refuse_output

    for name in ("index.html", "diff.json"):
        refuse_output((output or Path("build/diff")) / name, [before, after, data])
    old, new = read_bundle(before, trust=trust), read_bundle(after, trust=trust)
    options = DiffOptions(frames=frames, data=data, limit=limit, engine=engine, threads=threads, seed=seed)
    with progress("answering the same frames twice", len(pictures_of(old, options))) as advance:
        difference = run_diff(old, new, options, advance=advance)
    page, record = write_diff(difference, output or Path("build/diff"))
    say(*summary_lines(difference), f"wrote {page} and {record}", json_output=json_output)
    emit(as_json(difference), json_output)
