"""`physedge calibrate`: choose pictures, quantise and report, without a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import emit, say
from physedge.cli.options import (
    JsonOption,
    ModelOption,
    OnnxOption,
    SeedOption,
    SpecOption,
    StrataOption,
    StrictOption,
    ThreadsOption,
    WeightsOption,
)

if TYPE_CHECKING:
    from rich.table import Table

    from physedge.deploy.calibrate import CalibrateReport


def calibrate(
    calib: Annotated[Path, typer.Option("--calib", help="Folder of pictures; its train where it has one.")],
    data: Annotated[
        Path | None, typer.Option("--data", help="Evaluation data that must share no picture with them.")
    ] = None,
    target: Annotated[str, typer.Option("--target", help="onnxruntime, openvino or tensorrt.")] = "onnxruntime",
    count: Annotated[int, typer.Option("--count", min=8, help="Pictures to choose; all there are, if fewer.")] = 128,
    strata: StrataOption = None,
    model: ModelOption = None,
    weights: WeightsOption = None,
    spec: SpecOption = None,
    onnx: OnnxOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for what is written.")] = Path(
        "build/calibration"
    ),
    strict: StrictOption = False,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Choose a diverse set, refuse leaks, quantise every way we know, and write graphs, coverage and sensitivity."""
    from physedge.cli.console import progress
    from physedge.deploy.calibrate import CalibrateOptions
    from physedge.deploy.calibrate import calibrate as run_calibrate
    from physedge.deploy.network import NetworkChoice
    from physedge_calibrate.tolerance import standard
    from physedge_calibrate.tolerance import strict as strict_tolerance

    report = run_calibrate(
        CalibrateOptions(
            choice=NetworkChoice(model=model, weights=weights, spec=spec, onnx=onnx),
            calibration=calib,
            data=data,
            target=target,
            output=output,
            count=count,
            strata=strata,
            tolerance=(strict_tolerance if strict else standard)(),
            threads=threads,
            seed=seed,
        ),
        progress,
    )
    say(
        *report.statements,
        _table(report),
        f"agreement with full precision on {report.trials} further pictures; a verdict needs `export --data`",
        f"wrote {report.folder}: {', '.join(report.files)}",
        json_output=json_output,
    )
    emit(
        {
            "schema_version": 1,
            "folder": str(report.folder),
            "files": list(report.files),
            "statements": list(report.statements),
            "graphs": [
                {
                    "file": one.made.graph.entry,
                    "method": one.made.method,
                    "int8_mac_share": one.made.int8_mac_share,
                    "agreement": one.agreement,
                    "least_agreement": one.least_agreement,
                    "largest_difference": one.largest_difference,
                }
                for one in report.tried
            ],
        },
        json_output,
    )


def _table(report: CalibrateReport) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("graph", "MACs in INT8", "agreement", "least", "bytes", "made by"):
        table.add_column(title, justify="left" if title in ("graph", "made by") else "right")
    for one in report.tried:
        table.add_row(
            one.made.graph.entry,
            f"{one.made.int8_mac_share:.3f}",
            f"{one.agreement:.4f}",
            f"{one.least_agreement:.4f}",
            f"{len(one.made.graph.data):,}",
            one.made.method,
        )
    return table
