"""The gate against planted losses: what has to pass, what must not, and what cannot be said."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge_calibrate.gate import Judgement, SetLoss, Tolerance, judge, standard, strict
from physedge_calibrate.metrics.table import DICE, HD95
from physedge_calibrate.outputs import OutputFault, OutputFinding
from physedge_calibrate.statistics import Interval
from physedge_runtime.verdict import Verdict

Scores = NDArray[np.float64]
SEQUENCES = [f"s{index}" for index in np.repeat([21, 22, 23, 24], [20, 18, 12, 25])]


def reference_scores(count: int = 75, *, seed: int = 1) -> Scores:
    return np.random.default_rng(seed).uniform(0.78, 0.96, size=count)


def drops(count: int = 75, *, mean: float, spread: float, seed: int = 2) -> Scores:
    """Losses with exactly this mean and standard deviation."""
    values = np.random.default_rng(seed).normal(size=count)
    values -= values.mean()
    return mean + spread * values / values.std(ddof=1)


def verdict_on(
    candidate: Scores,
    reference: Scores | None = None,
    *,
    groups: list[str] | None = None,
    strata: list[str] | None = None,
    tolerance: Tolerance | None = None,
    findings: tuple[OutputFinding, ...] = (),
) -> Judgement:
    return judge(
        reference_scores(len(candidate)) if reference is None else reference,
        candidate,
        groups=groups,
        strata=strata,
        tolerance=tolerance or standard(),
        generator=np.random.default_rng(0),
        findings=findings,
    )


@pytest.mark.parametrize("groups", [None, SEQUENCES])
def test_a_small_and_even_loss_passes_with_75_images_of_4_sequences(groups: list[str] | None) -> None:
    found = verdict_on(reference_scores() - drops(mean=0.001, spread=0.01), groups=groups, strata=groups)
    assert found.verdict is Verdict.ACCEPT
    assert found.comparison is not None
    assert found.comparison.drop.estimate == pytest.approx(0.001)
    assert found.comparison.drop.high < found.comparison.allowed_drop
    assert found.comparison.allowed_drop == pytest.approx(0.01 * reference_scores().mean())
    assert found.comparison.group_count == (0 if groups is None else 4)


def test_the_same_scores_pass_even_strictly() -> None:
    assert verdict_on(reference_scores(), tolerance=strict()).verdict is Verdict.ACCEPT


def test_a_better_candidate_passes() -> None:
    assert verdict_on(reference_scores() + 0.02).verdict is Verdict.ACCEPT


def test_strict_refuses_what_standard_passes() -> None:
    candidate = reference_scores() - drops(mean=0.004, spread=0.002)
    assert verdict_on(candidate).verdict is Verdict.ACCEPT
    assert verdict_on(candidate, tolerance=strict()).verdict is Verdict.REJECT


def test_a_mean_loss_beyond_the_tolerance_is_refused() -> None:
    found = verdict_on(reference_scores() - drops(mean=0.02, spread=0.01))
    assert found.verdict is Verdict.REJECT
    assert "mean Dice is worse by 0.0200, more than the 0.008" in found.reasons[0]


def test_three_images_are_too_few_whatever_they_say() -> None:
    for candidate in (reference_scores(3), np.zeros(3), np.full(3, math.nan)):
        found = verdict_on(candidate)
        assert found.verdict is Verdict.INCONCLUSIVE
        assert found.reasons[0] == "too few samples: 3; at least 20 would do"


def test_no_images_at_all_are_too_few() -> None:
    found = verdict_on(np.zeros(0))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reasons[0].startswith("too few samples: 0")


def test_scatter_that_hides_the_tolerance_is_inconclusive_with_the_number_that_would_do() -> None:
    reference = reference_scores(40)
    found = verdict_on(reference - drops(40, mean=0.003, spread=0.04), reference)
    assert found.verdict is Verdict.INCONCLUSIVE
    needed = math.ceil((2.49 * 0.04 / (0.01 * reference.mean() - 0.003)) ** 2)
    assert found.comparison is not None
    assert found.comparison.required_samples == needed
    assert "too few samples: 40" in found.reasons[0]
    assert f"{needed} would do" in found.reasons[0]


def test_groups_that_disagree_are_inconclusive_though_the_images_alone_would_pass() -> None:
    shifts = {"s21": 0.012, "s22": -0.006, "s23": 0.002, "s24": 0.0}
    candidate = reference_scores() - np.array([shifts[name] for name in SEQUENCES])
    assert verdict_on(candidate).verdict is Verdict.ACCEPT
    found = verdict_on(candidate, groups=SEQUENCES)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "too few groups (patients or sequences): 4" in found.reasons[0]
    assert "would do" in found.reasons[0]
    assert found.comparison is not None
    assert found.comparison.drop_by_group is found.comparison.drop
    assert found.comparison.drop_by_sample is not None
    assert "only 4 patients or sequences" in found.notes[0]


def test_one_group_is_judged_by_its_samples_and_says_so() -> None:
    found = verdict_on(reference_scores(), groups=["clip"] * 75)
    assert found.verdict is Verdict.ACCEPT
    assert "one patient or sequence" in found.notes[0]


def test_single_failures_are_refused_though_the_mean_holds() -> None:
    reference = reference_scores(200)
    candidate = reference.copy()
    candidate[:4] -= 0.3
    found = verdict_on(candidate, reference)
    assert found.verdict is Verdict.REJECT
    assert "worst case: the 99th percentile" in found.reasons[0]
    assert found.comparison is not None
    assert found.comparison.drop.estimate < found.comparison.allowed_drop
    assert found.comparison.worst_sample < 4


def test_one_failing_stratum_is_refused_though_the_mean_holds() -> None:
    reference = reference_scores(200)
    strata = ["large"] * 180 + ["small"] * 20
    candidate = reference + np.where(np.array(strata) == "small", -0.04, 0.0)
    found = verdict_on(candidate, reference, strata=strata)
    assert found.verdict is Verdict.REJECT
    assert found.reasons[0].startswith("stratum 'small' (20 samples) keeps 0.95")
    assert found.comparison is not None
    assert [row.name for row in found.comparison.strata] == ["small", "large"]


def test_a_tiny_failing_stratum_raises_a_doubt_only() -> None:
    reference = reference_scores(200)
    strata = ["large"] * 197 + ["small"] * 3
    candidate = reference + np.where(np.array(strata) == "small", -0.04, 0.0)
    found = verdict_on(candidate, reference, strata=strata)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reasons[0].startswith("too few samples in a stratum: stratum 'small' (3 samples)")


def test_an_absolute_bound_applies_only_when_asked_for() -> None:
    candidate = reference_scores() - 0.004
    assert verdict_on(candidate).verdict is Verdict.ACCEPT
    assert verdict_on(candidate, tolerance=standard(max_drop=0.002)).verdict is Verdict.REJECT
    assert verdict_on(candidate, tolerance=standard(max_drop=0.5)).verdict is Verdict.ACCEPT


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused_by_name(broken: float) -> None:
    candidate = reference_scores()
    candidate[[3, 5]] = broken
    found = verdict_on(candidate)
    assert found.verdict is Verdict.REJECT
    assert found.reasons == ("2 of 75 scores of the candidate are not finite",)
    assert found.comparison is None


@pytest.mark.parametrize(
    ("estimate", "high", "verdict"),
    [
        (0.0, 0.001, Verdict.ACCEPT),
        (math.nan, 0.001, Verdict.REJECT),
        (0.0, math.nan, Verdict.INCONCLUSIVE),
        (0.05, 0.06, Verdict.REJECT),
        (0.0, 0.06, Verdict.INCONCLUSIVE),
    ],
)
def test_a_further_figure_that_is_no_number_never_passes(estimate: float, high: float, verdict: Verdict) -> None:
    drop = Interval(
        estimate=estimate, low=-0.001, high=high, confidence=0.9, group_count=75, sample_count=75, unit="sample"
    )
    found = judge(
        reference_scores(),
        reference_scores(),
        tolerance=standard(),
        generator=np.random.default_rng(0),
        set_losses=(SetLoss(title="macro F1", reference=0.9, drop=drop, most=0.01),),
    )
    assert found.verdict is verdict
    if verdict is not Verdict.ACCEPT:
        assert "macro F1" in found.reasons[0]


def test_findings_about_outputs_refuse_before_any_tolerance() -> None:
    finding = OutputFinding(fault=OutputFault.EMPTY, sample_count=75, reason="each of 75 outputs is empty")
    found = verdict_on(reference_scores(), findings=(finding,))
    assert found.verdict is Verdict.REJECT
    assert found.reasons[0] == "each of 75 outputs is empty"


def test_an_all_empty_mask_is_refused() -> None:
    found = verdict_on(np.zeros(75))
    assert found.verdict is Verdict.REJECT


def test_full_precision_that_finds_nothing_is_refused() -> None:
    found = verdict_on(np.zeros(75), np.zeros(75))
    assert found.verdict is Verdict.REJECT
    assert "nothing to keep" in found.reasons[0]


def test_an_error_is_judged_the_other_way_round() -> None:
    reference = np.random.default_rng(3).uniform(5, 20, size=80)
    generator = np.random.default_rng(0)
    worse, better = (
        judge(reference, reference * factor, tolerance=standard(), generator=generator, metric=HD95)
        for factor in (1.05, 0.95)
    )
    assert (worse.verdict, better.verdict) == (Verdict.REJECT, Verdict.ACCEPT)
    assert worse.comparison is not None
    assert worse.comparison.kept_fraction == pytest.approx(1 / 1.05)
    assert worse.comparison.allowed_drop == pytest.approx(reference.mean() * (1 / 0.99 - 1))
    assert " px" in worse.reasons[0]


def test_a_judgement_is_plain_json_and_the_same_for_the_same_seed() -> None:
    candidate = reference_scores() - drops(mean=0.001, spread=0.01)
    first, second = (
        json.dumps(verdict_on(candidate, groups=SEQUENCES, strata=SEQUENCES).to_dict(), allow_nan=False)
        for _ in range(2)
    )
    assert first == second
    plain = json.loads(first)
    assert plain["verdict"] == "ACCEPT"
    assert plain["comparison"]["sample_count"] == 75
    assert len(plain["comparison"]["strata"]) == 4
    assert plain["tolerance"]["kept_fraction"] == 0.99


@pytest.mark.parametrize(("mean", "most"), [(0.0085, 0.08), (0.004, 1.0)])
def test_the_gate_passes_a_loss_at_the_tolerance_in_at_most_one_case_of_twenty(mean: float, most: float) -> None:
    generator = np.random.default_rng(5)
    reference = np.full(60, 0.85)
    passed = 0
    for _ in range(120):
        candidate = reference - generator.normal(mean, 0.01, size=60)
        found = judge(reference, candidate, tolerance=standard(), generator=generator, resamples=400)
        passed += found.verdict is Verdict.ACCEPT
    assert passed / 120 <= most
    if mean == 0.004:
        assert passed / 120 > 0.8


def test_lengths_that_differ_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="one length"):
        judge([1.0], [1.0, 2.0], tolerance=standard(), generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="one group a sample"):
        verdict_on(reference_scores(), groups=["a"])
    with pytest.raises(ValueError, match="one stratum a sample"):
        verdict_on(reference_scores(), strata=["a"])


@pytest.mark.parametrize("wrong", [{"kept_fraction": 99.0}, {"max_drop": -1.0}, {"stratum_kept_fraction": 0.0}])
def test_a_tolerance_holds_fractions(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected a"):
        Tolerance(**wrong)


def test_dice_leads_and_has_a_worst_case_bound() -> None:
    assert DICE.worst_case_drop == 0.10
