"""Where between training and device a score was lost: the means of one metric, station by station."""

from __future__ import annotations

from dataclasses import dataclass

from physedge_calibrate.comparison import kept_share
from physedge_calibrate.metrics.table import Metric
from physedge_calibrate.tolerance import Tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """Mean scores over the same samples, in the order in which a network passes; None where a station was not run.

    Attributes:
        torch: The network in torch.
        full_precision: Its graph in ONNX Runtime: the reference of every verdict.
        simulated: The quantised graph as it is written, Q/DQ computed in float: rounding alone.
        target: The quantised graph on the engine and processor that run it.
    """

    torch: float | None = None
    full_precision: float
    simulated: float | None = None
    target: float

    def to_dict(self) -> dict[str, float | None]:
        """The same as plain values for JSON."""
        return {
            "torch": self.torch,
            "full_precision": self.full_precision,
            "simulated": self.simulated,
            "target": self.target,
        }

    def attribution(self, metric: Metric, tolerance: Tolerance) -> str:
        """A sentence about where the score was lost; empty where nothing was, or nobody looked."""
        if self.torch is not None and not _keeps(self.torch, self.full_precision, metric, tolerance):
            return (
                f"lost before quantisation: {metric.title} {self.torch:.4f} in torch, {self.full_precision:.4f} as ONNX"
            )
        if self.simulated is None or _keeps(self.full_precision, self.target, metric, tolerance):
            return ""
        if _keeps(self.full_precision, self.simulated, metric, tolerance):
            return (
                f"lost in the kernels of this engine and processor, not by rounding: as the graph is written it "
                f"has a {metric.title} of {self.simulated:.4f}, here {self.target:.4f}"
            )
        return f"lost by rounding: computed as it is written, the graph has a {metric.title} of {self.simulated:.4f}"


def _keeps(before: float, after: float, metric: Metric, tolerance: Tolerance) -> bool:
    return kept_share(before, after, metric) >= tolerance.kept_fraction
