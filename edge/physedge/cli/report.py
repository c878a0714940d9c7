"""`physedge report`: one folder for the reviewer."""

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
    pack: Annotated[Path, typer.Option("--pack", help="Folder for the pack.")],
    requirements: Annotated[
        Path, typer.Option("--requirements", help="Requirements, hazards and anomalies.")
    ] = _REQUIREMENTS,
    results: Annotated[
        Path | None, typer.Option("--results", help="The last run of the tests: pytest --junitxml=FILE.")
    ] = None,
    trust: TrustOption = None,
    json_output: JsonOption = False,
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
