"""Run a reconstruction over measurements of known bodies and score its images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.gate import SetLoss
from physedge_calibrate.metrics.table import METRICS as METRIC_ROWS
from physedge_calibrate.metrics.table import metric_for
from physedge_calibrate.samples import Advance, Infer, largest_signals
from physedge_calibrate.statistics import Interval, mean_interval
from physedge_calibrate.voltage_frames import VoltageSample
from physedge_runtime.spec import ModelSpec

METRICS = ("relative_error", "correlation", "ssim", "ktc")
_KEPT = "ktc"
"""What a candidate must keep besides the metric that decides: whether the right things are found."""
_DROP_CONFIDENCE = 0.90


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionEvaluation:
    """What a network answered for every measurement, and how that scores.

    Attributes:
        names: Of the samples, in order.
        groups: Body of each.
        strata: Kind of each.
        images: float32 (sample, height, width).
        truths: float32 (sample, height, width).
        outputs: Every further output by its name, float32 (sample, ...).
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    strata: tuple[str, ...]
    images: NDArray[np.float32] = field(repr=False)
    truths: NDArray[np.float32] = field(repr=False)
    outputs: dict[str, NDArray[np.float32]] = field(repr=False, default_factory=dict)

    @property
    def answers(self) -> tuple[NDArray[np.float32], ...]:
        """The image of each sample."""
        return tuple(self.images)

    @property
    def found_from(self) -> None:
        """An image finds nothing and misses nothing: it has no threshold."""
        return

    @property
    def signals(self) -> dict[str, NDArray[np.float64]]:
        """The trust signals by name, (sample,) each."""
        return largest_signals(self.outputs)

    def __len__(self) -> int:
        return len(self.names)

    def scores(self, metric: str) -> NDArray[np.float64]:
        """Per-sample scores (sample,) of `relative_error`, `correlation`, `ssim` or `ktc`."""
        score = metric_for(metric, task="reconstruction").per_sample
        return np.array([score(a, b) for a, b in zip(self.images, self.truths, strict=True)])

    def figures(self, seed: int) -> dict[str, Interval]:
        """Every metric with its interval, and those of the linear image where the network gives one."""
        groups = list(self.groups)

        def interval(values: NDArray[np.float64]) -> Interval:
            return mean_interval(values, groups=groups, generator=np.random.default_rng(seed))

        found = {name: interval(self.scores(name)) for name in METRICS}
        linear = self.outputs.get("linear_image")
        if linear is not None:
            score = metric_for("relative_error", task="reconstruction").per_sample
            values = np.array([score(a, b) for a, b in zip(linear, self.truths, strict=True)])
            found["relative_error_linear"] = interval(values)
        return {name: METRIC_ROWS[name.removesuffix("_linear")].bounded(one) for name, one in found.items()}


def evaluate_reconstruction(
    infer: Infer, samples: Sequence[VoltageSample], spec: ModelSpec, advance: Advance
) -> ReconstructionEvaluation:
    """Score a reconstruction.

    Args:
        infer: From (1, 2, voltage) float32 to the outputs by name.
        samples: In the order in which they are scored; the same for every network that is compared.
        spec: The declaration of the network.
        advance: Called after every sample.
    """
    _ = spec
    images, truths = [], []
    others: dict[str, list[NDArray[np.float32]]] = {}
    for sample in samples:
        outputs = infer(np.ascontiguousarray(sample.picture()[np.newaxis]))
        images.append(np.array(outputs["image"][0], np.float32))
        truths.append(sample.truth())
        for name, values in outputs.items():
            if name != "image":
                others.setdefault(name, []).append(np.array(values[0], np.float32))
        advance()
    return ReconstructionEvaluation(
        names=tuple(sample.name for sample in samples),
        groups=tuple(sample.group for sample in samples),
        strata=tuple(sample.stratum for sample in samples),
        images=np.stack(images),
        truths=np.stack(truths),
        outputs={name: np.stack(values) for name, values in others.items()},
    )


def hold_reconstruction(
    reference: ReconstructionEvaluation, candidate: ReconstructionEvaluation, seed: int
) -> tuple[tuple[SetLoss, ...], tuple[str, ...]]:
    """What a candidate lost in the KTC score, the mean over all measurements."""
    full, found = reference.scores(_KEPT), candidate.scores(_KEPT)
    drop = mean_interval(
        full - found,
        groups=list(candidate.groups),
        generator=np.random.default_rng(seed),
        confidence=_DROP_CONFIDENCE,
    )
    title = metric_for(_KEPT, task="reconstruction").title
    return (SetLoss(title=title, reference=float(full.mean()), drop=drop),), ()
