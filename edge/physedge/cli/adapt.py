"""`physedge adapt`: fit a trained impedance network to measured voltages whose images nobody knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from physedge.cli.console import emit, progress, say
from physedge.cli.options import JsonOption, SeedOption
from physedge_runtime.errors import missing_extra
from physedge_runtime.file_guard import refuse_output


def adapt(
    model: Annotated[str, typer.Argument(help="eit_post or eit_unrolled.")],
    data: Annotated[Path, typer.Option("--data", help="Measured voltages: a file, or a folder of files.")],
    sim: Annotated[Path, typer.Option("--sim", help="A simulated set of the same body, by physedge synth eit.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Weights to be written, safetensors.")],
    reference: Annotated[
        Path | None, typer.Option("--reference", help="The body at rest; where the data hold no references.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="To begin with; a fresh network where not given.")
    ] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Of the optimiser.")] = 150,
    anchor: Annotated[
        float, typer.Option("--anchor", min=0.0, help="How strongly images are held to those of before.")
    ] = 1.0,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Train from measured voltages alone: an image is right as far as its body would answer them."""
    try:
        from physedge.train.adapt import adapt_to_voltages
        from physedge.train.forward_consistency import AdaptOptions
    except ModuleNotFoundError as error:
        raise missing_extra(str(error.name), "train") from error
    refuse_output(output, [weights, data, sim, reference])
    options = AdaptOptions(steps=steps, anchor=anchor, seed=seed)
    with progress("Fitting to the voltages", steps) as advance:
        done = adapt_to_voltages(
            model, data, sim, output, reference=reference, weights=weights, options=options, advance=lambda: advance(1)
        )
    say(
        f"{done.measurements} measurements, {steps} steps: misfit {done.before:.3f} before, {done.after:.3f} after "
        "(1 is what true images leave)",
        f"weights {output}",
        json_output=json_output,
    )
    emit(
        {
            "schema_version": 1,
            "measurements": done.measurements,
            "misfit_before": done.before,
            "misfit_after": done.after,
            "weights": str(output),
        },
        json_output,
    )
