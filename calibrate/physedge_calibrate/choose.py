"""Which candidate ships: the fastest that passes the gate, if it is worth its loss of precision.

Precisions are a ladder (fp32 above fp16 above int8). A step down has to pay: the fastest candidate of a lower
precision must be at least 1.02 times as fast as the best of the higher ones, or the higher one stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from physedge_runtime.verdict import Verdict

LEAST_SPEED_UP = 1.02
LADDER = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to run a network, judged and timed.

    Attributes:
        name: Unique among the candidates.
        precision: `fp32`, `fp16` or `int8`.
        method: How it was made, in a few words.
        verdict: Of the gate.
        verdict_reason: Its deciding sentence.
        median_ms: Median time of one inference, all candidates in one interleaved run; None: not timed.
        int8_mac_share: Fraction of the multiply-accumulates in INT8.
    """

    name: str
    precision: str
    method: str
    verdict: Verdict
    verdict_reason: str
    median_ms: float | None
    int8_mac_share: float = 0.0

    def __post_init__(self) -> None:
        if self.precision not in LADDER:
            raise ValueError(f"expected a precision of {', '.join(LADDER)}, got {self.precision}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The candidate that ships, and why not the others.

    Attributes:
        chosen: None where no candidate passes.
        reasons: A sentence without a full stop for every candidate, by name, in the order of the candidates.
    """

    chosen: Candidate | None
    reasons: tuple[tuple[str, str], ...]


def choose(candidates: Sequence[Candidate], *, least_speed_up: float = LEAST_SPEED_UP) -> Choice:
    """The fastest candidate that passes, where each step down the ladder pays.

    Args:
        candidates: Full precision and all others, with unique names.
        least_speed_up: How many times as fast a lower precision must be.
    """
    if len({candidate.name for candidate in candidates}) != len(candidates):
        raise ValueError("expected unique names of candidates")
    reasons = {
        candidate.name: f"{candidate.verdict}: {candidate.verdict_reason}"
        for candidate in candidates
        if candidate.verdict is not Verdict.ACCEPT
    }
    chosen: Candidate | None = None
    for precision in LADDER:
        passing = [one for one in candidates if one.precision == precision and one.verdict is Verdict.ACCEPT]
        if not passing:
            continue
        best, *slower = sorted(passing, key=lambda one: (_time(one), one.name))
        reasons |= {one.name: _slower_sentence(one, best) for one in slower}
        if chosen is None:
            chosen = best
        elif _speed_up(chosen, best) >= least_speed_up:
            reasons[chosen.name] = _slower_sentence(chosen, best)
            chosen = best
        else:
            reasons[best.name] = _not_worth_it(best, chosen, least_speed_up)
    if chosen is not None:
        reasons[chosen.name] = f"ships: the fastest that passes{_milliseconds(chosen)}"
    return Choice(chosen=chosen, reasons=tuple((one.name, reasons[one.name]) for one in candidates))


def _time(candidate: Candidate) -> float:
    return float("inf") if candidate.median_ms is None else candidate.median_ms


def _speed_up(higher: Candidate, lower: Candidate) -> float:
    """How many times as fast the lower precision is; 0 where either was not timed."""
    if higher.median_ms is None or not lower.median_ms:
        return 0.0
    return higher.median_ms / lower.median_ms


def _milliseconds(candidate: Candidate) -> str:
    return "" if candidate.median_ms is None else f" ({candidate.median_ms:.1f} ms)"


def _slower_sentence(loser: Candidate, winner: Candidate) -> str:
    if loser.median_ms is None or winner.median_ms is None:
        return f"passes, but was not timed against {winner.name}"
    return f"passes, but {winner.name} is {_speed_up(loser, winner):.2f} times as fast{_milliseconds(loser)}"


def _not_worth_it(lower: Candidate, higher: Candidate, least_speed_up: float) -> str:
    if lower.median_ms is None or higher.median_ms is None:
        return f"passes, but was not timed against {higher.name}"
    return (
        f"passes, but is only {_speed_up(higher, lower):.2f} times as fast as {higher.name}{_milliseconds(lower)}; "
        f"a lower precision has to be {least_speed_up:.2f} times as fast"
    )
