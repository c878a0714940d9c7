"""`physedge synth eit`: simulated impedance measurements with the images that are true of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import emit, progress, say
from physedge.cli.options import JsonOption, SeedOption

if TYPE_CHECKING:
    from physedge.data.synthesize_eit import VoltageSetSummary


def eit(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the data set; new, empty, or to be finished.")],
    electrodes: Annotated[int, typer.Option("--electrodes", help="Around the body, for example 16 or 32.")] = 16,
    samples: Annotated[int, typer.Option("--samples", help="Of train and val together.")] = 2000,
    seed: SeedOption = 0,
    protocol: Annotated[str, typer.Option("--protocol", help="adjacent, opposite, skip-K or ktc2023.")] = "adjacent",
    cover: Annotated[float, typer.Option("--cover", help="Fraction of the boundary that electrodes cover.")] = 0.5,
    radius_m: Annotated[float, typer.Option("--radius-m", help="Radius of the body, metres.")] = 0.14,
    clockwise: Annotated[
        bool, typer.Option("--clockwise", help="Electrodes are numbered clockwise, seen from above.")
    ] = False,
    errors: Annotated[
        str,
        typer.Option(
            "--errors", help="Switched on, by commas: noise, contact, angle, shape, gain, dead; usual or none."
        ),
    ] = "usual",
    val_fraction: Annotated[float, typer.Option("--val-fraction", help="Share that validates, 0 to 0.5.")] = 0.1,
    ood: Annotated[int, typer.Option("--ood", help="Samples of every set out of the distribution; 0 for none.")] = 0,
    triangles: Annotated[int, typer.Option("--triangles", help="The fewest of the simulation's mesh.")] = 4096,
    processes: Annotated[int | None, typer.Option("--processes", help="Workers; as many as processors.")] = None,
    json_output: JsonOption = False,
) -> None:
    """Simulate impedance measurements with a complete electrode model: voltages, true images, train and val.

    An interrupted set is finished by the same command.
    """
    from physedge.data.synthesize_eit import VoltageSetRequest, synthesize_eit
    from physedge.physics.eit.simulate import errors_from_words
    from physedge_runtime.frame import VoltageSpec
    from physedge_runtime.voltage_protocol import find_protocol

    voltages = VoltageSpec(
        count=find_protocol(protocol, electrodes).count,
        electrodes=electrodes,
        protocol=protocol,
        reference=True,
        radius_m=radius_m,
        cover=cover,
        clockwise=clockwise,
    )
    request = VoltageSetRequest(
        voltages=voltages,
        samples=samples,
        seed=seed,
        val_fraction=val_fraction,
        errors=errors_from_words(errors),
        ood_samples=ood,
        triangles=triangles,
    )
    with progress("Simulating measurements", sum(count for *_, count in request.sets())) as advance:
        summary = synthesize_eit(request, out, processes=processes, progress=advance)
    say(*_sentences(summary), json_output=json_output)
    emit(as_json(summary), json_output)


def _sentences(summary: VoltageSetSummary) -> list[str]:
    voltages = summary.request.voltages
    counts = ", ".join(f"{count} in {name}" for name, count in summary.counts.items())
    lines = [
        f"{voltages.electrodes} electrodes, '{voltages.protocol}', {voltages.count} voltages a frame: {summary.out}",
        f"samples: {counts}",
    ]
    if summary.simulated:
        lines.append(f"{summary.simulated} simulated now, {summary.samples_per_second:.1f} a second")
    else:
        lines.append("all of them were there already")
    return lines


def as_json(summary: VoltageSetSummary) -> dict[str, object]:
    """The summary as a machine reads it."""
    return {
        "schema_version": 1,
        "out": str(summary.out),
        "seed": summary.request.seed,
        "electrodes": summary.request.voltages.electrodes,
        "protocol": summary.request.voltages.protocol,
        "voltages": summary.request.voltages.count,
        "errors": [str(error) for error in summary.request.errors],
        "samples": summary.counts,
        "simulated": summary.simulated,
        "seconds": summary.seconds,
        "samples_per_second": summary.samples_per_second,
    }
