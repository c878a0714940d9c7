"""The metrics by which a network may be judged, and which one leads for each task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.metrics.classification import correct
from physedge_calibrate.metrics.ktc import ktc_of_images
from physedge_calibrate.metrics.reconstruction import correlation, relative_error, ssim
from physedge_calibrate.metrics.segmentation import asd, boundary_ring_dice, dice, hd95, iou
from physedge_calibrate.statistics import Interval
from physedge_runtime.errors import UsageError

PerSample = Callable[[NDArray[np.generic], NDArray[np.generic]], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of merit.

    Attributes:
        name: As on the command line.
        title: As in a report.
        task: The task whose outputs it scores.
        unit: Unit of its values; empty for a plain number.
        higher_is_better: False for errors and distances.
        per_sample: Score of one prediction against one truth; of macro F1, which is no mean over samples, what a sample
            contributes before it is weighed by its class.
        worst_case_drop: Largest 99th percentile of the per-sample loss that still passes; None: no such bound.
        lowest: Of its values.
        highest: Of its values.
    """

    name: str
    title: str
    task: str
    unit: str = ""
    higher_is_better: bool
    per_sample: PerSample
    worst_case_drop: float | None = None
    lowest: float = 0.0
    highest: float = 1.0

    def bounded(self, interval: Interval) -> Interval:
        """An interval of its mean that does not reach beyond what it can be."""
        return interval.within(self.lowest, self.highest)


DICE = Metric(
    name="dice",
    title="Dice",
    task="segmentation",
    higher_is_better=True,
    per_sample=dice,
    worst_case_drop=0.10,
)
IOU = Metric(name="iou", title="IoU", task="segmentation", higher_is_better=True, per_sample=iou, worst_case_drop=0.15)
HD95 = Metric(
    name="hd95", title="HD95", task="segmentation", unit="px", higher_is_better=False, per_sample=hd95, highest=math.inf
)
ASD = Metric(
    name="asd", title="ASD", task="segmentation", unit="px", higher_is_better=False, per_sample=asd, highest=math.inf
)
RING_DICE = Metric(
    name="ring_dice",
    title="boundary ring Dice",
    task="segmentation",
    higher_is_better=True,
    per_sample=boundary_ring_dice,
)

ACCURACY = Metric(name="accuracy", title="accuracy", task="classification", higher_is_better=True, per_sample=correct)
MACRO_F1 = Metric(name="macro_f1", title="macro F1", task="classification", higher_is_better=True, per_sample=correct)
RELATIVE_ERROR = Metric(
    name="relative_error",
    title="relative error",
    task="reconstruction",
    higher_is_better=False,
    per_sample=relative_error,
    highest=math.inf,
)
SSIM = Metric(name="ssim", title="SSIM", task="reconstruction", higher_is_better=True, per_sample=ssim, lowest=-1.0)
CORRELATION = Metric(
    name="correlation",
    title="correlation",
    task="reconstruction",
    higher_is_better=True,
    per_sample=correlation,
    lowest=-1.0,
)
KTC = Metric(name="ktc", title="KTC score", task="reconstruction", higher_is_better=True, per_sample=ktc_of_images)

_ROWS: tuple[Metric, ...] = (
    DICE,
    IOU,
    HD95,
    ASD,
    RING_DICE,
    ACCURACY,
    MACRO_F1,
    RELATIVE_ERROR,
    SSIM,
    CORRELATION,
    KTC,
)
METRICS: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in _ROWS})
# The first row of a task leads it.
HEADLINES: Mapping[str, Metric] = MappingProxyType({metric.task: metric for metric in reversed(_ROWS)})


def headline_metric(task: str) -> Metric:
    """The metric that decides about networks of this task.

    Raises:
        UsageError: PE-METRIC-002, no metric knows this task.
    """
    if task not in HEADLINES:
        raise UsageError(
            "PE-METRIC-002",
            found=f"the task '{task}'",
            expected=f"one of {', '.join(sorted(HEADLINES))}",
            next_step="correct the task in the network's spec",
        )
    return HEADLINES[task]


def metric_for(name: str, *, task: str) -> Metric:
    """The metric of this name, if it can score this task.

    Raises:
        UsageError: PE-METRIC-001, no such metric or not one for this task.
    """
    metric = METRICS.get(name)
    if metric is None or metric.task != task:
        fitting = ", ".join(sorted(row.name for row in METRICS.values() if row.task == task)) or "none"
        known = "an unknown metric" if metric is None else f"a metric for {metric.task}"
        raise UsageError(
            "PE-METRIC-001",
            found=f"'{name}', {known}, for a network whose task is {task}",
            expected=f"a metric that fits the task: {fitting}",
            next_step="give one of these to --metric, or leave it out",
        )
    return metric
