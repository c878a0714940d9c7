"""The accuracy gate: does a candidate keep what full precision scored, and was enough measured to say so?

Both score the same samples in the same order; a drop is the loss of a sample, positive where the candidate is
worse. A refusal needs no statistical power, a pass does:

1. fewer than 20 samples: INCONCLUSIVE, whatever they say;
2. outputs or scores that are not finite, constant or empty, or a law of the network that does not hold (`laws`):
   REJECT;
3. mean drop beyond the tolerance, 99th percentile of the drop beyond the worst-case bound, a stratum below
   its share, or a further figure (macro F1, boundary ring Dice) below its bound: REJECT;
4. the upper end of the one-sided 95 % interval of the mean drop, or of such a figure's, beyond the tolerance, or
   fewer samples than the spread of the drops asks for: INCONCLUSIVE, with the number that would do;
5. else ACCEPT.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physedge_calibrate.comparison import Comparison, StratumScore, compare
from physedge_calibrate.laws.law import LawCheck, broken_laws, laws_note
from physedge_calibrate.metrics.table import DICE, Metric
from physedge_calibrate.outputs import OutputFinding, check_outputs
from physedge_calibrate.reasons import doubts, kept_enough, notes, refusals, too_few
from physedge_calibrate.statistics import RESAMPLES, Interval
from physedge_calibrate.tolerance import Tolerance, standard, strict
from physedge_runtime.verdict import Verdict

__all__ = [
    "Comparison",
    "Judgement",
    "SetLoss",
    "StratumScore",
    "Tolerance",
    "check_outputs",
    "judge",
    "standard",
    "strict",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLoss:
    """What a further figure of the set lost, beside the metric that decides.

    Attributes:
        title: As in a report, for example macro F1.
        reference: The figure of full precision; higher is better.
        drop: Interval of the paired loss, one-sided 95 % at either end.
        most: The largest loss that passes; None: the same share as of the metric itself.
        raises_doubts: The upper end of the interval must lie below the bound as well; else the loss itself is held to
            it, and how sure it is stands in the notes.
    """

    title: str
    reference: float
    drop: Interval
    most: float | None = None
    raises_doubts: bool = True

    def allowed(self, tolerance: Tolerance) -> float:
        """The largest loss that passes."""
        return self.most if self.most is not None else (1.0 - tolerance.kept_fraction) * abs(self.reference)

    def refusals(self, tolerance: Tolerance) -> list[str]:
        """Why the estimate itself is too much."""
        allowed = self.allowed(tolerance)
        if self.drop.estimate <= allowed:
            return []
        return [f"{self.title} is worse by {self.drop.estimate:.4f}, more than the {allowed:.4f} allowed"]

    def doubts(self, tolerance: Tolerance) -> list[str]:
        """Why the samples are too few to be sure."""
        allowed = self.allowed(tolerance)
        if not self.raises_doubts or self.drop.estimate > allowed or self.drop.high <= allowed:
            return []
        return [
            f"{self.title} may be worse by up to {self.drop.high:.4f} (one-sided 95 %), where {allowed:.4f} is allowed"
        ]

    def note(self, tolerance: Tolerance) -> str:
        """That it was kept."""
        return (
            f"{self.title} is worse by {self.drop.estimate:.4f}, at most {self.drop.high:.4f} (one-sided 95 %); "
            f"{self.allowed(tolerance):.4f} is allowed"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with every number that led to it.

    Attributes:
        verdict: ACCEPT, REJECT or INCONCLUSIVE.
        reasons: Sentences without a full stop, the deciding one first.
        notes: What a reader should know besides, such as one group only.
        tolerance: The bounds used.
        worst_case_bound: Bound on the 99th percentile of the drop; None: the metric has none.
        comparison: The numbers; None where there are no scores, or some are not finite.
        set_losses: What further figures of the set lost.
        laws: What was found of the network's laws.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    tolerance: Tolerance
    worst_case_bound: float | None
    comparison: Comparison | None
    set_losses: tuple[SetLoss, ...] = ()
    laws: tuple[LawCheck, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The same as plain values for JSON; a number that is not finite becomes null."""
        plain = {key: _plain(value) for key, value in asdict(self).items()}
        return {**plain, "laws": [law.to_dict() for law in self.laws]}


