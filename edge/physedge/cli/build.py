"""`physedge export --build BUNDLE`: the TensorRT engine of a bundle, built and judged on the GPU that is here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from physedge.cli.console import emit, say

if TYPE_CHECKING:
    from physedge_calibrate.tolerance import Tolerance
    from physedge_runtime.bundle import Bundle


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What `--build` was asked for.

    Attributes:
        bundle: Its file.
        trust: Public keys, one of which must have signed it.
        precision: Of the graph; the one that ships where None.
        workspace_mib: For the builder.
        hardware_compatible: For later GPUs too.
        version_compatible: For later TensorRT too.
        data: Labelled data for a verdict on the engine.
        tolerance: Of that verdict.
        threads: Of full precision's engine.
        seed: Of the bootstrap.
    """

    bundle: Path
    trust: list[Path] | None
    precision: str | None
    workspace_mib: int | None
    hardware_compatible: bool
    version_compatible: bool
    data: Path | None
    tolerance: Tolerance
    threads: int | None
    seed: int


def build(request: BuildRequest, *, json_output: bool) -> None:
    """Build, replay the golden frames, judge where data is given; exits 1 and keeps nothing that is not accepted."""
    from physedge.cli.console import progress
    from physedge.cli.verdicts import verdict_lines
    from physedge.deploy.engine_build import DeviceBuildOptions, build_on_device, prices
    from physedge.deploy.verify import verify
    from physedge_runtime.bundle import read_bundle

    opened = read_bundle(request.bundle, trust=request.trust)
    hardware, version = request.hardware_compatible, request.version_compatible
    say(*prices(hardware_compatible=hardware, version_compatible=version), json_output=json_output)
    done = build_on_device(
        opened,
        DeviceBuildOptions(
            precision=request.precision,
            workspace_mib=request.workspace_mib,
            hardware_compatible=hardware,
            version_compatible=version,
        ),
        progress=progress,
    )
    say(*done.statements, json_output=json_output)
    verdict, passed = None, True
    if request.data is not None:
        found = verify(
            opened,
            tolerance=request.tolerance,
            engine="tensorrt",
            precision=done.artefact.precision,
            threads=request.threads,
            data=request.data,
            seed=request.seed,
            progress=progress,
        )
        verdict, passed = found.verdict, found.passed
        assert verdict is not None
        say(*verdict_lines([verdict]), json_output=json_output)
        if not passed:
            done.forget()
            say("the engine was not accepted, and was not kept", json_output=json_output)
    emit(
        {
            "schema_version": 1,
            "bundle": str(request.bundle),
            "engine": str(done.path),
            "built": done.built,
            "seconds": done.seconds,
            "device": str(done.device),
            "library": str(done.builder),
            "graph": done.artefact.entry,
            "verdict": verdict.model_dump(mode="json") if verdict is not None else None,
        },
        json_output,
    )
    if not passed:
        raise typer.Exit(1)


def engine_builder(engine: str, precision: str | None) -> Callable[[Bundle], None]:
    """What `--build-if-missing` does with a bundle before it is opened: build its engine, and say so."""

    def build_missing(bundle: Bundle) -> None:
        from physedge.cli.console import note, progress
        from physedge.deploy.engine_build import build_if_missing

        note(build_if_missing(bundle, engine=engine, precision=precision, progress=progress))

    return build_missing
