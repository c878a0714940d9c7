"""How verdicts look on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from physedge_runtime.verdict import Verdict

if TYPE_CHECKING:
    from rich.console import RenderableType

    from physedge_runtime.manifest import Metric, VerdictRecord

_STYLES = {
    Verdict.ACCEPT: "bold green",
    Verdict.REJECT: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
    Verdict.NOT_RUN: "dim",
}


def verdict_lines(records: Sequence[VerdictRecord]) -> list[RenderableType]:
    """A table of what was judged, and under it the reasons."""
    from rich.table import Table
    from rich.text import Text

    judged = [record for record in records if record.verdict is not Verdict.NOT_RUN]
    lines: list[RenderableType] = []
    if judged:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("graph", "engine", "metric", "full precision", "this graph", "samples", "groups", "verdict"):
            table.add_column(title)
        for record in judged:
            table.add_row(
                record.artefact,
                record.engine,
                record.metric,
                _figure(record.reference),
                _figure(record.measured),
                str(record.samples),
                str(record.groups),
                Text(str(record.verdict), style=_STYLES[record.verdict]),
            )
        lines.append(table)
    lines += [f"  {record.artefact} on {record.engine}: {reason}" for record in judged for reason in record.reasons]
    return lines


def _figure(metric: Metric | None) -> str:
    return "" if metric is None else f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"
