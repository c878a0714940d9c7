"""The station for TensorRT: graphs, recipe and RTX engines for a GPU that is not here."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from physedge.deploy.candidates import Made
from physedge.deploy.choosing import ENTRY, evidence, set_bar, simulate_candidate
from physedge.deploy.judge import not_run
from physedge.deploy.work import Work
from physedge_runtime.verdict import Verdict

if TYPE_CHECKING:
    from torch import nn

    from physedge.deploy.calibration import Calibration
    from physedge.deploy.export import ExportReport
    from physedge_export.graph import TracedGraph


def prepare_tensorrt(
    work: Work, traced: TracedGraph, module: nn.Module | None, calibration: Calibration | None
) -> tuple[dict[str, str], Verdict]:
    """Graphs and recipe for an engine that is built on the device; nobody judges it here."""
    from physedge.deploy.gpu import NOT_BUILT, half_graph, signed_graph
    from physedge_export.audit import audit
    from physedge_export.targets.tensorrt import HALF_ENTRY, SIGNED_ENTRY, recipe
    from physedge_runtime.net import RECIPE_ENTRY

    spec = work.network.spec
    chosen = work.graphs[0]
    if work.options.precision != "fp32":
        with work.progress("converting to half precision", None):
            half = half_graph(traced, module, spec)
        work.made.append(Made(graph=half, method="half precision, physics in float32", int8_mac_share=0.0))
        chosen = half
    if calibration is not None:
        with work.progress("quantising for TensorRT", None):
            signed, quantised = signed_graph(traced, calibration)
        work.made.append(Made(graph=signed, method=quantised.method, int8_mac_share=quantised.int8_mac_share))
        chosen = signed if work.options.precision == "int8" else chosen
    for graph in work.graphs[1:]:
        if graph.entry in (HALF_ENTRY, SIGNED_ENTRY):
            reader = audit(graph.data, "tensorrt").require().checked_by
            work.statements.append(f"{graph.entry}: every operator and type taken by {reader}")
    plan = recipe(chosen.entry, chosen.data, chosen.precision, spec)
    work.extra[RECIPE_ENTRY] = plan.to_bytes()
    work.statements += [
        f"delivered for TensorRT: {', '.join(graph.entry for graph in work.graphs)} and {RECIPE_ENTRY}",
        NOT_BUILT,
        f"on the device: {plan.trtexec}",
    ]
    work.verdicts.append(not_run(chosen, "tensorrt", NOT_BUILT))
    if calibration is not None and work.samples:
        bar = set_bar(work.court(), work.graphs[0], "tensorrt", None, work.progress)
        simulated = simulate_candidate(bar, work.made[-1], work.progress)
        work.extra[ENTRY] = evidence(bar, [simulated])
        work.statements.append(f"{simulated.made.graph.entry}: {simulated.record.reasons[0]}")
    return {"tensorrt": chosen.entry}, Verdict.NOT_RUN


def deliver_for_tensorrt(work: Work, report: ExportReport) -> ExportReport:
    """Beside the bundle: engines for RTX GPUs where they can be built here, and the script that builds elsewhere."""
    from physedge.deploy.engines import deliver_engines
    from physedge_export.targets.tensorrt import recipe

    (entry,) = report.manifest.shipped.values()
    graph = next(graph for graph in work.graphs if graph.entry == entry)
    plan = recipe(entry, graph.data, graph.precision, work.network.spec)
    delivered = deliver_engines(report.bundle, graph, plan, profile=work.options.profile, progress=work.progress)
    return replace(report, statements=(*report.statements, *delivered.statements))
