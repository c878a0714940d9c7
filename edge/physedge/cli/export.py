"""`physedge export`: from a network to a bundle with a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import emit, say
from physedge.cli.options import (
    JsonOption,
    MaxDropOption,
    MetricOption,
    ModelOption,
    OnnxOption,
    SeedOption,
    SpecOption,
    StrataOption,
    StrictOption,
    ThreadsOption,
    TrustOption,
    WeightsOption,
)

if TYPE_CHECKING:
    from physedge.deploy.export import ExportReport


def export(
    target: Annotated[str, typer.Option("--target", help="onnxruntime, openvino or tensorrt.")] = "onnxruntime",
    precision: Annotated[str, typer.Option("--precision", help="auto, fp32, fp16 or int8.")] = "auto",
    calib: Annotated[
        Path | None, typer.Option("--calib", help="Folder of calibration pictures; INT8 needs it.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Labelled data for the verdict.")] = None,
    model: ModelOption = None,
    weights: WeightsOption = None,
    spec: SpecOption = None,
    onnx: OnnxOption = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The bundle; build/NAME.physedge if not said.")
    ] = None,
    profile: Annotated[
        str | None, typer.Option("--profile", help="rtx20, rtx30, rtx40, rtx50, jetson-orin or jetson-thor.")
    ] = None,
    build: Annotated[
        Path | None, typer.Option("--build", help="Build this bundle's TensorRT engine for the GPU that is here.")
    ] = None,
    workspace: Annotated[
        int | None, typer.Option("--workspace", min=64, help="With --build: MiB for the builder.")
    ] = None,
    hardware_compatible: Annotated[
        bool, typer.Option("--hardware-compatible", help="With --build: for later GPUs too; may be slower.")
    ] = False,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="With --build: for later TensorRT too; larger.")
    ] = False,
    trust: TrustOption = None,
    golden: Annotated[
        Path | None, typer.Option("--golden", help="Real golden frames; they travel with the bundle.")
    ] = None,
    strata: StrataOption = None,
    metric: MetricOption = None,
    strict: StrictOption = False,
    max_drop: MaxDropOption = None,
    false_alarm_rate: Annotated[
        float, typer.Option("--false-alarm-rate", min=0.0001, max=0.5, help="Of the trust signals, on clean frames.")
    ] = 0.01,
    threads: ThreadsOption = None,
    seed: SeedOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Trace, quantise, judge and pack a network; exits 1 where the verdict is REJECT or INCONCLUSIVE."""
    from physedge.cli.build import BuildRequest
    from physedge.cli.build import build as run_build
    from physedge.cli.console import progress
    from physedge.cli.verdicts import verdict_lines
    from physedge.deploy.export import ExportOptions
    from physedge.deploy.export import export as run_export
    from physedge.deploy.judge import spread_over_cores
    from physedge.deploy.network import NetworkChoice
    from physedge_calibrate.tolerance import standard
    from physedge_calibrate.tolerance import strict as strict_tolerance
    from physedge_runtime.file_guard import refuse_output

    if build is not None:
        run_build(
            BuildRequest(
                bundle=build,
                trust=trust,
                precision=None if precision == "auto" else precision,
                workspace_mib=workspace,
                hardware_compatible=hardware_compatible,
                version_compatible=version_compatible,
                data=data,
                threads=threads,
                seed=seed,
                tolerance=(strict_tolerance if strict else standard)(max_drop=max_drop),
            ),
            json_output=json_output,
        )
        return
    options = ExportOptions(
        choice=NetworkChoice(model=model, weights=weights, spec=spec, onnx=onnx),
        target=target,
        precision=precision,
        calibration=calib,
        data=data,
        golden=golden,
        output=output,
        tolerance=(strict_tolerance if strict else standard)(max_drop=max_drop),
        threads=threads,
        seed=seed,
        profile=profile,
        false_alarm_rate=false_alarm_rate,
        spread=spread_over_cores(threads),
        strata=strata,
        metric=metric,
    )
    if output is not None:
        refuse_output(output, [weights, spec, onnx, calib, data, golden], is_bundle=True)
    report = run_export(options, progress)
    say(*report.statements, *verdict_lines(report.manifest.verdicts), json_output=json_output)
    say(f"verdict: {report.verdict}   bundle: {report.bundle}", json_output=json_output)
    emit(as_json(report), json_output)
    if not report.passed:
        raise typer.Exit(1)


def as_json(report: ExportReport) -> dict[str, object]:
    """The report as a machine reads it."""
    return {
        "schema_version": 1,
        "bundle": str(report.bundle),
        "verdict": str(report.verdict),
        "origin": report.network.origin,
        "statements": list(report.statements),
        "manifest": report.manifest.model_dump(mode="json"),
    }