def judge(
    reference_scores: ArrayLike,
    candidate_scores: ArrayLike,
    *,
    groups: Sequence[str] | None = None,
    strata: Sequence[str] | None = None,
    tolerance: Tolerance,
    generator: np.random.Generator,
    metric: Metric = DICE,
    findings: Sequence[OutputFinding] = (),
    set_losses: Sequence[SetLoss] = (),
    laws: Sequence[LawCheck] = (),
    remarks: Sequence[str] = (),
    resamples: int = RESAMPLES,
) -> Judgement:
    """The verdict on a candidate from the scores of each sample.

    Args:
        reference_scores: (sample,) scores of full precision.
        candidate_scores: (sample,) scores of what ships, on the engine that runs it.
        groups: (sample,) patient or sequence of each sample; None: not known.
        strata: (sample,) class, site or device of each sample; None: no strata.
        tolerance: The bounds.
        generator: Source of randomness of the bootstrap.
        metric: Which metric the scores are of.
        findings: What `check_outputs` found in the candidate's outputs.
        set_losses: Further figures of the set that must be kept.
        laws: What was found of the network's laws on the candidate.
        remarks: Further sentences for the notes.
        resamples: Bootstrap resamples.

    Raises:
        ValueError: Arrays or labels of different lengths.
    """
    reference, candidate = _paired(reference_scores, candidate_scores, groups, strata)
    broken = [finding.reason for finding in findings] + _not_finite(reference, candidate)
    broken += broken_laws(laws)
    comparison = None
    if len(reference) and np.isfinite(reference).all() and np.isfinite(candidate).all():
        comparison = compare(
            reference,
            candidate,
            metric=metric,
            groups=groups,
            strata=strata,
            kept_fraction=tolerance.kept_fraction,
            max_drop=tolerance.max_drop,
            generator=generator,
            resamples=resamples,
        )
    scarce = too_few(len(reference), comparison)
    refused = broken + (refusals(comparison, tolerance, metric) if comparison else [])
    doubted = doubts(comparison, tolerance, metric) if comparison else []
    for loss in set_losses:
        refused += loss.refusals(tolerance)
        doubted += loss.doubts(tolerance)
    if scarce:
        verdict, reasons = Verdict.INCONCLUSIVE, [*scarce, *refused]
    elif refused:
        verdict, reasons = Verdict.REJECT, [*refused, *doubted]
    elif doubted:
        verdict, reasons = Verdict.INCONCLUSIVE, doubted
    else:
        assert comparison is not None
        verdict, reasons = Verdict.ACCEPT, [kept_enough(comparison, metric)]
    return Judgement(
        verdict=verdict,
        reasons=tuple(reasons),
        notes=(
            *notes(comparison),
            *(loss.note(tolerance) for loss in set_losses if verdict is Verdict.ACCEPT),
            *laws_note(laws),
            *remarks,
        ),
        tolerance=tolerance,
        worst_case_bound=metric.worst_case_drop,
        comparison=comparison,
        set_losses=tuple(set_losses),
        laws=tuple(laws),
    )


def _not_finite(reference: NDArray[np.float64], candidate: NDArray[np.float64]) -> list[str]:
    named = {"full precision": reference, "the candidate": candidate}
    bad = {name: int(np.count_nonzero(~np.isfinite(scores))) for name, scores in named.items()}
    return [f"{count} of {len(reference)} scores of {name} are not finite" for name, count in bad.items() if count]


def _paired(
    reference_scores: ArrayLike,
    candidate_scores: ArrayLike,
    groups: Sequence[str] | None,
    strata: Sequence[str] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    reference = np.asarray(reference_scores, dtype=np.float64)
    candidate = np.asarray(candidate_scores, dtype=np.float64)
    if reference.ndim != 1 or reference.shape != candidate.shape:
        raise ValueError(f"expected two arrays (sample,) of one length, got {reference.shape}, {candidate.shape}")
    for name, labels in (("group", groups), ("stratum", strata)):
        if labels is not None and len(labels) != len(reference):
            raise ValueError(f"expected one {name} a sample ({len(reference)}), got {len(labels)}")
    return reference, candidate


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Verdict) else value
