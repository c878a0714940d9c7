"""A run of `physedge bench` as a picture."""

from __future__ import annotations

from pathlib import Path

from physedge.deploy.bench import BenchReport
from physedge_runtime.device import this_device

_COLOURS = {"fp32": "#8a97a8", "fp16": "#4d9a6b", "int8": "#1763a6"}


def draw_bench(path: Path, report: BenchReport) -> None:
    """Write a PNG: the medians of every case, with its shortest time and its 90th percentile where it may be quoted."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    timings = report.bench.timings
    figure = Figure(figsize=(9.5, 2.0 + 0.46 * len(timings)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    precisions = [result.case.artefact.precision for result in report.results]
    furthest_ms = 0.0
    for row, (timing, precision) in enumerate(zip(timings, precisions, strict=True)):
        tail_ms = timing.percentiles_ms.get("p90", timing.median_ms)
        axis.barh(row, timing.median_ms, color=_COLOURS[precision], height=0.66, alpha=0.35)
        axis.barh(row, timing.cpu_median_ms, color=_COLOURS[precision], height=0.3)
        axis.plot([timing.least_ms, tail_ms], [row, row], color="#222222", linewidth=1.1)
        end_ms = max(timing.median_ms, timing.cpu_median_ms, tail_ms)
        axis.text(end_ms, row, f"  {timing.median_ms:.1f} (CPU {timing.cpu_median_ms:.1f})", va="center", fontsize=9)
        furthest_ms = max(furthest_ms, end_ms)
    axis.set_yticks(range(len(timings)), [timing.name for timing in timings], fontsize=9)
    axis.invert_yaxis()
    axis.set_xlim(0, 1.25 * furthest_ms)
    tail = "the 90th percentile" if "p90" in timings[0].percentiles_ms else "the median"
    axis.set_xlabel(
        f"ms an inference: wide, median of {report.bench.rounds} on the wall; narrow, median processor time; "
        f"line, shortest to {tail}",
        fontsize=8,
    )
    figure.legend(
        handles=[Patch(color=_COLOURS[name], label=name) for name in sorted(set(precisions))],
        fontsize=8,
        frameon=False,
        loc="outside right upper",
    )
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    load = report.bench.before.load_1min
    axis.set_title(f"{report.bundle.path.name} on {this_device()}, load {load:.1f}", fontsize=10, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})
