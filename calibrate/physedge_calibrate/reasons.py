"""The sentences of a verdict: which bound a comparison breaks, and what is missing to be sure."""

from __future__ import annotations

from physedge_calibrate.comparison import Comparison, StratumScore
from physedge_calibrate.metrics.table import Metric
from physedge_calibrate.statistics import required_groups
from physedge_calibrate.tolerance import Tolerance

# Fewer than 20 samples have no 95th percentile of their own.
MINIMUM_SAMPLES = 20
# A stratum of fewer samples can raise a doubt, but not refuse.
MINIMUM_STRATUM_SAMPLES = 8


def too_few(sample_count: int, comparison: Comparison | None) -> list[str]:
    """Why the number of samples alone forbids any verdict but INCONCLUSIVE."""
    if sample_count >= MINIMUM_SAMPLES:
        return []
    needed = (comparison.required_samples if comparison else None) or 1
    return [f"too few samples: {sample_count}; at least {max(MINIMUM_SAMPLES, needed)} would do"]


def refusals(comparison: Comparison, tolerance: Tolerance, metric: Metric) -> list[str]:
    """The bounds that the estimates themselves break."""
    refusals = []
    name, unit = metric.title, _unit(metric)
    mean = comparison.reference_mean.estimate
    if metric.higher_is_better and mean <= 0:
        refusals.append(f"full precision itself scores a mean {name} of {mean:.3f}: there is nothing to keep")
    drop = comparison.drop.estimate
    if drop > comparison.allowed_drop:
        refusals.append(
            f"mean {name} is worse by {drop:.4f}{unit}, more than the {comparison.allowed_drop:.4f}{unit} allowed: "
            f"{comparison.kept_fraction:.4f} of full precision is kept, {tolerance.kept_fraction} is asked for"
        )
    bound = metric.worst_case_drop
    if bound is not None and comparison.worst_drop > bound:
        refusals.append(
            f"worst case: the 99th percentile of the loss of {name} is {comparison.worst_drop:.3f}{unit}, more than "
            f"the {bound:.3f}{unit} allowed"
        )
    refusals += [
        _stratum_sentence(stratum, tolerance, metric)
        for stratum in _failing_strata(comparison, tolerance)
        if stratum.sample_count >= MINIMUM_STRATUM_SAMPLES
    ]
    return refusals


def doubts(comparison: Comparison, tolerance: Tolerance, metric: Metric) -> list[str]:
    """Why the numbers are not enough to pass, though no estimate breaks a bound."""
    doubts = []
    needed, upper = comparison.required_samples, comparison.drop.high
    if needed is not None and needed > comparison.sample_count:
        doubts.append(
            f"too few samples: {comparison.sample_count}, where the drop scatters by "
            f"{comparison.drop_spread:.4f}{_unit(metric)} from sample to sample; {needed} would do"
        )
    if comparison.drop.estimate <= comparison.allowed_drop < upper:
        doubts.append(_straddles(comparison, metric))
    doubts += [
        f"too few samples in a stratum: {_stratum_sentence(stratum, tolerance, metric)}; "
        f"{MINIMUM_STRATUM_SAMPLES} would do"
        for stratum in _failing_strata(comparison, tolerance)
        if stratum.sample_count < MINIMUM_STRATUM_SAMPLES
    ]
    return doubts


def _straddles(comparison: Comparison, metric: Metric) -> str:
    drop, allowed, unit = comparison.drop, comparison.allowed_drop, _unit(metric)
    sentence = (
        f"mean {metric.title} may be worse by up to {drop.high:.4f}{unit} (one-sided 95 %, by {drop.unit}), more "
        f"than the {allowed:.4f}{unit} allowed"
    )
    if drop.unit == "sample":
        return sentence
    needed = required_groups(drop, tolerance=allowed)
    number = f"; about {needed} would do" if needed else ""
    return f"too few groups (patients or sequences): {drop.group_count}: {sentence}{number}"


def _failing_strata(comparison: Comparison, tolerance: Tolerance) -> list[StratumScore]:
    return [row for row in comparison.strata if row.kept_fraction < tolerance.stratum_kept_fraction]


def _stratum_sentence(stratum: StratumScore, tolerance: Tolerance, metric: Metric) -> str:
    return (
        f"stratum '{stratum.name}' ({stratum.sample_count} samples) keeps {stratum.kept_fraction:.3f} of its "
        f"{metric.title} ({stratum.reference_mean:.3f} to {stratum.candidate_mean:.3f}), less than "
        f"{tolerance.stratum_kept_fraction}"
    )


def kept_enough(comparison: Comparison, metric: Metric) -> str:
    """Why the candidate passes."""
    drop, unit = comparison.drop, _unit(metric)
    return (
        f"mean {metric.title} {comparison.candidate_mean.estimate:.4f}{unit} against "
        f"{comparison.reference_mean.estimate:.4f}{unit} in full precision: worse by at most {drop.high:.4f}{unit} "
        f"(one-sided 95 %, by {drop.unit}), {comparison.allowed_drop:.4f}{unit} is allowed"
    )


def notes(comparison: Comparison | None) -> tuple[str, ...]:
    """What a reader of the verdict should know besides."""
    if comparison is None:
        return ()
    if comparison.group_count == 0:
        return ("patients or sequences are not known: samples are taken as independent of each other",)
    if comparison.group_count == 1:
        return ("all samples come from one patient or sequence: they say nothing about another",)
    if comparison.drop_by_sample is not None:
        return (
            f"only {comparison.group_count} patients or sequences: the wider of the interval by group and the "
            f"interval by sample decides; here that is the one by {comparison.drop.unit}",
        )
    return ()


def _unit(metric: Metric) -> str:
    return f" {metric.unit}" if metric.unit else ""
