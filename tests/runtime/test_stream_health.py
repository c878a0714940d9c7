"""The health of the picture: every state, how soon it is entered and how it is left."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physedge_runtime.frame import Colour, Frame
from physedge_runtime.results import Signal
from physedge_runtime.stream.clock import NS_PER_MS, ManualClock, SourceClock
from physedge_runtime.stream.health import Health, HealthLimits
from physedge_runtime.stream.look import FrameLook, look_at

PERIOD_NS = 33_333_333
LIMITS = HealthLimits()


def look(number: int, *, dark: float = 0.1, bright: float = 0.0, form: str = "480x640x3 rgb uint8") -> FrameLook:
    return FrameLook(checksum=number, dark_share=dark, bright_share=bright, format=form)


class Camera:
    """Feeds a Health object frames at a steady rate, with a tick every 10 ms as the shell does."""

    def __init__(self, limits: HealthLimits = LIMITS) -> None:
        self.health = Health(limits)
        self.now_ns = 0
        self.number = 0
        self.seen: list[Signal] = []

    def wait(self, ns: int) -> None:
        end_ns = self.now_ns + ns
        while self.now_ns + 10 * NS_PER_MS < end_ns:
            self.now_ns += 10 * NS_PER_MS
            self._note(self.health.tick(self.now_ns))
        self.now_ns = end_ns

    def frames(self, looks: Iterable[FrameLook], *, frozen_by_operator: bool = False) -> None:
        for item in looks:
            self._note(self.health.frame(self.now_ns, item, frozen_by_operator=frozen_by_operator))
            self.wait(PERIOD_NS)

    def good(self, count: int) -> None:
        looks = [look(self.number + step) for step in range(1, count + 1)]
        self.number += count
        self.frames(looks)

    def until(self, signal: Signal, looks: Iterable[FrameLook]) -> int:
        """Nanoseconds until the state is entered while these frames come."""
        start_ns = self.now_ns
        for item in looks:
            if self.health.frame(self.now_ns, item) is signal:
                return self.now_ns - start_ns
            self.wait(PERIOD_NS)
        raise AssertionError(f"{signal} was never entered")

    def _note(self, signal: Signal) -> None:
        if not self.seen or self.seen[-1] is not signal:
            self.seen.append(signal)


@pytest.fixture
def camera() -> Camera:
    """A camera that has been LIVE for two seconds."""
    camera = Camera()
    camera.good(60)
    assert camera.health.signal is Signal.LIVE
    return camera


def test_a_camera_is_live_after_five_good_frames() -> None:
    camera = Camera()
    camera.good(4)
    assert camera.health.signal is Signal.RECOVERING
    assert not camera.health.answerable
    camera.good(1)
    assert camera.health.signal is Signal.LIVE
    assert camera.health.answerable
    assert camera.health.reason == ""


def test_the_period_is_measured(camera: Camera) -> None:
    assert camera.health.period_ns == PERIOD_NS
    assert camera.health.stale_after_ns == 100 * NS_PER_MS  # 2.5 periods are less than the floor
    assert camera.health.lost_after_ns == pytest.approx(5 * PERIOD_NS, abs=2)


def test_silence_is_stale_and_then_lost_within_200_ms(camera: Camera) -> None:
    start_ns = camera.now_ns - PERIOD_NS
    times: dict[Signal, int] = {}
    while Signal.LOST not in times:
        camera.now_ns += NS_PER_MS
        times.setdefault(camera.health.tick(camera.now_ns), camera.now_ns - start_ns)
    assert times[Signal.STALE] == pytest.approx(101 * NS_PER_MS, abs=NS_PER_MS)
    assert times[Signal.LOST] <= 200 * NS_PER_MS
    assert camera.health.reason.startswith("no frame for ")


def test_a_short_gap_is_stale_and_the_next_frame_is_live_again(camera: Camera) -> None:
    camera.wait(3 * PERIOD_NS)
    assert camera.health.signal is Signal.STALE
    camera.good(1)
    assert camera.health.signal is Signal.LIVE


def test_a_lost_camera_is_live_only_after_five_good_frames(camera: Camera) -> None:
    camera.wait(1000 * NS_PER_MS)
    assert camera.health.signal is Signal.LOST
    camera.good(4)
    assert camera.health.signal is Signal.RECOVERING
    camera.good(1)
    assert camera.seen == [Signal.RECOVERING, Signal.LIVE, Signal.STALE, Signal.LOST, Signal.RECOVERING, Signal.LIVE]


def test_a_camera_that_comes_back_slower_is_measured_anew(camera: Camera) -> None:
    camera.wait(1000 * NS_PER_MS)
    for number in range(1000, 1010):
        camera.health.frame(camera.now_ns, look(number))
        camera.wait(300 * NS_PER_MS)
    assert camera.health.signal is Signal.LIVE
    assert camera.health.period_ns == 300 * NS_PER_MS


@pytest.mark.parametrize(
    ("signal", "bad"),
    [
        (Signal.FROZEN, look(7)),
        (Signal.BLACK, look(8, dark=1.0)),
        (Signal.SATURATED, look(9, bright=1.0)),
    ],
)
def test_a_bad_picture_is_found_within_200_ms_and_recovers_by_five_good_frames(
    camera: Camera, signal: Signal, bad: FrameLook
) -> None:
    assert camera.until(signal, [bad] * 10) <= 200 * NS_PER_MS
    assert not camera.health.answerable
    camera.good(4)
    assert camera.health.signal is Signal.RECOVERING
    camera.good(1)
    assert camera.health.signal is Signal.LIVE


def test_a_slow_picture_is_frozen_at_its_third_repeat() -> None:
    """At ten pictures a second the repeats decide, not the time."""
    health = Health(HealthLimits(), period_ns=100 * NS_PER_MS)
    numbers = [*range(20), 99, 99, 99, 99]
    signals = [health.frame(index * 100 * NS_PER_MS, look(number)) for index, number in enumerate(numbers)]
    assert signals[-2:] == [Signal.LIVE, Signal.FROZEN]


def test_a_frame_from_a_clock_that_went_back_makes_no_silence(camera: Camera) -> None:
    camera.health.frame(camera.now_ns - 3000 * NS_PER_MS, look(4000))
    camera.health.tick(camera.now_ns + 20 * NS_PER_MS)
    assert camera.health.signal is Signal.LIVE


def test_repeats_do_not_count_as_good_frames(camera: Camera) -> None:
    camera.health.lost("the cable was pulled")
    camera.frames([look(number) for number in (5000, 5000, 5001, 5001, 5002)])
    assert camera.health.signal is Signal.RECOVERING
    camera.frames([look(number) for number in (5003, 5004)])
    assert camera.health.signal is Signal.LIVE


def test_a_dark_frame_begins_the_count_of_good_frames_anew(camera: Camera) -> None:
    camera.health.lost("the cable was pulled")
    camera.frames([*map(look, (5000, 5001, 5002)), look(5003, dark=1.0), *map(look, (5004, 5005, 5006, 5007))])
    assert camera.health.signal is Signal.RECOVERING
    camera.frames([look(5008)])
    assert camera.health.signal is Signal.LIVE


def test_a_black_picture_that_stands_still_stays_black(camera: Camera) -> None:
    camera.frames([look(0, dark=1.0)] * 60)
    assert camera.seen[-2:] == [Signal.LIVE, Signal.BLACK]


def test_a_black_picture_with_noise_is_black_too(camera: Camera) -> None:
    camera.frames([look(number, dark=0.999) for number in range(5000, 5010)])
    assert camera.health.signal is Signal.BLACK


def test_one_dark_frame_is_not_answered_but_raises_no_alarm(camera: Camera) -> None:
    camera.frames([look(1, dark=1.0)])
    assert camera.health.signal is Signal.LIVE
    assert not camera.health.answerable
    camera.good(1)
    assert camera.health.answerable


def test_every_frame_doubled_by_the_grabber_is_not_frozen(camera: Camera) -> None:
    camera.frames([look(number // 2) for number in range(10_000, 10_100)])
    assert camera.seen == [Signal.RECOVERING, Signal.LIVE]


def test_a_15_hz_scanner_behind_a_60_hz_grabber_is_not_frozen() -> None:
    health = Health(LIMITS)
    signals = {health.frame(number * 16_666_667, look(number // 4)) for number in range(200)}
    assert Signal.FROZEN not in signals
    assert health.signal is Signal.LIVE


def test_a_6_hz_scanner_behind_a_30_hz_grabber_is_not_frozen(camera: Camera) -> None:
    camera.frames([look(10_000 + number // 5) for number in range(100)])
    assert camera.seen == [Signal.RECOVERING, Signal.LIVE]


def test_an_operators_freeze_is_told_apart_and_stays_answerable(camera: Camera) -> None:
    camera.frames([look(5)] * 30, frozen_by_operator=True)
    assert camera.health.signal is Signal.FROZEN
    assert camera.health.reason == "frozen by the operator"
    assert camera.health.answerable
    camera.wait(10_000 * NS_PER_MS)
    assert camera.health.signal is Signal.FROZEN
    camera.good(5)
    assert camera.health.signal is Signal.LIVE


def test_a_scanner_that_says_it_is_not_frozen_but_is_gets_found_out(camera: Camera) -> None:
    camera.frames([look(5)] * 10, frozen_by_operator=False)
    assert camera.health.signal is Signal.FROZEN
    assert camera.health.reason != "frozen by the operator"
    assert not camera.health.answerable


def test_a_frozen_scanner_whose_link_dies_is_lost(camera: Camera) -> None:
    camera.frames([look(5)] * 3, frozen_by_operator=True)
    assert camera.health.lost("the connection closed") is Signal.LOST


def test_a_freeze_is_found_although_the_repeat_that_would_tell_is_late(camera: Camera) -> None:
    camera.good(8)
    started_ns = camera.now_ns
    camera.frames([look(-1)] * 5)  # the last of them 133 ms after the first
    assert camera.health.signal is Signal.LIVE
    camera.wait(20 * NS_PER_MS)
    assert camera.health.signal is Signal.FROZEN
    assert camera.now_ns - started_ns <= 190 * NS_PER_MS


def test_another_format_of_the_picture_has_to_prove_itself(camera: Camera) -> None:
    camera.frames([look(1, form="720x1280x3 rgb uint8")])
    assert camera.health.signal is Signal.RECOVERING
    assert "720x1280x3" in camera.health.reason
    camera.frames([look(number, form="720x1280x3 rgb uint8") for number in range(2, 7)])
    assert camera.health.signal is Signal.LIVE


def test_a_first_frame_that_never_comes_is_lost() -> None:
    camera = Camera()
    camera.wait(4900 * NS_PER_MS)
    assert camera.health.signal is Signal.RECOVERING
    camera.wait(300 * NS_PER_MS)
    assert camera.health.signal is Signal.LOST


def test_a_slow_source_that_states_its_period_is_not_lost_between_two_frames() -> None:
    health = Health(LIMITS, period_ns=6000 * NS_PER_MS)
    now_ns = 0
    for number in range(10):
        health.frame(now_ns, look(number))
        for _ in range(59):
            now_ns += 100 * NS_PER_MS
            assert health.tick(now_ns) in (Signal.RECOVERING, Signal.LIVE)
        now_ns += 100 * NS_PER_MS


def test_a_file_may_repeat_itself_and_wait_but_not_be_black() -> None:
    camera = Camera(HealthLimits.for_file())
    camera.good(1)
    assert camera.health.signal is Signal.LIVE
    camera.frames([look(3)] * 50)
    camera.wait(60_000 * NS_PER_MS)
    assert camera.health.signal is Signal.LIVE
    camera.frames([look(4, dark=1.0)])
    assert camera.health.signal is Signal.BLACK
    camera.frames([look(5)])
    assert camera.health.signal is Signal.LIVE


steps = st.lists(
    st.tuples(
        st.sampled_from(["frame", "repeat", "dark", "bright", "operator", "tick", "lost", "format"]),
        st.integers(0, 3_000 * NS_PER_MS),
    ),
    max_size=80,
)


@given(steps)
def test_live_is_only_ever_reached_by_good_frames(script: list[tuple[str, int]]) -> None:
    health = Health(LIMITS)
    now_ns = 0
    good_since_fault = 0
    for number, (kind, wait_ns) in enumerate(script):
        now_ns += wait_ns
        before = health.signal
        match kind:
            case "frame":
                health.frame(now_ns, look(number))
            case "repeat":
                health.frame(now_ns, look(-1))
            case "dark":
                health.frame(now_ns, look(number, dark=1.0))
            case "bright":
                health.frame(now_ns, look(number, bright=1.0))
            case "operator":
                health.frame(now_ns, look(number), frozen_by_operator=True)
            case "format":
                health.frame(now_ns, look(number, form="1x1"))
            case "lost":
                health.lost("gone")
            case _:
                health.tick(now_ns)
        is_good = kind in ("frame", "repeat", "format")
        good_since_fault = good_since_fault + 1 if is_good else 0 if kind not in ("tick",) else good_since_fault
        if health.signal is Signal.LIVE and before not in (Signal.LIVE, Signal.STALE):
            assert good_since_fault >= LIMITS.good_frames
        if kind in ("dark", "bright"):
            assert not health.answerable
        assert (health.reason == "") == (health.signal is Signal.LIVE)
        assert before is not Signal.LOST or health.signal is not Signal.STALE


def test_a_look_tells_black_white_and_repetition() -> None:
    generator = np.random.default_rng(0)
    picture = generator.integers(40, 200, (480, 640, 3), np.uint8)
    first, again = look_at(Frame(pixels=picture)), look_at(Frame(pixels=picture.copy()))
    assert first == again
    changed = picture.copy()
    changed[479, 639, 2] ^= 1
    assert look_at(Frame(pixels=changed)).checksum != first.checksum
    assert look_at(Frame(pixels=np.zeros((480, 640, 3), np.uint8))).dark_share == 1.0
    assert look_at(Frame(pixels=np.full((480, 640), 255, np.uint8))).bright_share == 1.0
    assert look_at(Frame(pixels=picture, colour=Colour.BGR)).format != first.format
    assert look_at(Frame(pixels=picture[::2, ::2])).format == "240x320x3 rgb uint8"


def test_a_reused_buffer_is_not_taken_for_a_frozen_picture() -> None:
    buffer = np.full((48, 64, 3), 90, np.uint8)
    first = look_at(Frame(pixels=buffer))
    buffer[10:20] = 91
    assert look_at(Frame(pixels=buffer)).checksum != first.checksum


def test_dead_and_broken_electrodes_look_dark_and_bright() -> None:
    assert look_at(Frame(pixels=np.zeros(208, np.float32))).dark_share == 1.0
    assert look_at(Frame(pixels=np.full(208, np.nan, np.float32))).bright_share == 1.0


def test_a_jump_of_the_sources_clock_is_told_once_and_forgotten() -> None:
    clock = SourceClock()
    assert clock.check(None, 5) == ""
    said = [clock.check(stamp, captured) for captured, stamp in [(100, 0), (200, 100)]]
    future_ns = 3_600_000_000_000
    said += [clock.check(future_ns + stamp, stamp + 100) for stamp in (200, 300, 400)]
    assert [bool(text) for text in said] == [False, False, True, False, False]
    assert "+3600000 ms" in said[2]
    assert clock.jumps == 1


def test_a_growing_queue_before_us_shows_in_the_stamps() -> None:
    clock = SourceClock()
    for number in range(20):
        clock.check(number * 33 * NS_PER_MS, number * 43 * NS_PER_MS)
    assert clock.lag_ns == 190 * NS_PER_MS


def test_a_manual_clock_never_goes_back() -> None:
    with pytest.raises(ValueError, match="does not go back"):
        ManualClock().advance(-1)
