"""The shell of a stream: threads, ends, errors, back-pressure. No sleeps: every wait is for something that happens."""

from __future__ import annotations

import gc
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

import numpy as np
import pytest
from stream_fakes import FakeCamera, FakeNet, answer_to, lost, picture, stream_threads

from physedge_runtime.errors import PhysedgeError, SafeState, SourceError, UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.results import Result, Segmentation, Signal
from physedge_runtime.sinks.base import CollectingSink
from physedge_runtime.sources import PushSource
from physedge_runtime.stream import EventKind, StreamedFrame, StreamEvent, StreamInfo, Withdrawal
from physedge_runtime.stream.loop import Stream, stream
from physedge_runtime.stream.share import SharedNet


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    yield
    gc.collect()
    assert stream_threads() == []


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        threading.Event().wait(0.002)


class Pump:
    """Pushes good pictures into a fake camera at a steady rate from a thread of its own."""

    def __init__(self, camera: FakeCamera, period_s: float = 0.01) -> None:
        self.make: Callable[[int], np.ndarray] = picture
        self._camera, self._period_s = camera, period_s
        self._stop, self._pause = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def pause(self) -> None:
        self._pause.set()

    def go_on(self) -> None:
        self._pause.clear()

    def _run(self) -> None:
        for number in itertools.count():
            if self._stop.wait(self._period_s):
                return
            if not self._pause.is_set():
                self._camera.items.put(
                    Frame(pixels=self.make(number), frame_id=number, captured_ns=time.monotonic_ns())
                )


def pictures(count: int) -> list[np.ndarray]:
    return [picture(number) for number in range(count)]


def test_every_frame_of_a_file_is_answered_in_order() -> None:
    sink = CollectingSink()
    with stream(FakeNet(), pictures(50), sinks=[sink]) as running:
        results = list(running)
    assert [result.frame_id for result in results] == list(range(50))
    assert [item.frame.frame_id for item in sink.items if item.frame] == list(range(50))
    assert sink.is_closed
    assert sink.info is not None
    assert not sink.info.live
    summary = running.summary()
    assert (summary.captured, summary.pictures, summary.answers) == (50, 50, 50)
    assert summary.drops == {}
    assert summary.age.median_ms is not None
    assert summary.age.p90_ms is None


def test_a_stream_is_also_run_without_a_with_block_and_leaves_nothing_behind() -> None:
    for result in stream(FakeNet(), pictures(20)):
        if result.frame_id == 3:
            break


def test_frames_stops_after_exactly_so_many_pictures() -> None:
    sink = CollectingSink()
    with stream(FakeNet(), pictures(50), frames=7, sinks=[sink]) as running:
        assert running.wait().pictures == 7
    assert len(sink.items) == 7


class PreparingNet(FakeNet):
    """Prepares frames; its answer carries what was prepared."""

    def __init__(self, *, refuse: int = -1) -> None:
        super().__init__()
        self.refuse = refuse
        self.engine_free, self.prepared_ids = threading.Event(), list[int]()
        self.got: list[tuple[int, object]] = []

    def prepared(self, frame: Frame) -> object:
        if frame.frame_id == self.refuse:
            raise ValueError("no grid for this one")
        self.prepared_ids.append(frame.frame_id)
        return f"grid {frame.frame_id}"

    def answer(self, frame: Frame, ahead: object = None) -> Result:
        if frame.frame_id == 0:
            assert self.engine_free.wait(10)
        self.got.append((frame.frame_id, ahead))
        return answer_to(frame)


@pytest.mark.parametrize("shared", [False, True])
def test_frames_of_a_file_are_prepared_while_the_engine_works_and_each_answer_gets_its_own(shared: bool) -> None:
    net = PreparingNet(refuse=5)
    with stream(SharedNet(net) if shared else net, pictures(9)) as running:
        until(lambda: len(net.prepared_ids) >= 3)  # the engine is still at the first
        assert net.got == []
        net.engine_free.set()
        assert running.wait().answers == 9
    assert net.got == [(number, None if number == 5 else f"grid {number}") for number in range(9)]


