"""`physedge synth tumour`: slices of a head with tumours that the growth equation made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from physedge.cli.console import emit, progress, say
from physedge.cli.options import JsonOption, SeedOption


def tumour(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the data set; new or empty.")],
    slices: Annotated[int, typer.Option("--slices", help="Of train and val together, a third of each kind.")] = 600,
    seed: SeedOption = 0,
    size: Annotated[int, typer.Option("--size", help="Side of a picture in pixels; 192 mm are seen.")] = 192,
    val_fraction: Annotated[float, typer.Option("--val-fraction", help="Share that validates, 0 to 0.5.")] = 0.25,
    uniform: Annotated[
        bool, typer.Option("--uniform", help="One diffusivity everywhere and no borders, for which theory is exact.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Draw slices with a lesion grown by u_t = div(D grad u) + rho u (1 - u), with density, D and rho known.

    Kinds: diffuse (wide front), nodular (narrow front), no_tumor. One picture tells D / rho at best, never both.
    """
    from physedge.data.synthesize_tumour import TumourRequest, synthesize_tumour

    request = TumourRequest(slices=slices, seed=seed, val_fraction=val_fraction, side_px=size, uniform=uniform)
    with progress("Growing tumours", slices) as advance:
        counts = synthesize_tumour(request, out, progress=advance)
    say(
        f"{counts['train']} training and {counts['val']} validation slices of three kinds written: {out}",
        f"densities at two dates, D and rho of each: {out / 'truth'}, {out / 'truth.csv'}",
        json_output=json_output,
    )
    emit({"schema_version": 1, "out": str(out), "kind": "tumour", "seed": seed, **counts}, json_output)
