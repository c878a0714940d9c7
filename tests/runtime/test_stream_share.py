"""Several streams on one engine: fair, in turn, and one's fault is not the other's."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from stream_fakes import FakeNet, ScriptedTime, answer_to, picture, stream_threads

from physedge_runtime.errors import SafeState
from physedge_runtime.frame import Frame
from physedge_runtime.results import Result
from physedge_runtime.sinks.base import CollectingSink
from physedge_runtime.sources import PushSource
from physedge_runtime.stream.loop import stream
from physedge_runtime.stream.share import SharedNet


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        threading.Event().wait(0.002)


def test_the_engine_is_asked_by_one_at_a_time_and_everybody_gets_a_turn() -> None:
    inside = threading.Lock()
    asked: list[str] = []

    def respond(frame: Frame) -> Result:
        assert inside.acquire(blocking=False), "two at once"
        asked.append(frame.name)
        threading.Event().wait(0.002)
        inside.release()
        return answer_to(frame)

    shared = SharedNet(FakeNet(respond))
    start = threading.Barrier(4)

    def ask(name: str) -> None:
        start.wait()
        for number in range(30):
            shared.answer(Frame(pixels=picture(number), frame_id=number, name=name))

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(asked) == dict.fromkeys("abcd", 30)
    in_turn = Counter(asked[:80])  # before the first has finished
    assert max(in_turn.values()) - min(in_turn.values()) <= 3


def test_two_streams_share_a_network_and_end_on_their_own() -> None:
    shared = SharedNet(FakeNet())
    assert shared.engine == "fake 1 0123456789ab"
    pictures = [picture(number) for number in range(30)]
    with stream(shared, pictures) as left, stream(shared, pictures[:10]) as right:
        assert right.wait().answers == 10
        assert left.wait().answers == 30
    assert stream_threads() == []


def test_an_error_of_one_lets_the_other_go_on() -> None:
    def respond(frame: Frame) -> Result:
        if frame.pixels.shape[0] == 16:
            raise RuntimeError("no")
        return answer_to(frame)

    shared = SharedNet(FakeNet(respond))
    for _ in range(3):
        try:
            shared.answer(Frame(pixels=np.zeros((16, 16, 3), np.uint8)))
        except RuntimeError:
            assert shared.answer(Frame(pixels=picture(1), frame_id=5)).frame_id == 5


class HeldNet(FakeNet):
    """Answers pictures of 16 rows when it is let, others at once."""

    def __init__(self) -> None:
        self.entered, self.release = threading.Event(), threading.Event()
        super().__init__(self._respond)

    def _respond(self, frame: Frame) -> Result:
        if frame.pixels.shape[0] == 16:
            self.entered.set()
            assert self.release.wait(20)
        return answer_to(frame)


def test_the_newest_frame_is_taken_when_the_turn_comes() -> None:
    net, source, sink = HeldNet(), PushSource(), CollectingSink()
    shared = SharedNet(net)
    asking = threading.Thread(target=shared.answer, args=(Frame(pixels=picture(0, (16, 16))),))
    asking.start()
    assert net.entered.wait(10)
    with stream(shared, source, max_age_ms=60_000, sinks=[sink]) as waiting:
        for number in range(12):
            source.push(picture(number))
            until(lambda number=number: waiting.summary().captured > number)
        assert net.asked == [0]
        net.release.set()
        source.end()
        waiting.wait()
    asking.join()
    answered = [item.frame.frame_id for item in sink.items if item.result is not None and item.frame is not None]
    assert answered == [11]
    assert net.asked == [0, 11]


def test_an_engine_that_hangs_over_one_streams_frame_ends_the_other_in_its_safe_state_too() -> None:
    net, clock, source = HeldNet(), ScriptedTime(), PushSource()
    shared = SharedNet(net, clock=clock)
    asking = threading.Thread(target=shared.answer, args=(Frame(pixels=picture(0, (16, 16))),))
    asking.start()
    assert net.entered.wait(10)
    with (
        stream(shared, source, clock=clock) as waiting,
        pytest.raises(SafeState, match="from another stream's frame"),
    ):
        while True:  # by steps that a watchdog has, or it would be the process that stood still
            clock.advance_ms(100)
            waiting.poll()
            threading.Event().wait(0.005)
    net.release.set()
    asking.join()


def test_waiting_for_many_others_is_no_hang() -> None:
    """Each inference is short, the wait for the turn is longer than an engine may take."""
    net, clock, source, sink = HeldNet(), ScriptedTime(), PushSource(), CollectingSink()
    shared = SharedNet(net, clock=clock)
    with stream(shared, source, clock=clock, sinks=[sink], max_age_ms=1000) as waiting:
        for _ in range(3):
            net.entered.clear()
            net.release.clear()
            asking = threading.Thread(target=shared.answer, args=(Frame(pixels=picture(0, (16, 16))),))
            asking.start()
            assert net.entered.wait(10)
            for _ in range(8):
                captured = waiting.summary().captured
                source.push(Frame(pixels=picture(captured), frame_id=captured, captured_ns=clock()))
                until(lambda captured=captured: waiting.summary().captured > captured)
                clock.advance_ms(300)
            net.release.set()
            asking.join()
        assert waiting.summary().safe_state == ""


def test_a_stream_that_waits_for_its_turn_ends_when_it_is_closed() -> None:
    net, source = HeldNet(), PushSource()
    shared = SharedNet(net)
    asking = threading.Thread(target=shared.answer, args=(Frame(pixels=picture(0, (16, 16))),))
    asking.start()
    assert net.entered.wait(10)
    with stream(shared, source) as waiting:
        for number in range(8):
            source.push(picture(number))
            until(lambda number=number: waiting.summary().captured > number)
    assert stream_threads() == []
    net.release.set()
    asking.join()
    assert shared.answer(Frame(pixels=picture(1), frame_id=7)).frame_id == 7