def test_of_a_live_source_nothing_is_prepared_ahead() -> None:
    net, camera = PreparingNet(), FakeCamera()
    net.engine_free.set()
    with stream(net, camera, frames=12) as running, Pump(camera):
        running.wait()
    assert net.prepared_ids == []
    assert {ahead for _, ahead in net.got} == {None}


def test_a_slow_iterator_holds_a_file_back_and_loses_nothing() -> None:
    net = FakeNet()
    with stream(net, pictures(30)) as running:
        first = next(running)
        until(lambda: len(net.asked) >= 3)
        assert len(net.asked) <= 6
        assert [first.frame_id, *(result.frame_id for result in running)] == list(range(30))


def test_a_slow_sink_holds_a_file_back_and_loses_nothing() -> None:
    gate = threading.Event()

    class SlowSink(CollectingSink):
        def write(self, item: StreamedFrame) -> None:
            gate.wait(10)
            super().write(item)

    net, sink = FakeNet(), SlowSink()
    with stream(net, pictures(40), sinks=[sink]) as running:
        iterator = running.frames()
        for _ in range(8):
            next(iterator)
        assert len(net.asked) < 16
        gate.set()
        for _ in iterator:
            pass
    assert len(sink.items) == 40


def test_of_a_live_source_only_the_newest_frame_is_answered() -> None:
    camera = FakeCamera()
    gate, busy = threading.Event(), threading.Event()

    def respond(frame: Frame) -> Result:
        busy.set()
        gate.wait(10)
        return answer_to(frame)

    net, events = FakeNet(respond), list[StreamEvent]()
    with (
        stream(net, camera, max_age_ms=60_000, hang_ms=60_000, on_event=events.append) as running,
        Pump(camera, 0.002),
    ):
        assert busy.wait(10)
        until(lambda: running.summary().drops.get("superseded", 0) > 20)
        gate.set()
        until(lambda: len(net.asked) > 1)
        result = next(running)
    assert net.asked[1] - net.asked[0] > 15
    assert result.drops >= 20
    assert events[0].kind is EventKind.STARTED
    assert "the newest frame is answered" in events[0].text


def test_safety_runs_although_nobody_iterates() -> None:
    camera, sink = FakeCamera(), CollectingSink()
    with stream(FakeNet(), camera, sinks=[sink]) as running:
        with Pump(camera):
            until(lambda: any(item.result is not None for item in sink.items))
        until(lambda: sink.items[-1].signal is Signal.LOST)
        last = sink.items[-1]
        assert last.frame is None
        assert last.withdrawn is Withdrawal.SIGNAL
        assert running.summary().answers > 0


def test_a_lost_camera_is_opened_again_and_recovers_by_good_frames() -> None:
    camera, sink = FakeCamera(), CollectingSink()
    events: list[StreamEvent] = []
    with stream(FakeNet(), camera, sinks=[sink], on_event=events.append) as running, Pump(camera) as pump:
        until(lambda: running.summary().answers > 3)
        pump.pause()
        camera.refuse = 2
        camera.unplug()
        until(lambda: any(item.signal is Signal.LOST for item in sink.items))
        until(lambda: camera.opened == 2)
        assert not any(event.kind is EventKind.RECONNECT for event in events), "no picture, not back"
        before = running.summary().answers
        pump.go_on()
        until(lambda: running.summary().answers > before)
        assert sum(event.kind is EventKind.RECONNECT for event in events) == 1
    assert camera.opened == 2
    signals = [signal for signal, _ in itertools.groupby(item.signal for item in sink.items)]
    lost_at = signals.index(Signal.LOST)
    assert signals[lost_at : lost_at + 3] == [Signal.LOST, Signal.RECOVERING, Signal.LIVE]
    recovering = [item for item in sink.items if item.signal is Signal.RECOVERING]
    assert all(item.result is None for item in recovering)


