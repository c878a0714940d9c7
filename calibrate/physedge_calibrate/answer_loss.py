"""Lost answers of a classifier, counted: what a bootstrap of zeros and ones cannot say of few pictures.

Where no picture lost its right answer, every resample says so too, and the bootstrap's interval of the loss has no
width. Yet n pictures without an event leave room for one of a share of 1 - 0.05^(1/n), about 3/n (one-sided 95 %;
Hanley and Lippman-Hand 1983). A loss allowed of 0.009 needs 332 pictures without any lost answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.gate import SetLoss
from physedge_calibrate.statistics import Interval, required_samples
from physedge_calibrate.tolerance import Tolerance

_LEFT = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerLoss(SetLoss):
    """The loss of accuracy as a count; it raises doubts only, the metric itself refuses.

    Attributes:
        lost: Pictures on which only full precision is right.
        won: Pictures on which only the candidate is.
    """

    lost: int
    won: int

    @classmethod
    def counted(cls, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> AnswerLoss:
        """From (picture,) right or not, of full precision and of the candidate."""
        lost, won, count = int((before & ~after).sum()), int((~before & after).sum()), len(before)
        drop = Interval(
            estimate=(lost - won) / count,
            low=-largest_share(won, count),
            high=largest_share(lost, count),
            confidence=0.90,
            group_count=count,
            sample_count=count,
            unit="sample",
        )
        return cls(title="accuracy", reference=float(before.mean()), drop=drop, lost=lost, won=won)

    def refusals(self, tolerance: Tolerance) -> list[str]:
        """None: the mean of the metric is refused elsewhere."""
        del tolerance
        return []

    def note(self, tolerance: Tolerance) -> str:
        """What was counted."""
        del tolerance
        return (
            f"{self.lost} of {self.drop.sample_count} answers were lost and {self.won} won: of all, at most "
            f"{self.drop.high:.4f} are lost (one-sided 95 %)"
        )

    def doubts(self, tolerance: Tolerance) -> list[str]:
        """Why the pictures are too few to be sure, and how many would do."""
        allowed, count = self.allowed(tolerance), self.drop.sample_count
        if self.drop.estimate > allowed or allowed <= 0:
            return []
        if self.lost == 0:
            if self.drop.high <= allowed:
                return []
            return [
                f"no answer was lost, but {count} pictures cannot rule out that {self.drop.high:.4f} of all are "
                f"(one-sided 95 %), where {allowed:.4f} is allowed; {least_without_loss(allowed)} without a lost one "
                "would do"
            ]
        chance = required_samples(spread=math.sqrt((self.lost + self.won) / count), tolerance=allowed, drop=0.0)
        if chance is None or chance <= count:
            return []
        return [
            f"{self.lost} of {count} answers were lost and {self.won} won: if that is chance and none is lost on "
            f"average, {chance} pictures would do"
        ]


def largest_share(events: int, count: int) -> float:
    """The largest share of which `count` samples show so few events with a chance of 5 % (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv

    return 1.0 if events >= count else float(betaincinv(events + 1, count - events, 1.0 - _LEFT))


def least_without_loss(allowed: float) -> int:
    """The fewest samples that rule out a larger share than `allowed` by showing none."""
    return math.ceil(math.log(_LEFT) / math.log1p(-min(allowed, 0.999)))
