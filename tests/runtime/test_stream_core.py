"""The core of a stream: which frame next, what may be shown, and what hypothesis can think of."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physedge_runtime.frame import Frame
from physedge_runtime.results import Result, Segmentation, Signal, StageTimes, Trust, TrustState
from physedge_runtime.stream.clock import NS_PER_MS
from physedge_runtime.stream.core import StreamCore
from physedge_runtime.stream.events import EventLog
from physedge_runtime.stream.health import HealthLimits
from physedge_runtime.stream.look import FrameLook
from physedge_runtime.stream.safety import EngineFault, Safety, SafetyLimits
from physedge_runtime.stream.slot import QUEUE_CAPACITY, Drop, FrameSlot
from physedge_runtime.stream.streamed import DropCause, EventKind, StreamedFrame, StreamEvent, Withdrawal

PIXELS = np.zeros((8, 8, 3), np.uint8)
PERIOD_NS = 33 * NS_PER_MS


def answer(frame: Frame, *, value: float = 0.5, trust: Trust | None = None) -> Segmentation:
    return Segmentation(
        frame_id=frame.frame_id,
        captured_ns=frame.captured_ns,
        age_ms=0.0,
        stages=StageTimes(inference_ms=1.0),
        trust=trust or Trust(),
        engine="fake",
        mask=np.zeros((2, 2), np.uint8),
        probability=np.full((1, 2, 2), value, np.float32),
        classes=("background", "lesion"),
        frame_shape=(8, 8),
    )


class Room:
    """A core with a hand-moved clock and everything that came out of it."""

    def __init__(self, policy: Drop = Drop.LATEST, *, health: HealthLimits | None = None, **safety: int) -> None:
        limits = {"max_age_ns": 300 * NS_PER_MS, **safety}
        self.core = StreamCore(
            policy=policy, health=health or HealthLimits(good_frames=1), safety=SafetyLimits(**limits), engine="fake"
        )
        self.now_ns = 0
        self.next_id = 0
        self.out: list[StreamedFrame] = []
        self.events: list[StreamEvent] = []

    def frame(self, **changes: object) -> None:
        frame = Frame(pixels=PIXELS, frame_id=self.next_id, captured_ns=self.now_ns)
        look = FrameLook(checksum=self.next_id, dark_share=0.0, bright_share=0.0, format="8x8")
        look_changes = {key: changes.pop(key) for key in list(changes) if key in FrameLook.__slots__}
        frame = replace(frame, **changes)  # type: ignore[arg-type]
        self.next_id = max(self.next_id, frame.frame_id) + 1
        self.core.frame(frame, replace(look, **look_changes), self.now_ns)  # type: ignore[arg-type]
        self._drain()

    def take(self) -> Frame | None:
        frame = self.core.take(self.now_ns)
        self._drain()
        return frame

    def answered(self, result: Result | EngineFault) -> None:
        self.core.answered(result, self.now_ns)
        self._drain()

    def wait(self, ms: float) -> None:
        self.now_ns += round(ms * NS_PER_MS)
        self.core.tick(self.now_ns)
        self._drain()

    @property
    def last(self) -> StreamedFrame:
        return self.out[-1]

    @property
    def passed(self) -> list[int]:
        return [item.frame.frame_id for item in self.out if item.frame is not None]

    def said(self, kind: EventKind) -> list[str]:
        return [event.text for event in self.events if event.kind is kind]

    def _drain(self) -> None:
        out, events = self.core.drain()
        self.out += out
        self.events += events


def test_a_picture_leaves_with_its_own_answer_and_its_age() -> None:
    room = Room()
    room.frame()
    frame = room.take()
    assert frame is not None
    room.wait(20)
    room.answered(answer(frame))
    assert room.last.frame is frame
    assert room.last.result is not None
    assert room.last.result.age_ms == 20.0
    assert room.last.result.signal is Signal.LIVE
    assert room.last.withdrawn is None


def test_only_the_newest_frame_is_answered_and_the_others_are_counted() -> None:
    room = Room()
    for _ in range(5):
        room.frame()
        room.wait(33)
    frame = room.take()
    assert frame is not None
    assert frame.frame_id == 4
    room.answered(answer(frame))
    assert room.last.drops == {"superseded": 4}
    assert room.last.result is not None
    assert room.last.result.drops == 4


def test_the_queue_of_oldest_keeps_order_and_counts_what_it_refuses() -> None:
    room = Room(Drop.OLDEST)
    for _ in range(QUEUE_CAPACITY + 3):
        room.frame()
    taken = []
    while frame := room.take():
        taken.append(frame.frame_id)
        room.answered(answer(frame))
    assert taken == list(range(QUEUE_CAPACITY))
    assert room.core.drops == {"queue_full": 3}


def test_never_asks_the_grabber_to_wait() -> None:
    room = Room(Drop.NEVER)
    room.frame()
    assert room.core.has_room
    room.frame()
    assert not room.core.has_room
    with pytest.raises(ValueError, match="no room"):
        room.frame()


def test_a_gap_in_the_sources_numbers_is_counted() -> None:
    room = Room()
    room.frame()
    room.frame(frame_id=5)
    assert room.core.drops["source_gap"] == 4


def test_numbers_that_do_not_rise_are_made_to_rise() -> None:
    room = Room(Drop.OLDEST)
    for _ in range(3):
        room.frame(frame_id=0)
    ids = []
    while frame := room.take():
        ids.append(frame.frame_id)
        room.answered(answer(frame))
    assert ids == [0, 1, 2]
    assert room.passed == [0, 1, 2]


def test_a_capture_stamp_in_the_future_is_taken_as_now_and_said() -> None:
    room = Room()
    room.frame(captured_ns=60_000 * NS_PER_MS)
    frame = room.take()
    assert frame is not None
    assert frame.captured_ns == 0
    assert "60000 ms ahead" in room.said(EventKind.CLOCK)[0]


def test_a_jump_of_the_sources_clock_is_said_and_orders_nothing() -> None:
    room = Room()
    for stamp_ns in (0, 33, 10**15, 66):
        room.frame(source_stamp_ns=stamp_ns)
        frame = room.take()
        assert frame is not None
        room.answered(answer(frame))
    assert room.passed == [0, 1, 2, 3]
    assert len(room.said(EventKind.CLOCK)) == 2


def test_a_late_answer_is_withdrawn_and_the_picture_goes_out_at_the_deadline() -> None:
    room = Room(deadline_ns=50 * NS_PER_MS)
    room.frame()
    frame = room.take()
    assert frame is not None
    room.wait(49)
    assert room.passed == []
    room.wait(2)
    assert room.passed == [0]
    assert room.last.withdrawn is Withdrawal.LATE
    room.wait(10)
    room.answered(answer(frame))
    assert room.passed == [0]
    assert room.core.withdrawals[Withdrawal.LATE] == 2
    assert room.core.drops == {}


def test_pictures_pass_at_the_sources_rate_while_the_engine_is_overdue() -> None:
    room = Room(deadline_ns=50 * NS_PER_MS)
    room.frame()
    frame = room.take()
    assert frame is not None
    for _ in range(6):
        room.wait(33)
        room.frame()
    assert room.passed == [1, 2, 3, 4, 5, 6]
    assert all(item.result is None and item.withdrawn is Withdrawal.LATE for item in room.out if item.frame)
    room.answered(answer(frame))
    assert room.core.drops == {"overtaken": 1}
    room.wait(33)
    room.frame()
    following = room.take()
    assert following is not None
    room.wait(10)
    room.answered(answer(following))
    assert room.last.result is not None


def test_pictures_pass_while_the_engine_is_with_other_streams_and_the_newest_still_waits_for_it() -> None:
    room = Room(deadline_ns=50 * NS_PER_MS)
    for _ in range(6):  # nobody takes: it is not this stream's turn
        room.frame()
        room.wait(33)
    assert room.core.drops == {"superseded": 1}
    assert room.passed == [1, 2, 3, 4]
    assert {item.withdrawn_text for item in room.out if item.frame} == {"the engine is still busy with other streams"}
    frame = room.take()
    assert frame is not None
    room.answered(answer(frame))
    assert room.last.result is not None
    assert room.passed[-1] == 5
    room.frame()
    room.wait(33)
    room.frame()
    assert room.passed[-1] == 5  # the wait is counted anew


def test_an_answer_that_is_too_old_is_withdrawn() -> None:
    room = Room(Drop.OLDEST, health=HealthLimits.for_file())
    room.frame()
    frame = room.take()
    assert frame is not None
    room.wait(301)
    room.answered(answer(frame))
    assert room.last.frame is not None
    assert room.last.result is None
    assert room.last.withdrawn is Withdrawal.OLD
    assert room.last.stages is not None


def test_an_engine_that_is_always_too_slow_is_said_once() -> None:
    room = Room(Drop.OLDEST, health=HealthLimits.for_file())
    for _ in range(25):
        room.frame()
        frame = room.take()
        assert frame is not None
        room.wait(400)
        room.answered(answer(frame))
    assert len(room.said(EventKind.ANSWERS)) == 1
    assert room.core.safety.safe_reason == ""


def test_the_answer_on_show_is_taken_back_when_no_newer_one_comes() -> None:
    room = Room(health=HealthLimits.for_file())
    room.frame()
    frame = room.take()
    assert frame is not None
    room.answered(answer(frame))
    room.wait(299)
    assert room.last.result is not None
    room.wait(2)
    assert room.last.frame is None
    assert room.last.withdrawn is Withdrawal.OLD
    count = len(room.out)
    room.wait(1000)
    assert len(room.out) == count


def test_silence_takes_the_answer_back_before_it_is_old() -> None:
    room = Room()
    for _ in range(10):
        room.frame()
        frame = room.take()
        assert frame is not None
        room.answered(answer(frame))
        room.wait(33)
    room.wait(75)
    assert room.last.frame is None
    assert room.last.signal is Signal.STALE
    assert room.last.withdrawn is Withdrawal.SIGNAL
    assert room.last.withdrawn_text.startswith("STALE: no frame for")


def test_a_dark_frame_passes_at_once_and_is_never_answered() -> None:
    room = Room()
    room.frame()
    room.frame(dark_share=1.0)
    assert room.passed == [1]
    assert room.last.withdrawn is Withdrawal.SIGNAL
    assert room.take() is None


def test_an_answer_that_comes_while_the_signal_is_bad_is_withdrawn() -> None:
    room = Room()
    room.frame()
    frame = room.take()
    assert frame is not None
    room.core.lost("unplugged", room.now_ns)
    room.answered(answer(frame))
    assert room.last.frame is frame
    assert room.last.withdrawn is Withdrawal.SIGNAL
    assert "LOST: unplugged" in room.last.withdrawn_text


def test_a_void_answer_is_withdrawn_by_its_reason() -> None:
    room = Room()
    room.frame()
    frame = room.take()
    assert frame is not None
    room.answered(answer(frame, trust=Trust(state=TrustState.VOID, reason="residual")))
    assert room.last.withdrawn is Withdrawal.VOID
    assert "residual" in room.last.withdrawn_text
    assert room.last.trust is not None
    assert room.last.trust.state is TrustState.VOID


def test_three_answers_of_nan_end_in_the_safe_state_and_pictures_go_on() -> None:
    room = Room()
    for _ in range(3):
        room.frame()
        frame = room.take()
        assert frame is not None
        room.answered(answer(frame, value=float("nan")))
        assert room.last.result is None
    assert "no numbers" in room.core.safety.safe_reason
    assert len(room.said(EventKind.SAFE_STATE)) == 1
    room.frame()
    assert room.last.frame is not None
    assert room.last.withdrawn is Withdrawal.SAFE_STATE
    assert room.take() is None


def test_an_answer_of_another_frame_is_withdrawn() -> None:
    room = Room()
    room.frame()
    frame = room.take()
    assert frame is not None
    room.answered(answer(replace(frame, frame_id=99)))
    assert room.last.withdrawn is Withdrawal.OTHER_FRAME
    assert "frame 99" in room.last.withdrawn_text


def test_engine_errors_are_forgiven_twice_but_not_thrice_in_a_row() -> None:
    room = Room()
    for step in range(7):
        room.frame()
        frame = room.take()
        assert frame is not None
        room.answered(answer(frame) if step % 3 == 2 else EngineFault("device lost"))
    assert room.core.safety.safe_reason == ""
    room.frame()
    assert room.take() is not None
    room.answered(EngineFault("device lost"))
    room.frame()
    assert room.take() is not None
    room.answered(EngineFault("device lost"))
    assert "3 times in a row: device lost" in room.core.safety.safe_reason


def test_out_of_memory_ends_in_the_safe_state_at_once() -> None:
    room = Room()
    room.frame()
    assert room.take() is not None
    room.answered(EngineFault("MemoryError", is_out_of_memory=True))
    assert room.core.safety.safe_reason == "out of memory"


def test_ten_missed_deadlines_in_a_row_end_in_the_safe_state() -> None:
    room = Room(Drop.OLDEST, deadline_ns=10 * NS_PER_MS)
    for count in range(10):
        assert room.core.safety.safe_reason == "", count
        room.frame()
        frame = room.take()
        assert frame is not None
        room.wait(11)
        room.answered(answer(frame))
        assert room.last.withdrawn is not None
    assert "10 times in a row" in room.core.safety.safe_reason


def test_a_hung_engine_ends_in_the_safe_state_while_pictures_pass() -> None:
    room = Room(max_age_ns=300 * NS_PER_MS)
    room.frame()
    assert room.take() is not None
    for _ in range(160):
        room.wait(33)
        room.frame()
    assert "has not come back" in room.core.safety.safe_reason
    assert len(room.passed) >= 150
    assert room.last.withdrawn is Withdrawal.SAFE_STATE


def test_a_process_that_stood_still_is_no_hung_engine() -> None:
    """Stopped, swapped out, a virtual machine paused: nobody ran, so nobody hung."""
    room = Room()
    room.frame()
    frame = room.take()
    assert frame is not None
    for _ in range(3):
        room.wait(60_000)
    assert room.core.safety.safe_reason == ""
    room.answered(answer(frame))
    room.frame()
    assert room.take() is not None
    for _ in range(6):
        room.wait(1000)
    assert "has not come back for 6000 ms" in room.core.safety.safe_reason


def test_nothing_is_answered_in_the_safe_state_and_the_sinks_are_told() -> None:
    """Three frames wait in a queue, one is in work; then something outside makes it unsafe to go on."""
    room = Room(Drop.OLDEST)
    for _ in range(3):
        room.frame()
    frame = room.take()
    assert frame is not None
    room.core.fail("the disk is gone", room.now_ns)
    room.answered(answer(frame))
    notice, shown = room.out[-2:]
    assert notice.frame is None
    assert notice.withdrawn is Withdrawal.SAFE_STATE
    assert notice.withdrawn_text == "the disk is gone"
    assert shown.frame is not None
    assert shown.result is None
    assert shown.withdrawn is Withdrawal.SAFE_STATE
    assert room.take() is None
    assert room.passed == [0, 1, 2]
    assert all(item.result is None for item in room.out)


def test_the_first_reason_of_the_safe_state_stays() -> None:
    safety = Safety(SafetyLimits())
    safety.fail("first")
    safety.fail("second")
    assert safety.safe_reason == "first"


def test_a_file_keeps_the_signal_of_each_frame_whatever_was_read_ahead() -> None:
    room = Room(Drop.NEVER, health=HealthLimits.for_file())
    room.frame()
    room.frame(dark_share=1.0)
    frame = room.take()
    assert frame is not None
    room.answered(answer(frame))
    assert room.last.signal is Signal.LIVE
    assert room.last.result is not None
    assert room.take() is None
    assert room.last.signal is Signal.BLACK
    assert room.passed == [0, 1]


def test_a_flapping_fault_does_not_flood_the_log() -> None:
    log = EventLog()
    for number in range(1000):
        log.say(number, EventKind.SIGNAL, "up")
    log.say(1000, EventKind.SAFE_STATE, "down")
    assert Counter(event.kind for event in log.drain()) == {EventKind.SIGNAL: 20, EventKind.SAFE_STATE: 1}
    log.say(10_000_000_000, EventKind.SIGNAL, "up")
    assert [event.text for event in log.drain()] == ["980 lines like the last one were left out", "up"]


@given(st.sampled_from(Drop), st.lists(st.booleans(), max_size=60))
def test_a_slot_never_loses_count(policy: Drop, puts: list[bool]) -> None:
    slot: FrameSlot[int] = FrameSlot(policy)
    put = 0
    taken: list[int] = []
    for is_put in puts:
        if is_put and (policy is not Drop.NEVER or slot.has_room):
            slot.put(put)
            put += 1
        elif (item := slot.take()) is not None:
            taken.append(item)
            if policy is Drop.LATEST:
                assert item == put - 1
    assert put == len(taken) + len(slot) + slot.drops.total()
    assert taken == sorted(set(taken))
    assert policy is not Drop.NEVER or slot.drops.total() == 0


ACTIONS = st.one_of(
    st.tuples(st.just("frame"), st.sampled_from(["good", "dark", "white", "same", "operator", "gap", "old", "future"])),
    st.tuples(st.just("take"), st.just("")),
    st.tuples(st.just("answer"), st.sampled_from(["ok", "nan", "void", "fault", "memory", "other"])),
    st.tuples(st.just("tick"), st.just("")),
    st.tuples(st.just("lost"), st.just("")),
)
SCRIPTS = st.lists(st.tuples(ACTIONS, st.integers(0, 120 * NS_PER_MS)), max_size=120)


def play(policy: Drop, script: list[tuple[tuple[str, str], int]]) -> Room:
    room = Room(policy, health=HealthLimits(good_frames=2), deadline_ns=200 * NS_PER_MS)
    in_work: Frame | None = None
    for (action, kind), wait_ns in script:
        room.now_ns += wait_ns
        if action == "frame" and room.core.has_room:
            _play_frame(room, kind)
        elif action == "take" and in_work is None:
            in_work = room.take()
        elif action == "answer" and in_work is not None:
            room.answered(_result(kind, in_work))
            in_work = None
        elif action == "lost":
            room.core.lost("gone", room.now_ns)
            room.wait(0)
        elif action == "tick":
            room.wait(0)
    return room


def _play_frame(room: Room, kind: str) -> None:
    changes: dict[str, dict[str, object]] = {
        "dark": {"dark_share": 1.0},
        "white": {"bright_share": 1.0},
        "same": {"checksum": -1},
        "operator": {"frozen_by_operator": True},
        "gap": {"frame_id": room.next_id + 2},
        "old": {"captured_ns": max(0, room.now_ns - 400 * NS_PER_MS)},
        "future": {"captured_ns": room.now_ns + NS_PER_MS},
    }
    room.frame(**changes.get(kind, {}))


def _result(kind: str, frame: Frame) -> Result | EngineFault:
    if kind in ("fault", "memory"):
        return EngineFault(kind, is_out_of_memory=kind == "memory")
    trust = Trust(state=TrustState.VOID, reason="x") if kind == "void" else None
    answered = replace(frame, frame_id=frame.frame_id + 1) if kind == "other" else frame
    return answer(answered, value=float("nan") if kind == "nan" else 0.5, trust=trust)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(Drop), SCRIPTS)
def test_whatever_happens_nothing_false_is_shown_and_nothing_is_lost_uncounted(
    policy: Drop, script: list[tuple[tuple[str, str], int]]
) -> None:
    room = play(policy, script)
    core = room.core
    assert all(one < other for one, other in itertools.pairwise(room.passed))
    for item in room.out:
        assert (item.result is None) == (item.withdrawn is not None)
        assert bool(item.withdrawn_text) == (item.withdrawn is not None)
        assert item.age_ms >= 0
        if item.result is not None:
            assert item.frame is not None
            assert item.result.frame_id == item.frame.frame_id
            assert item.result.captured_ns == item.frame.captured_ns
            assert item.age_ms <= 200
            assert isinstance(item.result, Segmentation)
            assert np.isfinite(item.result.probability).all()
            assert item.result.trust.state is not TrustState.VOID
            assert item.signal in (Signal.LIVE, Signal.FROZEN)
    gaps = core.drops.get(DropCause.SOURCE_GAP, 0)
    held = core.captured - len(room.passed) - (sum(core.drops.values()) - gaps)
    assert 0 <= held <= QUEUE_CAPACITY + 1
    assert not core.is_idle or held == 0
    if core.safety.safe_reason:
        safe_at = next(index for index, item in enumerate(room.out) if item.withdrawn is Withdrawal.SAFE_STATE)
        assert all(item.result is None for item in room.out[safe_at:])


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(Drop), SCRIPTS)
def test_the_same_calls_give_the_same_output(policy: Drop, script: list[tuple[tuple[str, str], int]]) -> None:
    first, second = play(policy, script), play(policy, script)
    assert first.events == second.events
    assert [_decision(item) for item in first.out] == [_decision(item) for item in second.out]


def _decision(item: StreamedFrame) -> tuple[object, ...]:
    return (
        item.frame and item.frame.frame_id,
        item.result is None,
        item.signal,
        item.reason,
        item.withdrawn,
        item.withdrawn_text,
        item.at_ns,
        dict(item.drops),
    )
