"""`physedge report`: one page for a person, or one folder for the reviewer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from physedge.cli.console import emit, say
from physedge.cli.options import JsonOption, TrustOption

_REQUIREMENTS = Path("docs/requirements.toml")


def report(
    bundle: Annotated[Path, typer.Argument(help="NAME.physedge")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The page; NAME.report.html beside the bundle if not said.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="The data that judged it: the page then shows the worst frames.")
    ] = None,
    frames: Annotated[int, typer.Option("--frames", min=1, max=64, help="Frames to show in each list.")] = 8,
    pack: Annotated[
        Path | None, typer.Option("--pack", help="Write the reviewer's folder there instead of the page.")
    ] = None,
    requirements: Annotated[
        Path, typer.Option("--requirements", help="With --pack: requirements, hazards and anomalies.")
    ] = _REQUIREMENTS,
    results: Annotated[
        Path | None, typer.Option("--results", help="With --pack: the last run of the tests, pytest --junitxml=FILE.")
    ] = None,
    trust: TrustOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write one self-contained page: verdict, candidates, coverage, sensitivity, worst frames, how to reproduce."""
    if pack is None:
        _write_page(bundle, output, data, frames, trust, json_output)
    else:
        _write_pack(bundle, pack, requirements, results, trust, json_output)


def _write_page(
    bundle: Path, output: Path | None, data: Path | None, frames: int, trust: list[Path] | None, json_output: bool
) -> None:
    from physedge.cli.console import progress
    from physedge.deploy.candidate_table import candidates_of
    from physedge.deploy.report_page import shipped_entry, write_page
    from physedge.deploy.worst_frames import SideBySide, WorstFrames, answer_side_by_side, worst_frames
    from physedge_runtime.bundle import read_bundle, write_atomically
    from physedge_runtime.file_guard import refuse_output

    opened = read_bundle(bundle, trust=trust)
    path = output or bundle.with_name(f"{bundle.name.removesuffix('.physedge')}.report.html")
    refuse_output(path, [bundle, data])
    judged, entry = candidates_of(opened), shipped_entry(opened)
    worst = worst_frames(judged, entry, most=frames) if judged is not None else WorstFrames()
    shown: tuple[SideBySide, ...] = ()
    if data is not None and judged is not None:
        with progress("answering the worst frames again", len(worst.all)) as advance:
            shown = answer_side_by_side(opened, data, worst.all, engine=judged["engine"], advance=advance)
    write_atomically(path, write_page(opened, worst, shown).encode("utf-8"))
    if data is not None and judged is not None and not shown:
        say(f"none of the judged frames is in {data}: the page has no pictures", json_output=json_output)
    say(f"verdict {opened.manifest.verdict}   wrote {path}", json_output=json_output)
    emit(
        {
            "schema_version": 1,
            "page": str(path),
            "verdict": str(opened.manifest.verdict),
            "worst_by_truth": [{"name": one.name, "score": one.shipped} for one in worst.by_truth],
            "worst_by_change": [{"name": one.name, "loss": one.loss} for one in worst.by_change],
        },
        json_output,
    )


def _write_pack(
    bundle: Path,
    pack: Path,
    requirements: Path,
    results: Path | None,
    trust: list[Path] | None,
    json_output: bool,
) -> None:
    """Collect verdicts, card, bill of materials, requirement-to-test trace, hazards and known anomalies."""
    from physedge.deploy.report import Evidence, write_pack
    from physedge.deploy.trace import read_requirements, read_results
    from physedge_runtime.bundle import read_bundle

    evidence = Evidence(
        bundle=read_bundle(bundle, trust=trust),
        requirements=read_requirements(requirements),
        results=read_results(results) if results is not None else (),
        made_on=datetime.now(UTC).date(),
    )
    written = write_pack(evidence, pack)
    met = len(written.traces) - len(written.unmet)
    say(
        f"{met} of {len(written.traces)} requirements are met by the tests of the last run"
        + (f"; not: {', '.join(written.unmet)}" if written.unmet else ""),
        f"wrote {written.index} and {len(written.files) - 1} files beside it",
        json_output=json_output,
    )
    emit(
        {
            "schema_version": 1,
            "index": str(written.index),
            "files": list(written.files),
            "requirements": {trace.requirement.id: trace.status for trace in written.traces},
        },
        json_output,
    )
