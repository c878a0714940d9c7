"""What a limited number of samples can say: intervals, sample sizes and a test for paired answers.

Samples of one patient or one sequence resemble each other, so whole groups are resampled, not samples. A
percentile interval from few groups is too narrow, for two reasons with known cures: the resampled spread lacks
the factor √(G/(G-1)), and its quantiles are those of a normal law, not of Student's with G-1 degrees of freedom
(G: number of groups). Distances from the estimate are widened by both; for many groups this changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
FEW_GROUPS = 8
# Sum of the normal quantiles of 95 % one-sided confidence (1.645) and of 80 % power (0.842).
CONFIDENCE_PLUS_POWER = 2.49
_BLOCK_ELEMENTS = 4_000_000

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A bootstrap interval.

    Attributes:
        estimate: The statistic of the samples themselves.
        low: Lower end; NaN where it could not be computed.
        high: Upper end.
        confidence: Of both ends together, so that each end alone is one-sided at (1 + confidence) / 2.
        group_count: Units that were resampled.
        sample_count: Samples in them.
        unit: What was resampled: "group" or "sample".
    """

    estimate: float
    low: float
    high: float
    confidence: float
    group_count: int
    sample_count: int
    unit: str

    @property
    def width(self) -> float:
        """Distance between both ends."""
        return self.high - self.low

    def within(self, lowest: float, highest: float) -> Interval:
        """The same, with no end beyond what the statistic can be; NaN stays.

        A percentile interval of few groups is widened around its estimate and may reach beyond.
        """
        low, high = (min(max(end, lowest), highest) if end == end else end for end in (self.low, self.high))
        return replace(self, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedInterval:
    """The interval that decides, and those it was chosen from.

    Attributes:
        deciding: The one to use.
        by_group: From resampled groups; None where there are no groups, or only one.
        by_sample: From resampled samples; None where there were groups enough not to need it.
    """

    deciding: Interval
    by_group: Interval | None
    by_sample: Interval | None


def mean_interval(
    values: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """The bootstrap interval of the mean of `values`.

    Args:
        values: (sample,) finite numbers.
        groups: (sample,) a label of the patient or sequence of each; None, or one label only: every sample stands
            for itself.
        generator: Source of randomness.
        confidence: Of both ends together.
        resamples: Number of resamples.

    Raises:
        ValueError: No values, values that are not finite, or labels of another number.
    """
    numbers = np.asarray(values, dtype=np.float64)
    features = np.stack([numbers, np.ones_like(numbers)], axis=-1)
    return statistic_interval(
        features,
        lambda sums: sums[:, 0] / sums[:, 1],
        groups=groups,
        generator=generator,
        confidence=confidence,
        resamples=resamples,
    )


def statistic_interval(
    features: NDArray[np.float64],
    statistic: Statistic,
    *,
    groups: ArrayLike | None = None,
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """The bootstrap interval of any statistic that is a function of sums over samples.

    A mean is one (sum over count), and so is an F1 score (sums of the cells of a confusion matrix): resampling
    then is a product of draw counts and sums per group, without a loop over resamples.

    Args:
        features: (sample, feature) what is summed.
        statistic: From sums (resample, feature) to values (resample,).
        groups: (sample,) labels; None, or one label only: every sample stands for itself.
        generator: Source of randomness.
        confidence: Of both ends together.
        resamples: Number of resamples.

    Raises:
        ValueError: No samples, numbers that are not finite, or labels of another number.
    """
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"expected features (sample, feature) of at least one sample, got {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError("expected finite numbers only")
    sums = _sums_by_group(features, groups)
    by_group = groups is not None and len(sums) > 1
    sums = sums if by_group else features
    group_count = len(sums)
    estimate = float(statistic(features.sum(axis=0, keepdims=True))[0])
    draws = _resampled(sums, statistic, generator, resamples) if group_count > 1 else np.empty(0)
    return interval_from_draws(
        estimate,
        draws,
        confidence=confidence,
        group_count=group_count,
        sample_count=len(features),
        unit="group" if by_group else "sample",
    )


def interval_from_draws(
    estimate: float,
    draws: NDArray[np.float64],
    *,
    confidence: float,
    group_count: int,
    sample_count: int,
    unit: str,
) -> Interval:
    """The percentile interval, widened for few groups, of a statistic whose resampled values (resample,) are known."""
    low = high = math.nan
    if group_count > 1:
        tail = (1 - confidence) / 2
        quantiles = np.nanquantile(draws, [tail, 1 - tail])
        widening = small_sample_widening(group_count, confidence)
        low, high = (float(estimate + widening * (quantile - estimate)) for quantile in quantiles)
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        confidence=confidence,
        group_count=group_count,
        sample_count=sample_count,
        unit=unit,
    )


def group_draws(
    sample_count: int, groups: ArrayLike | None, generator: np.random.Generator, resamples: int
) -> tuple[NDArray[np.float64], int, str]:
    """How often each sample is drawn in each resample of whole groups, for statistics that are no function of sums.

    Args:
        sample_count: Samples.
        groups: (sample,) labels; None, or one label only: every sample stands for itself.
        generator: Source of randomness.
        resamples: Number of resamples.

    Returns:
        Counts (resample, sample), the number of units that were drawn from, and what one is ("group" or "sample").
    """
    labels = np.arange(sample_count) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    by_group = groups is not None and labels.max(initial=0) > 0
    if not by_group:
        labels = np.arange(sample_count)
    unit_count = int(labels.max(initial=-1)) + 1
    counts = generator.multinomial(unit_count, np.full(unit_count, 1 / unit_count), size=resamples)
    return counts[:, labels].astype(np.float64), unit_count, "group" if by_group else "sample"


def guarded_mean_interval(
    values: ArrayLike,
    *,
    groups: ArrayLike | None,
    generator: np.random.Generator,
    confidence: float,
    resamples: int = RESAMPLES,
) -> GuardedInterval:
    """The interval of the mean by groups; with fewer than 8 groups the wider of that and the one by samples.

    One group alone says nothing about others: then only the samples are resampled.
    """

    def interval(labels: ArrayLike | None) -> Interval:
        return mean_interval(values, groups=labels, generator=generator, confidence=confidence, resamples=resamples)

    group_count = 0 if groups is None else len(np.unique(np.asarray(groups)))
    by_group = interval(groups) if group_count > 1 else None
    by_sample = interval(None) if group_count < FEW_GROUPS else None
    candidates = [found for found in (by_group, by_sample) if found is not None]
    return GuardedInterval(
        deciding=max(candidates, key=lambda found: found.width), by_group=by_group, by_sample=by_sample
    )


def small_sample_widening(group_count: int, confidence: float) -> float:
    """The factor t/z · √(G/(G-1)) by which a percentile interval of G groups is too narrow; at least 1."""
    from scipy.special import ndtri, stdtrit

    one_sided = (1 + confidence) / 2
    student = float(stdtrit(group_count - 1, one_sided)) / float(ndtri(one_sided))
    return student * math.sqrt(group_count / (group_count - 1))


def required_samples(*, spread: float, tolerance: float, drop: float) -> int | None:
    """How many samples show, with 95 % confidence and 80 % power, that a drop is below the tolerance.

    N ≥ (2.49·s / (τ-Δ))².

    Args:
        spread: Standard deviation s of the per-sample drop.
        tolerance: The drop τ that is still allowed.
        drop: The drop Δ that is expected.

    Returns:
        The number, at least 1; None where no number would do, since the drop is not below the tolerance.
    """
    if drop >= tolerance:
        return None
    return max(1, math.ceil((CONFIDENCE_PLUS_POWER * spread / (tolerance - drop)) ** 2))


def required_groups(drop: Interval, *, tolerance: float) -> int | None:
    """How many groups would bring the upper end of an interval of the mean drop below the tolerance.

    The distance of the upper end from the estimate shrinks as Student's quantile over the root of the number of
    groups.

    Args:
        drop: An interval of the mean drop from resampled groups.
        tolerance: The drop that is still allowed.

    Returns:
        The number; None where the estimate itself is beyond the tolerance.
    """
    from scipy.special import stdtrit

    room = tolerance - drop.estimate
    if room <= 0 or drop.group_count < 2:
        return None

    def shrinking(group_count: int) -> float:
        return float(stdtrit(group_count - 1, (1 + drop.confidence) / 2)) / math.sqrt(group_count)

    one = (drop.high - drop.estimate) / shrinking(drop.group_count)
    needed = drop.group_count
    while one * shrinking(needed) > room:
        needed = math.ceil(needed * 1.05) + 1
    return needed


def mcnemar_p_value(reference_correct: ArrayLike, candidate_correct: ArrayLike) -> float:
    """The exact two-sided p-value of McNemar's test that both answer equally often correctly.

    Only the samples on which the two differ count; under the hypothesis each falls to either side with
    probability one half.

    Args:
        reference_correct: (sample,) bool.
        candidate_correct: (sample,) bool.
    """
    from scipy.special import bdtr

    reference = np.asarray(reference_correct, dtype=bool)
    candidate = np.asarray(candidate_correct, dtype=bool)
    if reference.shape != candidate.shape:
        raise ValueError(f"expected two arrays of one shape, got {reference.shape} and {candidate.shape}")
    lost = int(np.count_nonzero(reference & ~candidate))
    won = int(np.count_nonzero(candidate & ~reference))
    if lost == won:
        return 1.0
    return min(1.0, 2.0 * float(bdtr(min(lost, won), lost + won, 0.5)))


def _sums_by_group(features: NDArray[np.float64], groups: ArrayLike | None) -> NDArray[np.float64]:
    if groups is None:
        return features
    labels = np.asarray(groups)
    if labels.shape != features.shape[:1]:
        raise ValueError(f"expected one group label a sample ({len(features)}), got {labels.shape}")
    _, index = np.unique(labels, return_inverse=True)
    sums = np.zeros((int(index.max()) + 1, features.shape[1]))
    np.add.at(sums, index, features)
    return sums


def _resampled(
    sums: NDArray[np.float64], statistic: Statistic, generator: np.random.Generator, resamples: int
) -> NDArray[np.float64]:
    """The statistic of each resample, (resample,); the draws are made in blocks to bound the memory."""
    group_count = len(sums)
    equal = np.full(group_count, 1 / group_count)
    block = max(1, _BLOCK_ELEMENTS // group_count)
    parts = []
    for start in range(0, resamples, block):
        counts = generator.multinomial(group_count, equal, size=min(block, resamples - start))
        parts.append(statistic(counts @ sums))
    return np.concatenate(parts)
