"""`physedge install`: put a bundle on a device, so that one good slot is there at any instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from physedge.cli.console import emit, note, say
from physedge.cli.options import BuildIfMissingOption, EngineOption, JsonOption, RootOption, ThreadsOption, TrustOption


def install(
    bundle: Annotated[Path, typer.Argument(help="NAME.physedge")],
    slot: Annotated[
        Literal["a", "b"] | None, typer.Option("--slot", help="One of the two slots; the free one if not said.")
    ] = None,
    root: RootOption = None,
    trust: TrustOption = None,
    engine: EngineOption = "auto",
    threads: ThreadsOption = None,
    allow_rollback: Annotated[
        bool, typer.Option("--allow-rollback", help="Install an older release than has run here; it is logged.")
    ] = False,
    build_if_missing: BuildIfMissingOption = False,
    json_output: JsonOption = False,
) -> None:
    """Verify a bundle, write it to the free slot, replay its golden frames there, and switch."""
    from physedge.cli.build import engine_builder
    from physedge_runtime.install import install as run_install
    from physedge_runtime.install import install_root

    folder = install_root(root)
    done = run_install(
        bundle,
        folder,
        trust=trust,
        slot=slot,
        engine=engine,
        threads=threads,
        allow_rollback=allow_rollback,
        prepare=engine_builder(engine, None) if build_if_missing else None,
        isolate=True,
    )
    name, release = done.bundle.manifest.spec.name, done.bundle.manifest.release
    if done.is_rollback:
        note(f"going back to release {release} was allowed and is logged")
    before = "nothing ran before" if done.replaced is None else f"release {done.replaced} stays in the other slot"
    say(
        f"{name} release {release} is in slot {done.slot}, {done.bundle.trust}; {before}",
        f"golden frames replayed on {done.engine}; it runs from the next start on",
        json_output=json_output,
    )
    emit(
        {
            "schema_version": 1,
            "network": name,
            "release": release,
            "slot": done.slot,
            "replaced_release": done.replaced,
            "root": str(folder),
            "sha256": done.bundle.sha256,
            "trust": done.bundle.trust,
            "engine": done.engine,
            "is_rollback": done.is_rollback,
        },
        json_output,
    )
