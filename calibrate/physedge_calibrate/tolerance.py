"""How much of full precision's score a candidate must keep."""

from __future__ import annotations

from dataclasses import dataclass

# The two quality classes of MLPerf Inference.
STANDARD_KEPT = 0.99
STRICT_KEPT = 0.999
STRATUM_KEPT = 0.97


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """The bounds of a gate; fractions, never percents.

    Attributes:
        name: As in a report.
        kept_fraction: Least share of full precision's mean score.
        max_drop: Largest absolute loss of the mean score, in the metric's unit, in addition to the share; None:
            no absolute bound.
        stratum_kept_fraction: Least share within every stratum.
    """

    name: str = "standard"
    kept_fraction: float = STANDARD_KEPT
    max_drop: float | None = None
    stratum_kept_fraction: float = STRATUM_KEPT

    def __post_init__(self) -> None:
        for label, fraction in (("kept", self.kept_fraction), ("stratum kept", self.stratum_kept_fraction)):
            if not 0 < fraction <= 1:
                raise ValueError(f"expected a {label} fraction above 0 and at most 1, got {fraction}")
        if self.max_drop is not None and not self.max_drop >= 0:
            raise ValueError(f"expected a largest drop of at least 0, got {self.max_drop}")


def standard(*, max_drop: float | None = None) -> Tolerance:
    """At least 99 % of full precision."""
    return Tolerance(name="standard", kept_fraction=STANDARD_KEPT, max_drop=max_drop)


def strict(*, max_drop: float | None = None) -> Tolerance:
    """At least 99.9 % of full precision."""
    return Tolerance(name="strict", kept_fraction=STRICT_KEPT, max_drop=max_drop)
