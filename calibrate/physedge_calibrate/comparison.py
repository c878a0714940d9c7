"""The scores of a candidate beside those of full precision, sample by sample: numbers only, no verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.metrics.table import Metric
from physedge_calibrate.statistics import Interval, guarded_mean_interval, required_samples

WORST_CASE_QUANTILE = 0.99
# Both ends together; each alone is one-sided at 95 %.
DROP_CONFIDENCE = 0.90
MEAN_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumScore:
    """Mean scores within one stratum.

    Attributes:
        name: Label of the stratum.
        sample_count: Samples in it.
        reference_mean: Mean score of full precision.
        candidate_mean: Mean score of the candidate.
        kept_fraction: Share of full precision that is kept; above 1 where the candidate is better.
    """

    name: str
    sample_count: int
    reference_mean: float
    candidate_mean: float
    kept_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What two runs over the same samples scored. A drop is a loss in the metric's unit, positive for worse.

    Attributes:
        metric: Name of the metric.
        sample_count: Samples scored.
        group_count: Patients or sequences they come from; 0 where this was not said.
        reference_mean: Mean score of full precision, with its 95 % interval.
        candidate_mean: Mean score of the candidate, with its 95 % interval.
        kept_fraction: Share of full precision that is kept.
        drop: The interval of the mean drop that decides; each end is one-sided at 95 %.
        drop_by_group: The one from resampled groups; None with fewer than two groups.
        drop_by_sample: The one from resampled samples; None with 8 groups and more.
        drop_spread: Standard deviation of the drop over samples.
        allowed_drop: Largest mean drop that passes.
        required_samples: Samples that would show it with 80 % power; None where no number would.
        worst_drop: 99th percentile of the drop.
        worst_sample: Index of the sample with the largest drop.
        strata: Scores of each stratum, worst first.
        resamples: Bootstrap resamples.
    """

    metric: str
    sample_count: int
    group_count: int
    reference_mean: Interval
    candidate_mean: Interval
    kept_fraction: float
    drop: Interval
    drop_by_group: Interval | None
    drop_by_sample: Interval | None
    drop_spread: float
    allowed_drop: float
    required_samples: int | None
    worst_drop: float
    worst_sample: int
    strata: tuple[StratumScore, ...]
    resamples: int


def compare(
    reference: NDArray[np.float64],
    candidate: NDArray[np.float64],
    *,
    metric: Metric,
    groups: Sequence[str] | None,
    strata: Sequence[str] | None,
    kept_fraction: float,
    max_drop: float | None,
    generator: np.random.Generator,
    resamples: int,
) -> Comparison:
    """The comparison of two runs.

    Args:
        reference: (sample,) finite scores of full precision.
        candidate: (sample,) finite scores of the candidate.
        metric: Which metric the scores are of.
        groups: (sample,) patient or sequence; None: not known.
        strata: (sample,) class, site or device; None: no strata.
        kept_fraction: Share of full precision's mean that has to be kept.
        max_drop: Absolute bound on the drop in addition; None: none.
        generator: Source of randomness of the bootstrap.
        resamples: Bootstrap resamples.
    """
    drops = reference - candidate if metric.higher_is_better else candidate - reference
    guarded = guarded_mean_interval(
        drops, groups=groups, generator=generator, confidence=DROP_CONFIDENCE, resamples=resamples
    )
    means = [
        metric.bounded(
            guarded_mean_interval(
                scores, groups=groups, generator=generator, confidence=MEAN_CONFIDENCE, resamples=resamples
            ).deciding
        )
        for scores in (reference, candidate)
    ]
    spread = float(drops.std(ddof=1)) if len(drops) > 1 else 0.0
    allowed = _allowed_drop(means[0].estimate, kept_fraction, max_drop, metric)
    return Comparison(
        metric=metric.name,
        sample_count=len(drops),
        group_count=0 if groups is None else len(set(groups)),
        reference_mean=means[0],
        candidate_mean=means[1],
        kept_fraction=kept_share(means[0].estimate, means[1].estimate, metric),
        drop=guarded.deciding,
        drop_by_group=guarded.by_group,
        drop_by_sample=guarded.by_sample,
        drop_spread=spread,
        allowed_drop=allowed,
        required_samples=required_samples(spread=spread, tolerance=allowed, drop=guarded.deciding.estimate)
        if spread > 0
        else 1,
        worst_drop=float(np.quantile(drops, WORST_CASE_QUANTILE)),
        worst_sample=int(drops.argmax()),
        strata=_strata(reference, candidate, strata, metric),
        resamples=resamples,
    )


def kept_share(reference_mean: float, candidate_mean: float, metric: Metric) -> float:
    """The share of full precision's score that is kept: c/r, or r/c for an error; 1 where both are 0."""
    kept, whole = (candidate_mean, reference_mean) if metric.higher_is_better else (reference_mean, candidate_mean)
    if whole == 0:
        return 1.0
    return kept / whole


def _allowed_drop(reference_mean: float, kept: float, max_drop: float | None, metric: Metric) -> float:
    # Keeping a share k of a score r allows the drop (1-k)·r; an error e may grow to e/k.
    share = 1 - kept if metric.higher_is_better else 1 / kept - 1
    relative = share * abs(reference_mean)
    return relative if max_drop is None else min(relative, max_drop)


def _strata(
    reference: NDArray[np.float64],
    candidate: NDArray[np.float64],
    strata: Sequence[str] | None,
    metric: Metric,
) -> tuple[StratumScore, ...]:
    if strata is None:
        return ()
    labels = np.asarray(strata)
    scores = []
    for name in sorted(set(strata)):
        inside = labels == name
        means = float(reference[inside].mean()), float(candidate[inside].mean())
        scores.append(
            StratumScore(
                name=name,
                sample_count=int(inside.sum()),
                reference_mean=means[0],
                candidate_mean=means[1],
                kept_fraction=kept_share(*means, metric),
            )
        )
    return tuple(sorted(scores, key=lambda score: score.kept_fraction))
