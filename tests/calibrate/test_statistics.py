"""Intervals against simulation and SciPy, sample sizes and tests against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from physedge_calibrate.metrics.table import DICE
from physedge_calibrate.statistics import (
    guarded_mean_interval,
    mcnemar_p_value,
    mean_interval,
    required_samples,
    small_sample_widening,
    statistic_interval,
)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_interval_of_independent_samples_agrees_with_scipy() -> None:
    values = generator(1).gamma(2.0, size=200)
    ours = mean_interval(values, generator=generator(2), confidence=0.95)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=generator(3)).confidence_interval
    widening = small_sample_widening(200, 0.95)
    assert 1.0 < widening < 1.02
    assert ours.low == pytest.approx(values.mean() + widening * (theirs.low - values.mean()), abs=0.01)
    assert ours.high == pytest.approx(values.mean() + widening * (theirs.high - values.mean()), abs=0.01)


def test_clustered_interval_has_the_standard_error_of_the_group_means() -> None:
    effects = generator(4).normal(size=40)
    values = np.repeat(effects, 25)
    groups = np.repeat(np.arange(40), 25)
    interval = mean_interval(values, groups=groups, generator=generator(5), confidence=0.90)
    half = stats.t.ppf(0.95, 39) * effects.std(ddof=1) / math.sqrt(40)
    assert interval.high - interval.estimate == pytest.approx(half, rel=0.06)
    assert (interval.group_count, interval.sample_count, interval.unit) == (40, 1000, "group")


@pytest.mark.parametrize("group_count", [4, 6, 12])
def test_one_sided_upper_end_covers_the_mean_even_with_few_groups(group_count: int) -> None:
    random = generator(6)
    runs, covered, covered_without = 400, 0, 0
    groups = np.repeat(np.arange(group_count), 8)
    widening = small_sample_widening(group_count, 0.90)
    for _ in range(runs):
        effects = random.normal(size=group_count)
        values = effects[groups] + 0.5 * random.normal(size=len(groups))
        interval = mean_interval(values, groups=groups, generator=random, confidence=0.90, resamples=500)
        covered += interval.high >= 0
        covered_without += interval.estimate + (interval.high - interval.estimate) / widening >= 0
    # Three standard errors of a share of 0.95 among 400 runs are 0.033.
    assert covered / runs >= 0.917
    if group_count == 4:
        assert covered_without / runs < 0.917


def test_widening_is_students_correction() -> None:
    expected = stats.t.ppf(0.95, 3) / stats.norm.ppf(0.95) * math.sqrt(4 / 3)
    assert small_sample_widening(4, 0.90) == pytest.approx(expected)
    assert small_sample_widening(10_000, 0.90) == pytest.approx(1.0, abs=1e-3)


def test_the_wider_interval_decides_where_groups_are_few() -> None:
    random = generator(7)
    groups = np.repeat(np.arange(4), 20)
    alike = random.normal(size=80)
    apart = alike + 3.0 * groups
    for values in (alike, apart):
        found = guarded_mean_interval(values, groups=groups, generator=random, confidence=0.90)
        assert found.by_group is not None
        assert found.by_sample is not None
        assert found.deciding.width == max(found.by_group.width, found.by_sample.width)


def test_groups_alone_decide_where_they_are_many() -> None:
    values = generator(8).normal(size=80)
    found = guarded_mean_interval(values, groups=np.arange(80) // 10, generator=generator(9), confidence=0.90)
    assert found.by_sample is None
    assert found.deciding is found.by_group


@pytest.mark.parametrize("groups", [None, ["only"] * 30])
def test_without_two_groups_the_samples_decide(groups: list[str] | None) -> None:
    found = guarded_mean_interval(
        generator(10).normal(size=30), groups=groups, generator=generator(11), confidence=0.90
    )
    assert found.by_group is None
    assert found.deciding.unit == "sample"


def test_the_same_seed_gives_the_same_interval() -> None:
    values = generator(12).normal(size=50)
    first, second = (mean_interval(values, generator=generator(13)) for _ in range(2))
    assert first == second


def test_blocks_of_draws_do_not_change_a_large_problem() -> None:
    values = generator(14).normal(size=3000)
    interval = mean_interval(values, generator=generator(15), confidence=0.95)
    assert interval.width == pytest.approx(2 * 1.96 / math.sqrt(3000), rel=0.05)


def test_any_function_of_sums_can_be_resampled() -> None:
    numerator, denominator = generator(16).uniform(1, 2, size=(2, 150))
    interval = statistic_interval(
        np.stack([numerator, denominator], axis=1), lambda sums: sums[:, 0] / sums[:, 1], generator=generator(17)
    )
    theirs = stats.bootstrap(
        (numerator, denominator),
        lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True,
        method="percentile",
        rng=generator(18),
    ).confidence_interval
    assert interval.low == pytest.approx(theirs.low, abs=0.004)
    assert interval.high == pytest.approx(theirs.high, abs=0.004)


def test_one_sample_has_an_estimate_and_no_interval() -> None:
    interval = mean_interval([0.3], generator=generator())
    assert interval.estimate == 0.3
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_numbers_that_are_not_finite_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval([0.1, math.nan], generator=generator())
    with pytest.raises(ValueError, match="at least one sample"):
        mean_interval([], generator=generator())
    with pytest.raises(ValueError, match="one group label a sample"):
        mean_interval([1.0, 2.0], groups=["a"], generator=generator())


@pytest.mark.parametrize(("spread", "expected"), [(0.01, 39), (0.02, 156), (0.03, 349)])
def test_sample_size_is_that_of_the_formula(spread: float, expected: int) -> None:
    found = required_samples(spread=spread, tolerance=0.005, drop=0.001)
    assert found == math.ceil((2.49 * spread / 0.004) ** 2) == expected


def test_the_sample_size_has_the_power_it_promises() -> None:
    count = required_samples(spread=0.02, tolerance=0.005, drop=0.001)
    assert count is not None
    drops = generator(19).normal(0.001, 0.02, size=(20_000, count))
    upper = drops.mean(axis=1) + 1.645 * drops.std(axis=1, ddof=1) / math.sqrt(count)
    assert (upper < 0.005).mean() == pytest.approx(0.80, abs=0.01)


def test_no_number_of_samples_saves_a_drop_beyond_the_tolerance() -> None:
    assert required_samples(spread=0.01, tolerance=0.005, drop=0.005) is None
    assert required_samples(spread=0.0, tolerance=0.005, drop=0.0) == 1


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (5, 5), (9, 1), (1, 9), (12, 3), (40, 22)])
def test_mcnemar_is_the_exact_binomial_test(lost: int, won: int) -> None:
    reference = np.array([True] * lost + [False] * won + [True] * 50)
    candidate = np.array([False] * lost + [True] * won + [True] * 50)
    expected = stats.binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert mcnemar_p_value(reference, candidate) == pytest.approx(expected)


def test_mcnemar_needs_pairs() -> None:
    with pytest.raises(ValueError, match="one shape"):
        mcnemar_p_value([True], [True, False])


def test_an_interval_ends_where_the_metric_does() -> None:
    """Two groups of Dice near 1: widened for so few, the interval would end above 1."""
    values = np.array([0.9, 0.92, 0.99, 1.0])
    raw = mean_interval(values, groups=["a", "a", "b", "b"], generator=np.random.default_rng(0))
    assert raw.high > 1
    bounded = DICE.bounded(raw)
    assert (bounded.low, bounded.high, bounded.estimate) == (raw.low, 1.0, raw.estimate)
    alone = mean_interval(values[:1], generator=np.random.default_rng(0))
    assert math.isnan(DICE.bounded(alone).high)