def test_a_camera_that_stays_away_ends_the_stream_with_a_source_error() -> None:
    camera = FakeCamera()
    with stream(FakeNet(), camera, reconnect_s=0.3) as running:
        camera.refuse = 1_000_000
        camera.unplug()
        with pytest.raises(SourceError, match=r"PE-SRC-008: the cable was pulled") as caught:
            running.wait()
    assert caught.value.exit_status == 5
    assert camera.closed >= 2


@pytest.mark.parametrize("way", ["is silent", "falls out again"])
def test_a_camera_that_can_be_opened_and_sends_nothing_is_given_up(way: str) -> None:
    """It lets everybody in: opening it says nothing. Only a picture begins the time anew."""

    class Empty(FakeCamera):
        def read(self) -> Frame | None:
            frame = super().read()
            if frame is None and self.opened > 1 and way == "falls out again":
                raise lost("the camera sent nothing")
            return frame

    camera, events = Empty(), list[StreamEvent]()
    with stream(FakeNet(), camera, reconnect_s=0.5, on_event=events.append) as running:
        camera.unplug()
        with pytest.raises(SourceError, match="PE-SRC-008") as caught:
            running.wait()
    assert caught.value.exit_status == 5
    assert camera.opened > 1
    assert not any(event.kind is EventKind.RECONNECT for event in events)
    lost_lines = [event for event in events if event.kind is EventKind.SIGNAL and "LOST" in event.text]
    assert len(lost_lines) == 1, "one loss, however often it was opened"


def test_a_live_source_that_ends_in_order_is_no_error() -> None:
    camera = FakeCamera()
    with stream(FakeNet(), camera) as running, Pump(camera):
        until(lambda: running.summary().answers > 0)
        camera.end()
        assert running.wait().live


def test_a_source_that_is_not_there_is_said_at_once() -> None:
    with pytest.raises(SourceError, match="PE-SRC-002"):
        stream(FakeNet(), "missing.mp4")


def test_a_broken_picture_ends_a_folder_after_the_good_ones() -> None:
    def frames() -> Iterator[np.ndarray]:
        yield from pictures(3)
        raise OSError("torn")

    seen: list[int] = []
    with stream(FakeNet(), frames()) as running, pytest.raises(SourceError, match="PE-SRC-009"):
        for result in running:
            seen.append(result.frame_id)
    assert seen == [0, 1, 2]


def test_what_is_no_picture_is_a_source_error() -> None:
    with (
        stream(FakeNet(), ["not a picture"]) as running,  # type: ignore[list-item]
        pytest.raises(SourceError, match=r"PE-SRC-009: .*str"),
    ):
        running.wait()


def test_a_file_that_does_not_fit_the_network_is_told_by_its_own_error() -> None:
    def respond(frame: Frame) -> Result:
        raise UsageError("PE-FRAME-002", found="16 voltages", expected="208", next_step="check the protocol")

    with stream(FakeNet(respond), pictures(5)) as running, pytest.raises(UsageError, match="PE-FRAME-002"):
        running.wait()


@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("device lost"), "device lost"), (MemoryError(), "out of memory")],
)
def test_an_engine_that_fails_ends_in_the_safe_state_and_the_sinks_say_so(error: Exception, reason: str) -> None:
    def respond(frame: Frame) -> Result:
        raise error

    camera, sink = FakeCamera(), CollectingSink()
    events: list[StreamEvent] = []
    with (
        stream(FakeNet(respond), camera, sinks=[sink], on_event=events.append) as running,
        Pump(camera),
        pytest.raises(SafeState, match="PE-STREAM-001") as caught,
    ):
        running.wait()
    assert caught.value.exit_status == 7
    assert reason in caught.value.found
    assert sum(event.kind is EventKind.SAFE_STATE for event in events) == 1
    assert any(item.withdrawn is Withdrawal.SAFE_STATE for item in sink.items)
    assert all(item.result is None for item in sink.items)
    assert sink.is_closed
    assert running.summary().safe_state


