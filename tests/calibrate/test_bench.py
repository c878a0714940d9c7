"""Timing in turns, percentiles only where samples allow them, and comparison with a baseline; no real clock."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from physedge_calibrate.baseline import Kept, baseline_of, refuse_slowdowns, slowdowns
from physedge_calibrate.bench import Bench, machine_state, median_error, percentiles_of, quotable_percentiles, run_bench
from physedge_runtime.errors import GateFailed, UsageError

MILLISECOND = 1_000_000


class FakeMachine:
    """A clock that only the timed functions move; it records who was called."""

    def __init__(self) -> None:
        self.now_ns = 0
        self.calls: list[str] = []

    def worker(self, name: str, duration_ms: float) -> Callable[[], None]:
        def work() -> None:
            self.calls.append(name)
            self.now_ns += round(duration_ms * MILLISECOND)

        return work

    def clock(self) -> int:
        return self.now_ns


def measured(times_ms: dict[str, float], *, rounds: int = 40, machine: FakeMachine | None = None) -> Bench:
    machine = machine or FakeMachine()
    return run_bench(
        {name: machine.worker(name, duration) for name, duration in times_ms.items()},
        rounds=rounds,
        generator=np.random.default_rng(0),
        wall_clock=machine.clock,
        cpu_clock=machine.clock,
    )


def test_the_times_are_those_of_the_functions() -> None:
    found = measured({"fp32": 80.0, "int8": 50.0})
    assert [timing.name for timing in found.timings] == ["fp32", "int8"]
    assert found.timing("fp32").median_ms == pytest.approx(80.0)
    assert found.timing("int8").cpu_median_ms == pytest.approx(50.0)
    assert found.timing("int8").samples == found.rounds == 40
    with pytest.raises(KeyError):
        found.timing("fp16")


def test_every_round_calls_each_once_in_changing_order_after_the_warm_up() -> None:
    machine = FakeMachine()
    measured({"a": 1.0, "b": 1.0, "c": 1.0}, rounds=30, machine=machine)
    assert machine.calls[:9] == ["a"] * 3 + ["b"] * 3 + ["c"] * 3
    rounds = [tuple(machine.calls[start : start + 3]) for start in range(9, len(machine.calls), 3)]
    assert all(sorted(order) == ["a", "b", "c"] for order in rounds)
    assert len(set(rounds)) > 3


@pytest.mark.parametrize(
    ("samples", "expected"),
    [(1, (50.0,)), (63, (50.0,)), (64, (50.0, 90.0)), (662, (50.0, 90.0, 99.0)), (6636, (50.0, 90.0, 99.0, 99.9))],
)
def test_a_percentile_needs_its_samples(samples: int, expected: tuple[float, ...]) -> None:
    assert quotable_percentiles(samples) == expected


@pytest.mark.parametrize(("percent", "samples"), [(0.90, 64), (0.99, 662), (0.999, 6636)])
def test_the_numbers_of_samples_are_those_of_early_stopping(percent: float, samples: int) -> None:
    def at_most_one_above(count: int) -> float:
        return percent**count + count * percent ** (count - 1) * (1 - percent)

    # If the true percentile were higher, seeing at most one sample above this one has a chance of at most 0.01.
    assert at_most_one_above(samples) <= 0.01 < at_most_one_above(samples - 1)


def test_percentiles_are_those_of_the_values() -> None:
    values = np.arange(1, 1001, dtype=np.float64)
    found = percentiles_of(values)
    assert set(found) == {"p50", "p90", "p99"}
    assert found["p99"] == np.percentile(values, 99)


def test_a_run_is_plain_json() -> None:
    plain = json.loads(json.dumps(measured({"fp32": 1.0}).to_dict(), allow_nan=False))
    assert plain["timings"][0]["percentiles_ms"] == {"p50": 1.0}
    assert plain["before"]["processors"] >= 1


def test_the_state_of_this_machine_is_known() -> None:
    assert machine_state().processors >= 1


def test_nothing_to_time_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least one round"):
        measured({"a": 1.0}, rounds=0)
    with pytest.raises(ValueError, match="at least one round"):
        measured({})


def test_a_slowdown_beyond_the_noise_is_refused() -> None:
    baseline = baseline_of(measured({"fp32": 80.0, "int8": 50.0}))
    assert slowdowns(measured({"fp32": 82.0, "int8": 40.0}), baseline) == ()
    found = slowdowns(measured({"fp32": 100.0, "int8": 80.0}), baseline)
    assert [entry.name for entry in found] == ["int8", "fp32"]
    assert found[0].ratio == pytest.approx(1.6)
    refuse_slowdowns(())
    with pytest.raises(GateFailed, match=r"PE-CALIB-010.*int8 50.00 to 80.00 ms \(1.60x\)"):
        refuse_slowdowns(found)


def test_a_baseline_of_something_else_is_refused() -> None:
    with pytest.raises(UsageError, match="PE-CALIB-009"):
        slowdowns(measured({"fp32": 80.0}), {"fp16": 10.0})


def test_the_error_of_a_median_is_that_of_the_ranks() -> None:
    values = np.arange(101, dtype=np.float64)
    # Ranks 50.5 ± 0.98·√101, outwards to whole ones: 40 and 61.
    assert median_error(values) == pytest.approx((61 - 40) / 2)
    assert median_error([3.0]) == 0.0


def test_the_interval_of_a_median_holds_the_true_one_in_95_of_100_runs() -> None:
    random = np.random.default_rng(0)
    runs = random.exponential(size=(400, 64))
    hits = 0
    for run in runs:
        ordered = np.sort(run)
        low, high = ordered[24], ordered[40]
        assert median_error(run) == pytest.approx((high - low) / 2)
        hits += bool(low <= np.log(2) <= high)
    assert 0.93 <= hits / len(runs) <= 0.99


def test_a_rise_within_the_uncertainty_of_the_medians_is_no_slowdown() -> None:
    bench = measured({"fp32": 60.0})
    then = Kept(median_ms=50.0, median_error_ms=20.0, cpu_median_ms=50.0, cpu_median_error_ms=20.0)
    assert slowdowns(bench, {"fp32": then}) == ()
    sure = Kept(median_ms=50.0, median_error_ms=1.0, cpu_median_ms=50.0, cpu_median_error_ms=1.0)
    assert [entry.name for entry in slowdowns(bench, {"fp32": sure})] == ["fp32"]
    by_wall = Kept(median_ms=60.0, median_error_ms=1.0, cpu_median_ms=50.0, cpu_median_error_ms=1.0)
    assert slowdowns(bench, {"fp32": by_wall}, by_wall={"fp32"}) == ()
