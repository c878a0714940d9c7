"""Limits of trust signals: the rate that was asked for, and what it is on frames that were not seen."""

from __future__ import annotations

import numpy as np
import pytest

from physedge_calibrate.trust_limits import fit_limits, input_reference, share_interval


def rows(count: int, signals: int, seed: int = 0) -> list[dict[str, float]]:
    table = np.random.default_rng(seed).random((count, signals))
    return [{f"s{index}": float(value) for index, value in enumerate(row)} for row in table]


def singles(count: int) -> list[str]:
    return [str(index) for index in range(count)]


def alarms(frames: list[dict[str, float]], limits: dict[str, float]) -> float:
    return float(np.mean([any(frame[name] > limit for name, limit in limits.items()) for frame in frames]))


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.2])
@pytest.mark.parametrize("signals", [1, 4])
def test_the_joint_rate_on_the_fitted_frames_stays_below_and_comes_near(rate: float, signals: int) -> None:
    frames = rows(2000, signals)
    fitted = fit_limits(frames, singles(2000), rate)
    found = alarms(frames, dict(fitted.limits))
    assert 0.3 * rate <= found <= rate


def test_the_cross_validated_rate_agrees_with_fresh_frames() -> None:
    fitted = fit_limits(rows(2000, 3), singles(2000), 0.05)
    fresh = alarms(rows(20_000, 3, seed=1), dict(fitted.limits))
    assert fitted.low <= fresh <= fitted.high
    assert fitted.alarm_rate == pytest.approx(0.05, abs=0.02)


def test_one_more_clean_frame_alarms_at_most_as_often_as_was_asked() -> None:
    generator = np.random.default_rng(5)
    shares = []
    for _ in range(300):
        values = generator.uniform(size=40)
        fitted = fit_limits([{"s": float(value)} for value in values], ["one film"] * 40, 0.05)
        # Of uniform values the share above a limit is known.
        shares.append(max(0.0, 1 - fitted.limits["s"]))
    # 2 of 41, as the order statistics say; 3 of 41 would be 0.073.
    assert np.mean(shares) == pytest.approx(2 / 41, abs=0.006)


def test_few_frames_of_one_group_give_the_largest_value_and_a_wide_interval() -> None:
    fitted = fit_limits(rows(30, 1), ["a"] * 30, 0.01)
    largest = max(row["s0"] for row in rows(30, 1))
    assert largest < fitted.limits["s0"] < 1.005 * largest
    assert fitted.widened == 0
    assert fitted.high > 0.9


def test_limits_fitted_to_few_patients_are_widened_and_their_rate_on_others_is_told() -> None:
    """Patients differ by more than their own frames do: frame = patient + 0.1 noise, both normal."""
    generator = np.random.default_rng(0)
    tight, wide, told = [], [], []
    for _ in range(60):
        frames = [{"s": p + generator.normal(0, 0.1)} for p in generator.normal(0, 1, 8) for _ in range(20)]
        fitted = fit_limits(frames, [str(index // 20) for index in range(160)], 0.01)
        fresh = [{"s": p + generator.normal(0, 0.1)} for p in generator.normal(0, 1, 400)]
        wide.append(alarms(fresh, dict(fitted.limits)))
        tight.append(alarms(fresh, {"s": max(frame["s"] for frame in frames)}))
        told.append(fitted.alarm_rate)
    assert np.mean(tight) > 0.08  # of nine patients each is the highest as often as the others: 1/9
    assert np.mean(wide) < 0.75 * np.mean(tight)
    assert np.mean(told) > 0.9 * np.mean(wide)  # what is told of unseen patients is not better than it is


def test_a_signal_that_needs_no_widening_is_not_widened_with_another_that_does() -> None:
    """One signal is the patient's, the other the device's; faults of the device are seen as far as its own limit."""
    generator = np.random.default_rng(2)
    frames = [
        {"patient": p + generator.normal(0, 0.1), "device": generator.uniform()}
        for p in generator.normal(0, 1, 12)
        for _ in range(40)
    ]
    groups = [str(index // 40) for index in range(480)]
    together, apart = fit_limits(frames, groups, 0.01), fit_limits(frames, groups, 0.01, apart={"device"})
    assert together.widened > 0.2
    assert together.limits["device"] > 1.1
    assert apart.limits["device"] < 1.02
    assert apart.limits["patient"] == pytest.approx(together.limits["patient"], rel=0.15)
    assert alarms(frames, dict(apart.limits)) <= 0.01


@pytest.mark.parametrize("signals", [1, 4])
def test_signals_widened_apart_hold_the_rate_that_was_asked_for(signals: int) -> None:
    found = [
        alarms(rows(2000, signals, seed=100 + seed), dict(fitted.limits))
        for seed in range(20)
        for fitted in [fit_limits(rows(500, signals, seed), singles(500), 0.05, apart={"s0", "s2"})]
    ]
    # 20 draws say what the mean rate is to within a standard error.
    assert np.mean(found) <= 0.05 + 2 * np.std(found) / np.sqrt(len(found))


def test_many_independent_frames_need_next_to_no_widening() -> None:
    assert fit_limits(rows(2000, 3), singles(2000), 0.05).widened < 0.03


def test_the_interval_counts_groups_not_frames() -> None:
    frames = rows(400, 1)
    apart = fit_limits(frames, singles(400), 0.05)
    together = fit_limits(frames, [str(index // 40) for index in range(400)], 0.05)
    assert together.groups == 10
    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_a_group_is_never_judged_by_limits_that_saw_it() -> None:
    frames = rows(100, 1)
    for row in frames[:20]:
        row["s0"] += 100  # one patient unlike the others: unseen, every frame of it is an alarm
    fitted = fit_limits(frames, [str(index // 20) for index in range(100)], 0.01)
    assert fitted.alarm_rate >= 0.2


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="19 frames are too few"):
        fit_limits(rows(19, 1), singles(19), 0.01)


def test_the_interval_of_a_share_is_clopper_pearsons() -> None:
    assert share_interval(0.0, 100) == pytest.approx((0.0, 1 - 0.025 ** (1 / 100)))
    assert share_interval(1.0, 10) == pytest.approx((0.025 ** (1 / 10), 1.0))


def test_what_is_usual_is_a_median_and_a_spread_that_odd_pictures_do_not_move() -> None:
    table = [{"brightness": value, "dark share": 0.0} for value in np.linspace(0, 1, 101)]
    table[-1]["brightness"] = 1e6
    middle, spread = input_reference(table)
    assert middle == {"brightness": 0.5, "dark share": 0.0}
    assert spread["brightness"] == pytest.approx(0.8)
    assert spread["dark share"] == 0.02