def test_a_hung_engine_ends_in_the_safe_state() -> None:
    gate = threading.Event()

    def respond(frame: Frame) -> Result:
        gate.wait(30)
        return answer_to(frame)

    camera, sink = FakeCamera(), CollectingSink()
    with stream(FakeNet(respond), camera, sinks=[sink], hang_ms=100) as running, Pump(camera):
        with pytest.raises(SafeState, match="has not come back"):
            running.wait()
        gate.set()
        until(lambda: not any("worker" in name for name in stream_threads()))


def test_pictures_go_on_in_the_safe_state_where_that_is_asked_for() -> None:
    def respond(frame: Frame) -> Result:
        raise MemoryError

    camera, sink = FakeCamera(), CollectingSink()
    with stream(FakeNet(respond), camera, sinks=[sink], keep_passing=True) as running, Pump(camera):
        until(lambda: bool(running.summary().safe_state))
        before = running.summary().pictures
        until(lambda: running.summary().pictures > before + 10)
        running.stop()
        with pytest.raises(SafeState, match="out of memory"):
            running.wait()
    pictures_passed = [item for item in sink.items[-10:] if item.frame is not None]
    assert pictures_passed
    assert all(item.withdrawn is Withdrawal.SAFE_STATE for item in pictures_passed)


@pytest.mark.parametrize("when", ["write", "close"])
def test_a_sink_that_fails_ends_in_the_safe_state(when: str) -> None:
    class BrokenSink(CollectingSink):
        def write(self, item: StreamedFrame) -> None:
            if when == "write":
                raise OSError(28, "No space left on device")

        def close(self) -> None:
            if when == "close":
                raise OSError(28, "No space left on device")

    healthy = CollectingSink()
    with (
        stream(FakeNet(), pictures(500 if when == "write" else 5), sinks=[BrokenSink(), healthy]) as running,
        pytest.raises(SafeState, match="No space left on device"),
    ):
        running.wait()
    assert healthy.is_closed


def test_a_sink_that_cannot_be_opened_is_said_before_anything_starts() -> None:
    class NoSink(CollectingSink):
        def open(self, info: StreamInfo) -> None:
            raise UsageError("PE-SINK-001", found="a folder", expected="a file", next_step="name a file")

    camera, first = FakeCamera(), CollectingSink()
    with pytest.raises(UsageError, match="PE-SINK-001"):
        stream(FakeNet(), camera, sinks=[first, NoSink()])
    assert first.is_closed
    assert camera.closed == 1


def test_a_slow_sink_never_stalls_a_live_stream_and_its_losses_are_counted() -> None:
    gate = threading.Event()

    class SlowSink(CollectingSink):
        name = "slow sink"

        def write(self, item: StreamedFrame) -> None:
            gate.wait(30)
            super().write(item)

    camera, slow, quick = FakeCamera(), SlowSink(), CollectingSink()
    with stream(FakeNet(), camera, sinks=[slow, quick]) as running, Pump(camera, 0.003):
        until(lambda: running.summary().sink_drops["slow sink"] > 10)
        assert len(quick.items) > 40
        gate.set()
    assert running.summary().sink_drops["collecting sink"] == 0
    assert slow.items[-1].at_ns == quick.items[-1].at_ns


def test_a_thread_that_dies_of_a_bug_ends_in_the_safe_state_with_its_cause() -> None:
    class BuggyCamera(FakeCamera):
        def read(self) -> Frame | None:
            raise ZeroDivisionError("a bug")

    with (
        stream(FakeNet(), BuggyCamera()) as running,
        pytest.raises(SafeState, match=r"the grabber died of ZeroDivisionError: a bug") as caught,
    ):
        running.wait()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_worker_that_ends_in_order_while_the_watchdog_looks_is_no_dead_thread() -> None:
    """On a loaded machine the watchdog may be held up between its two looks; here its clock holds it."""
    held, worker_gone = threading.Event(), threading.Event()

    def clock() -> int:
        if threading.current_thread().name == "physedge-watchdog" and not held.is_set():
            held.set()
            assert worker_gone.wait(10)
        return time.monotonic_ns()

    class BusyCamera(FakeCamera):
        def read(self) -> Frame | None:
            until(lambda: "physedge-watchdog" not in stream_threads())
            return None

    with stream(FakeNet(), BusyCamera(), clock=clock) as running:
        assert held.wait(10)
        running.stop()
        until(lambda: "physedge-worker" not in stream_threads())
        worker_gone.set()
    assert running.summary().safe_state == ""


