"""The choice among judged and timed candidates."""

from __future__ import annotations

from dataclasses import replace

import pytest

from physedge_calibrate.choose import Candidate, choose
from physedge_runtime.verdict import Verdict


def candidate(
    name: str, median_ms: float | None, *, precision: str = "int8", verdict: Verdict = Verdict.ACCEPT
) -> Candidate:
    return Candidate(
        name=name,
        precision=precision,
        method="a method",
        verdict=verdict,
        verdict_reason="because",
        median_ms=median_ms,
    )


FULL = candidate("full", 80.0, precision="fp32")


def test_the_fastest_that_passes_ships_and_the_others_say_why_not() -> None:
    found = choose(
        [FULL, candidate("qdq", 50.0), candidate("mixed", 55.0), candidate("nncf", 40.0, verdict=Verdict.REJECT)]
    )
    assert found.chosen is not None
    assert found.chosen.name == "qdq"
    assert found.reasons == (
        ("full", "passes, but qdq is 1.60 times as fast (80.0 ms)"),
        ("qdq", "ships: the fastest that passes (50.0 ms)"),
        ("mixed", "passes, but qdq is 1.10 times as fast (55.0 ms)"),
        ("nncf", "REJECT: because"),
    )


def test_a_lower_precision_that_does_not_pay_stays_behind() -> None:
    found = choose([FULL, candidate("qdq", 79.0)])
    assert found.chosen is FULL
    assert dict(found.reasons)["qdq"].startswith("passes, but is only 1.01 times as fast as full")


@pytest.mark.parametrize(("int8_ms", "expected"), [(49.5, "half"), (49.0, "qdq")])
def test_each_step_is_measured_against_the_best_above_it(int8_ms: float, expected: str) -> None:
    found = choose([FULL, candidate("half", 50.0, precision="fp16"), candidate("qdq", int8_ms)])
    assert found.chosen is not None
    assert found.chosen.name == expected


def test_a_failing_step_in_between_does_not_stop_the_ladder() -> None:
    half = candidate("half", 40.0, precision="fp16", verdict=Verdict.INCONCLUSIVE)
    found = choose([FULL, half, candidate("qdq", 50.0)])
    assert found.chosen is not None
    assert found.chosen.name == "qdq"
    assert dict(found.reasons)["half"] == "INCONCLUSIVE: because"


def test_a_candidate_that_was_not_timed_does_not_ship_over_one_that_was() -> None:
    found = choose([FULL, candidate("qdq", None)])
    assert found.chosen is FULL
    assert "not timed" in dict(found.reasons)["qdq"]


def test_nothing_ships_where_nothing_passes() -> None:
    found = choose([candidate("full", 80.0, precision="fp32", verdict=Verdict.REJECT)])
    assert found.chosen is None
    assert found.reasons == (("full", "REJECT: because"),)


def test_bad_candidates_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="unique names"):
        choose([FULL, FULL])
    with pytest.raises(ValueError, match="expected a precision"):
        candidate("odd", 1.0, precision="int4")


def test_of_candidates_that_are_equally_fast_the_one_that_loses_least_ships() -> None:
    """46.9 and 46.5 ms are one time where each is known to 0.4 ms; 44 ms is another."""
    near = [
        replace(candidate("quick", 46.5), median_error_ms=0.4, loss=0.0031),
        replace(candidate("true", 46.9), median_error_ms=0.4, loss=0.0004),
        replace(candidate("slow", 52.0), median_error_ms=0.4, loss=0.0001),
    ]
    found = choose([FULL, *near])
    assert found.chosen is near[1]
    assert dict(found.reasons) == {
        "full": "passes, but true is 1.71 times as fast (80.0 ms)",
        "quick": "passes, and is as fast as true within the noise of the timing (46.5 ms), but loses 0.0031, "
        "not 0.0004",
        "true": "ships: of those that pass and are the fastest within the noise of the timing, the one that loses "
        "least (46.9 ms)",
        "slow": "passes, but true is 1.11 times as fast (52.0 ms)",
    }
    assert choose([FULL, *near, replace(candidate("first", 44.0), median_error_ms=0.4, loss=0.004)]).chosen != near[1]
