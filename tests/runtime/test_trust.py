"""Trust: what is void, what is doubtful, and which sentence says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from physedge_runtime.frame import Colour, FrameSpec
from physedge_runtime.input_statistics import PICTURE_STATISTICS, input_statistics
from physedge_runtime.manifest import InputReference, TrustRecord
from physedge_runtime.results import Segmentation, StageTimes, Trust, TrustState
from physedge_runtime.spec import SignalSpec
from physedge_runtime.stream.steadiness import AREA_LIMIT, AreaWatch
from physedge_runtime.trust import TrustJudge, judge_signals

SIDE_PX = 32
GREY = np.full((SIDE_PX, SIDE_PX, 3), 128, np.uint8)
SPEC = FrameSpec(height=SIDE_PX, width=SIDE_PX)
LIMITS = {
    "boundary": SignalSpec(reason="the contour is elsewhere", doubtful_above=0.4),
    "diffusion": SignalSpec(doubtful_above=0.001, void_above=0.01),
    "electrode": SignalSpec(reason="does not fit the others", each="electrode", doubtful_above=3.0),
}


def outputs(**signals: object) -> dict[str, np.ndarray]:
    answer = {"probability": np.zeros((1, 1, 4, 4), np.float32)}
    return {**answer, **{f"trust_{name}": np.array([value], np.float32) for name, value in signals.items()}}


def judge(**signals: object) -> tuple[TrustState, str]:
    trust = TrustJudge(TrustRecord(signals=LIMITS), SPEC).judge(outputs(**signals), GREY)
    return trust.state, trust.reason


def test_signals_below_their_limits_are_ok_and_reported() -> None:
    trust = TrustJudge(TrustRecord(signals=LIMITS), SPEC).judge(outputs(boundary=0.25, diffusion=0.0), GREY)
    assert (trust.state, trust.reason) == (TrustState.OK, "")
    assert trust.signals == {"boundary": 0.25, "diffusion": 0.0}


def test_a_signal_above_its_limit_is_doubtful_with_its_reason_and_its_figures() -> None:
    assert judge(boundary=0.5) == (TrustState.DOUBTFUL, "the contour is elsewhere (boundary 0.5 above 0.4)")


def test_a_violated_property_is_void_and_goes_before_a_doubt() -> None:
    assert judge(boundary=0.5, diffusion=0.02) == (TrustState.VOID, "diffusion (diffusion 0.02 above 0.01)")
    assert judge(diffusion=0.005)[0] is TrustState.DOUBTFUL


def test_of_a_signal_with_several_values_the_largest_is_named_by_its_place() -> None:
    state, reason = judge(electrode=[0.1, 0.2, 4.0, 0.3])
    assert state is TrustState.DOUBTFUL
    assert reason == "electrode 3: does not fit the others (electrode 4 above 3)"
    trusting = TrustJudge(TrustRecord(signals=LIMITS), SPEC)
    assert trusting.judge(outputs(electrode=[0.1, 0.2, 4.0, 0.3]), GREY).places == {"electrode": 3}
    assert trusting.judge(outputs(electrode=[0.1, 0.2, 2.0, 0.3]), GREY).places == {}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["probability", "trust_boundary"])
def test_what_is_no_number_is_void_wherever_it_stands(value: float, name: str) -> None:
    found = outputs(boundary=0.1)
    found[name] = np.full_like(found[name], value)
    trust = TrustJudge(TrustRecord(signals=LIMITS), SPEC).judge(found, GREY)
    assert (trust.state, trust.reason) == (TrustState.VOID, f"{name} is not finite")


def test_a_limit_is_not_passed_by_a_number_that_is_none() -> None:
    assert judge_signals({"boundary": float("nan")}, LIMITS).state is TrustState.DOUBTFUL


def test_a_signal_without_a_limit_decides_nothing() -> None:
    assert judge(new_one=1e9) == (TrustState.OK, "")


def test_an_input_unlike_the_calibration_set_is_doubtful_by_the_statistic_that_is_unlike() -> None:
    usual = input_statistics(GREY, SPEC)
    record = TrustRecord(
        signals={"input": SignalSpec(reason="unlike the calibration set", doubtful_above=3.0)},
        input=InputReference(middle=usual, spread=dict.fromkeys(usual, 0.1)),
    )
    trusting = TrustJudge(record, SPEC)
    assert trusting.judge(outputs(), GREY).state is TrustState.OK
    red = GREY.copy()
    red[:, :, 1:] = 20
    trust = trusting.judge(outputs(), red)
    assert trust.state is TrustState.DOUBTFUL
    assert trust.reason == "red share: unlike the calibration set (input 4.29 above 3)"  # (128 / 168 - 1 / 3) / 0.1


def test_statistics_of_a_picture_are_those_of_its_pixels() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32] = (255, 0, 51)
    found = input_statistics(picture, SPEC)
    assert tuple(found) == PICTURE_STATISTICS
    assert found["brightness"] == pytest.approx(0.5 * (255 + 51) / 3 / 255)
    assert found["contrast"] == pytest.approx(0.5 * (255 + 51) / 3 / 255)
    assert (found["dark share"], found["bright share"]) == (0.5, 0.5)
    assert found["red share"] == pytest.approx(255 / 306)
    assert found["blue share"] == pytest.approx(51 / 306)
    swapped = input_statistics(picture[:, :, ::-1], replace(SPEC, colour=Colour.BGR))
    assert swapped == pytest.approx(found)


def test_blur_lowers_the_sharpness() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1)).repeat(3, axis=2).astype(np.uint8)
    blurred = np.mean([np.roll(noise, shift, axis=1) for shift in range(8)], axis=0).astype(np.uint8)
    sharp, soft = (input_statistics(picture, SPEC)["sharpness"] for picture in (noise, blurred))
    assert sharp > 2 * soft


def test_statistics_of_voltages() -> None:
    found = input_statistics(np.array([0.03, -0.04, 0.0, 0.0], np.float32), None)
    assert found["level"] == pytest.approx(np.log10(0.025))
    assert found["offset"] == pytest.approx(-0.1)
    assert found["peak"] == pytest.approx(1.6)


def areas_judged(areas: list[float], step_ms: float = 33.0, trust: Trust | None = None) -> list[Trust]:
    watch, found = AreaWatch(AREA_LIMIT), []
    for number, area in enumerate(areas):
        mask = np.zeros((40, 50), np.uint8)
        mask.reshape(-1)[: round(area * mask.size)] = 1
        answer = Segmentation(
            frame_id=number,
            captured_ns=0,
            age_ms=0.0,
            stages=StageTimes(),
            mask=mask,
            probability=mask[np.newaxis].astype(np.float32),
            classes=("background", "lesion"),
            frame_shape=(40, 50),
            trust=trust or Trust(),
        )
        found.append(watch.judge(answer, round(number * step_ms * 1e6)).trust)
    return found


def test_an_area_that_grows_with_the_scene_is_ok_and_one_that_jumps_is_doubtful() -> None:
    steady = areas_judged([0.1 * 1.05**number for number in range(20)])
    assert {trust.state for trust in steady} == {TrustState.OK}
    assert "area" not in steady[4].signals
    assert steady[6].signals["area"] == pytest.approx(1 - 1.05**-3.5, abs=0.02)
    jumped = areas_judged([0.2] * 10 + [0.01] + [0.2])
    assert jumped[10].state is TrustState.DOUBTFUL
    assert jumped[10].reason == "the area left its running median (area 0.95 above 0.8)"
    assert jumped[11].state is TrustState.OK


def test_a_void_answer_stays_void_whatever_its_area_does() -> None:
    jumped = areas_judged([0.2] * 10 + [0.01], trust=Trust(state=TrustState.VOID, reason="residual"))
    assert jumped[10].state is TrustState.VOID
    assert jumped[10].reason == "residual; the area left its running median (area 0.95 above 0.8)"


def test_what_comes_to_stay_is_doubted_only_until_it_is_the_median() -> None:
    states = [trust.state for trust in areas_judged([0.0] * 15 + [0.2] * 15)]
    assert states.count(TrustState.DOUBTFUL) == 8
    assert states[-1] is TrustState.OK


def test_a_few_pixels_may_come_and_go_and_old_answers_are_forgotten() -> None:
    assert {trust.state for trust in areas_judged([0.0, 0.0015] * 10)} == {TrustState.OK}
    assert {trust.state for trust in areas_judged([0.2] * 6 + [0.01] * 6, step_ms=900.0)} == {TrustState.OK}
