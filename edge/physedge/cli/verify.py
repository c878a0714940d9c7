"""`physedge verify`: does this bundle hold on this machine?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import emit, say
from physedge.cli.options import (
    EngineOption,
    JsonOption,
    MaxDropOption,
    MetricOption,
    PrecisionOption,
    SeedOption,
    StrictOption,
    ThreadsOption,
    TrustOption,
)

if TYPE_CHECKING:
    from physedge.deploy.verify import Verification


def verify(
    bundle: Annotated[Path, typer.Argument(help="NAME.physedge")],
    data: Annotated[Path | None, typer.Option("--data", help="Labelled data for a verdict on this machine.")] = None,
    engine: EngineOption = "auto",
    precision: PrecisionOption = None,
    metric: MetricOption = None,
    strict: StrictOption = False,
    max_drop: MaxDropOption = None,
    threads: ThreadsOption = None,
    ray: Annotated[
        str | None, typer.Option("--ray", help="Evaluate on a Ray cluster: its address, or `local` to start one here.")
    ] = None,
    trust: TrustOption = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Check the signature and every byte, replay the golden frames, and judge the accuracy where data is given."""
    from physedge.cli.console import progress
    from physedge.cli.verdicts import verdict_lines
    from physedge.deploy.judge import spread_over_cores
    from physedge.deploy.verify import verify as run_verify
    from physedge_calibrate.spread import Spread
    from physedge_calibrate.tolerance import standard
    from physedge_calibrate.tolerance import strict as strict_tolerance
    from physedge_runtime.bundle import read_bundle

    opened = read_bundle(bundle, trust=trust)
    say(f"{bundle.name}: every byte agrees with the manifest; {opened.trust}", json_output=json_output)
    found = run_verify(
        opened,
        tolerance=(strict_tolerance if strict else standard)(max_drop=max_drop),
        engine=engine,
        precision=precision,
        threads=threads,
        data=data,
        seed=seed,
        spread=Spread(ray=ray) if ray is not None else spread_over_cores(threads),
        metric=metric,
        progress=progress,
    )
    largest = max((replay.max_error for replay in found.golden), default=0.0)
    say(
        f"golden frames: {len(found.golden)} replayed on {found.engine}, largest difference {largest:.2g}",
        *_computation(found),
        *(verdict_lines([found.verdict]) if found.verdict else ("no accuracy verdict: it needs --data DIR",)),
        json_output=json_output,
    )
    if found.verdict is not None:
        say(f"verdict here: {found.verdict.verdict}   written to {found.written}", json_output=json_output)
    emit(
        {
            "schema_version": 1,
            "bundle": str(bundle),
            "sha256": opened.sha256,
            "trust": opened.trust,
            "engine": found.engine,
            "golden": [asdict(replay) for replay in found.golden],
            "computes_as_exported": found.as_exported,
            "verdict": found.verdict.model_dump(mode="json") if found.verdict else None,
            "written": str(found.written) if found.written else None,
        },
        json_output,
    )
    if not found.passed:
        raise typer.Exit(1)


def _computation(found: Verification) -> list[str]:
    """Whether the graph computes here as at export; nothing where the bundle does not say."""
    if found.as_exported is None:
        return []
    if found.as_exported:
        return ["it computes here as it did at export"]
    mean = max(replay.own_mean_error or 0.0 for replay in found.golden)
    largest = max(replay.own_max_error or 0.0 for replay in found.golden)
    return [
        f"it computes here otherwise than at export, by {mean:.2g} in the mean and {largest:.2g} at most: another"
        " version of the engine, another processor, or a fault; --data DIR judges it here"
    ]