def test_the_age_is_counted_to_the_moment_of_handing_out_and_old_answers_are_kept_back() -> None:
    source = PushSource()
    net, sink = FakeNet(), CollectingSink()
    with stream(net, source, sinks=[sink], max_age_ms=150) as running:
        for number in range(6):
            source.push(picture(number))
            until(lambda number=number: sum(item.frame is not None for item in sink.items) > number)
        shown = [item for item in sink.items if item.result is not None]
        assert shown
        captured_ns = shown[-1].captured_ns
        until(lambda: time.monotonic_ns() - captured_ns > 160_000_000)
        source.end()
        assert list(running) == []


def test_a_firmware_loop_pushes_frames_and_polls_results_without_being_held_up() -> None:
    source = PushSource()
    answered: list[int] = []
    with stream(FakeNet(), source, max_age_ms=5_000) as running:
        assert running.poll() is None
        for number in range(20):
            source.push(picture(number))
            item = running.poll(timeout_s=10)
            assert item is not None
            if item.result is not None:
                answered.append(item.result.frame_id)
        source.end()
        until(lambda: running.poll() is None and stream_threads() == [])
    assert answered[-1] == 19
    assert len(answered) >= 10


def test_stop_ends_a_stream_from_another_thread() -> None:
    camera = FakeCamera()
    with stream(FakeNet(), camera) as running, Pump(camera):
        threading.Thread(target=running.stop).start()
        summary = running.wait()
    assert summary.safe_state == ""


def test_a_duration_ends_a_live_stream() -> None:
    camera = FakeCamera()
    with stream(FakeNet(), camera, duration_s=0.2) as running, Pump(camera):
        assert running.wait().pictures > 0


def test_an_interrupt_in_the_iterating_thread_still_finishes_the_sinks() -> None:
    sink = CollectingSink()
    with pytest.raises(KeyboardInterrupt), stream(FakeNet(), pictures(100), sinks=[sink]) as running:
        for result in running:
            if result.frame_id == 5:
                raise KeyboardInterrupt
    assert sink.is_closed
    assert len(sink.items) >= 5


@pytest.mark.parametrize(
    ("options", "identifier"),
    [
        ({"drop": "newest"}, "PE-STREAM-002"),
        ({"max_age_ms": 0}, "PE-STREAM-003"),
        ({"frames": -1}, "PE-STREAM-003"),
        ({"deadline_ms": float("nan")}, "PE-STREAM-003"),
    ],
)
def test_options_out_of_range_are_usage_errors(options: dict[str, object], identifier: str) -> None:
    with pytest.raises(PhysedgeError, match=identifier):
        stream(FakeNet(), pictures(1), **options)  # type: ignore[arg-type]


def test_a_file_under_drop_latest_is_played_at_its_own_speed() -> None:
    running: Stream
    with stream(FakeNet(), pictures(12), drop="latest") as running:
        assert running.info.live
        results = list(running)
    assert results
    assert isinstance(results[0], Segmentation)


def test_what_systemd_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    import socket

    address = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        monkeypatch.setenv("WATCHDOG_USEC", "40000")
        camera = FakeCamera()
        with stream(FakeNet(), camera):
            told = [manager.recv(100) for _ in range(3)]
        while told[-1] != b"STOPPING=1":
            told.append(manager.recv(100))
    assert told[0] == b"READY=1"
    assert told.count(b"WATCHDOG=1") >= 2
