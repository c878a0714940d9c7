"""One law and how far a graph is from keeping it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LawCheck:
    """A property that holds for every input, or that no precision may change by more than a bound.

    Attributes:
        title: The law in a few words, as in a report.
        measured: How far it was broken at the worst, 0 for not at all; NaN counts as broken.
        allowed: The most that passes, in the same unit.
        cases: Answers that were looked at.
        where: The worst of them, in words.
        unit: Of `measured`; empty for a fraction.
    """

    title: str
    measured: float
    allowed: float
    cases: int
    where: str = ""
    unit: str = ""

    @property
    def held(self) -> bool:
        """Whether the graph keeps it."""
        return self.measured <= self.allowed  # False for NaN

    def sentence(self) -> str:
        """What was found, without a full stop."""
        unit = f" {self.unit}" if self.unit else ""
        at = f", at {self.where}" if self.where else ""
        return (
            f"{self.title}: off by {self.measured:.3g}{unit}{at} ({self.cases} cases); {self.allowed:.3g}{unit} "
            "is allowed"
        )

    def to_dict(self) -> dict[str, object]:
        """The same as plain values for JSON; a number that is not finite becomes null."""
        return {
            "title": self.title,
            "measured": self.measured if math.isfinite(self.measured) else None,
            "allowed": self.allowed,
            "cases": self.cases,
            "where": self.where,
            "unit": self.unit,
            "held": self.held,
        }


def broken_laws(checks: Sequence[LawCheck]) -> list[str]:
    """A sentence about each law that does not hold, the worst in proportion to its bound first."""
    broken = [check for check in checks if not check.held]
    broken.sort(key=lambda check: -(check.measured / check.allowed) if check.allowed > 0 else -math.inf)
    return [f"a law of the network does not hold: {check.sentence()}" for check in broken]


def laws_note(checks: Sequence[LawCheck]) -> tuple[str, ...]:
    """A sentence about laws that all hold, with the one that is nearest to its bound; nothing where one is broken."""
    if not checks or any(not check.held for check in checks):
        return ()
    nearest = max(checks, key=lambda check: check.measured / check.allowed if check.allowed > 0 else 0.0)
    if len(checks) == 1:
        return (f"the one law of the network that was asked holds: {nearest.sentence()}",)
    return (f"all {len(checks)} laws of the network hold; the nearest to its bound is {nearest.sentence()}",)
