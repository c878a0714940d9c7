"""`physedge inspect`: what a network costs, or what a bundle says of itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from physedge.cli.console import emit, say
from physedge.cli.options import JsonOption

_SUFFIX = ".physedge"


def inspect(
    subject: Annotated[
        str | None, typer.Argument(help="A built-in network, or a bundle; all networks if not said.")
    ] = None,
    size: Annotated[int | None, typer.Option("--size", help="Side of the picture in pixels (a network).")] = None,
    physics: Annotated[str, typer.Option("--physics", help="paper or strict (a network).")] = "paper",
    json_output: JsonOption = False,
) -> None:
    """Show parameters, MACs and FLOPs of a network, or the manifest and verdicts of a bundle."""
    if subject is None:
        _list_networks(json_output)
    elif subject.endswith(_SUFFIX) or Path(subject).is_file():
        _show_bundle(Path(subject), json_output)
    else:
        _show_network(subject, size, physics, json_output)


def _list_networks(json_output: bool) -> None:
    from physedge.models.registry import REGISTRY

    say(*(f"{name:<12} {entry.summary}" for name, entry in REGISTRY.items()), json_output=json_output)
    emit({"schema_version": 1, "networks": {name: entry.summary for name, entry in REGISTRY.items()}}, json_output)


def _show_network(name: str, side_px: int | None, physics: str, json_output: bool) -> None:
    from rich.table import Table

    from physedge.models.cost import count_of
    from physedge.models.registry import factory_options, find, load_factory

    spec = find(name).spec
    frame, growth = spec.frame, spec.growth
    sides = (0, 0) if frame is None else (side_px or frame.height, side_px or frame.width)
    if growth is not None:  # four pixels a cell
        growth = growth.model_copy(update={"cells": sides[0] // 4})
        spec = spec.model_copy(update={"growth": growth})
    options = factory_options(spec)
    takes_physics = "physics" in (load_factory(find(name).factory).__kwdefaults__ or {})
    if takes_physics:
        options["physics"] = physics
    shape = spec.input_shape if frame is None else (frame.colour.channels, *sides)
    cost = count_of(find(name).build(**options), (1, *shape))
    what = f"{' x '.join(map(str, shape))} voltages" if frame is None else f"{sides[0]} x {sides[1]} x {shape[0]}"
    kind = f" ({physics} physics)" if takes_physics else ""
    if growth is not None:
        cells = f"{growth.cells} x {growth.cells} cells of {growth.cell_mm:.3g} mm"
        kind = f" (growth in {growth.step_count} steps on {cells})"
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("part", "parameters", "MACs", "FLOPs"):
        table.add_column(title, justify="left" if title == "part" else "right")
    for stage in cost.stages:
        table.add_row(stage.name, f"{stage.parameters:,}", f"{stage.macs:,}", f"{2 * stage.macs:,}")
    say(
        f"{name}{kind}, input {what}",
        f"parameters {cost.parameters:,}   MACs {cost.macs:,}   FLOPs {cost.flops:,} (2 a MAC)",
        f"profiler convention (one a MAC, normalisation counted): {cost.profiler_macs:,}",
        table,
        json_output=json_output,
    )
    emit(
        {
            "schema_version": 1,
            "network": name,
            "physics": physics if takes_physics else None,
            "input_shape": list(cost.input_shape),
            "height": sides[0] or None,
            "width": sides[1] or None,
            "parameters": cost.parameters,
            "macs": cost.macs,
            "flops": cost.flops,
            "profiler_macs": cost.profiler_macs,
        },
        json_output,
    )


def _show_bundle(path: Path, json_output: bool) -> None:
    from physedge.cli.verdicts import verdict_lines
    from physedge_runtime.bundle import read_bundle
    from physedge_runtime.keys import ANYBODY

    bundle = read_bundle(path, trust=ANYBODY)
    manifest = bundle.manifest
    say(
        f"{path.name}: {manifest.spec.name} {manifest.spec.version}, {manifest.spec.task}, {bundle.trust}",
        f"verdict {manifest.verdict}, for {manifest.target}; not a medical device",
        f"sha256 {bundle.sha256}",
        *(
            f"  {artefact.entry:<22} {artefact.precision}  {manifest.entries[artefact.entry].size_bytes:>10,} bytes  "
            f"{artefact.int8_mac_share:.1%} of MACs in INT8; {artefact.method}"
            for artefact in manifest.artefacts
        ),
        *(f"  on {engine}: {entry}" for engine, entry in sorted(manifest.shipped.items())),
        *verdict_lines(manifest.verdicts),
        json_output=json_output,
    )
    emit(
        {
            "schema_version": 1,
            "bundle": str(path),
            "sha256": bundle.sha256,
            "trust": bundle.trust,
            "manifest": manifest.model_dump(mode="json"),
        },
        json_output,
    )
