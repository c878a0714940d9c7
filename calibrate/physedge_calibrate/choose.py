"""Which candidate ships: the fastest that passes the gate, if it is worth its loss of precision.

Precisions are a ladder (fp32 above fp16 above int8). A step down has to pay: the best candidate of a lower precision
must be at least 1.02 times as fast as the best of the higher ones, or the higher one stays. Of candidates of one
precision whose times differ by no more than they are uncertain, the best is the one that loses least.
"""

from __future__ import annotations

import math
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
        median_error_ms: Half the width of the interval of that median.
        loss: Mean score that it loses against full precision, positive for worse; None: not known.
        int8_mac_share: Fraction of the multiply-accumulates in INT8.
    """

    name: str
    precision: str
    method: str
    verdict: Verdict
    verdict_reason: str
    median_ms: float | None
    median_error_ms: float = 0.0
    loss: float | None = None
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
        fastest = min(passing, key=lambda one: (_time(one), one.name))
        best = min((one for one in passing if _tied(one, fastest)), key=lambda one: (_loss(one), _time(one), one.name))
        reasons |= {one.name: _beaten_sentence(one, best) for one in passing if one is not best}
        if chosen is None:
            chosen = best
        elif _speed_up(chosen, best) >= least_speed_up:
            reasons[chosen.name] = _slower_sentence(chosen, best)
            chosen = best
        else:
            reasons[best.name] = _not_worth_it(best, chosen, least_speed_up)
    if chosen is not None:
        reasons[chosen.name] = f"ships: {_why_it_ships(chosen, candidates)}{_milliseconds(chosen)}"
    return Choice(chosen=chosen, reasons=tuple((one.name, reasons[one.name]) for one in candidates))


def _why_it_ships(chosen: Candidate, candidates: Sequence[Candidate]) -> str:
    rivals = [
        one
        for one in candidates
        if one is not chosen and one.verdict is Verdict.ACCEPT and one.precision == chosen.precision
    ]
    if chosen.median_ms is not None and any(_tied(one, chosen) for one in rivals):
        return "of those that pass and are the fastest within the noise of the timing, the one that loses least"
    return "the fastest that passes"


def _time(candidate: Candidate) -> float:
    return float("inf") if candidate.median_ms is None else candidate.median_ms


def _loss(candidate: Candidate) -> float:
    return float("inf") if candidate.loss is None else candidate.loss


def _tied(one: Candidate, other: Candidate) -> bool:
    """Whether the two times differ by no more than they are uncertain."""
    if one.median_ms is None or other.median_ms is None:
        return one.median_ms is other.median_ms
    return abs(one.median_ms - other.median_ms) <= math.hypot(one.median_error_ms, other.median_error_ms)


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


def _beaten_sentence(loser: Candidate, winner: Candidate) -> str:
    """Why another one of the same precision is better."""
    if not _tied(loser, winner) or loser.loss is None or winner.loss is None or loser.median_ms is None:
        return _slower_sentence(loser, winner)
    return (
        f"passes, and is as fast as {winner.name} within the noise of the timing{_milliseconds(loser)}, but loses "
        f"{loser.loss:.4f}, not {winner.loss:.4f}"
    )


def _not_worth_it(lower: Candidate, higher: Candidate, least_speed_up: float) -> str:
    if lower.median_ms is None or higher.median_ms is None:
        return f"passes, but was not timed against {higher.name}"
    return (
        f"passes, but is only {_speed_up(higher, lower):.2f} times as fast as {higher.name}{_milliseconds(lower)}; "
        f"a lower precision has to be {least_speed_up:.2f} times as fast"
    )
