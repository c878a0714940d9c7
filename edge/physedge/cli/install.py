"""`physedge install`: put a bundle on a device, so that one good slot is there at any instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from physedge.cli.console import emit, note, say
from physedge.cli.options import BuildIfMissingOption, EngineOption, JsonOption, RootOption, ThreadsOption, TrustOption
from physedge_runtime.errors import UsageError


def install(
    bundle: Annotated[Path | None, typer.Argument(help="NAME.physedge")] = None,
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
    max_step: Annotated[
        int | None, typer.Option("--max-step", min=1, help="Refuse a release that is further above the one before.")
    ] = None,
    mend: Annotated[
        bool, typer.Option("--mend", help="Begin a lost or disagreeing record anew; its highest floor stays.")
    ] = False,
    good: Annotated[
        str | None, typer.Option("--good", help="Record instead that this network on trial has proven itself.")
    ] = None,
    reset: Annotated[
        Path | None, typer.Option("--reset", help="Lower the release floor instead, by a reset that its maker signed.")
    ] = None,
    build_if_missing: BuildIfMissingOption = False,
    json_output: JsonOption = False,
) -> None:
    """Verify a bundle, replay its golden frames, write it to the free slot, and switch."""
    if [bundle, good, reset].count(None) != 2:
        raise UsageError(
            "PE-INSTALL-013",
            found="options that do not go together",
            expected="one of a bundle, --good NETWORK or --reset FILE",
            next_step="physedge install BUNDLE",
        )
    if good is not None:
        _record_proof(good, root, json_output)
        return
    if reset is not None:
        _reset(reset, root, trust, json_output)
        return
    assert bundle is not None
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
        max_step=max_step,
        mend=mend,
        prepare=engine_builder(engine, None) if build_if_missing else None,
        isolate=True,
    )
    name, release = done.bundle.manifest.spec.name, done.bundle.manifest.release
    if done.is_rollback:
        note(f"going back to release {release} was allowed and is logged")
    before = "nothing ran before" if done.replaced is None else f"release {done.replaced} stays in the other slot"
    say(
        f"{name} release {release} is in slot {done.slot}, {done.bundle.trust}; {before}",
        f"golden frames replayed on {done.engine}; from the next start on it is on trial until live answers prove it",
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


def _record_proof(network: str, root: Path | None, json_output: bool) -> None:
    from physedge_runtime.install import install_root, update_good

    floor = update_good(install_root(root), network)
    say(f"{network} is proven; nothing older than release {floor} runs here any more", json_output=json_output)
    emit({"schema_version": 1, "network": network, "floor": floor}, json_output)


def _reset(path: Path, root: Path | None, trust: list[Path] | None, json_output: bool) -> None:
    from physedge_runtime.install import install_root
    from physedge_runtime.update.reset import apply_reset

    network, floor = apply_reset(path, install_root(root), trust=trust)
    say(
        f"{network}: releases from {floor} on may be installed again; this reset is used up",
        "what was numbered wrongly runs on until a newer one is installed",
        json_output=json_output,
    )
    emit({"schema_version": 1, "network": network, "floor": floor}, json_output)
