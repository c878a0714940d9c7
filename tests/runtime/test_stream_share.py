"""Several streams on one engine: fair, in turn, and one's fault is not the other's."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
from stream_fakes import FakeNet, answer_to, picture, stream_threads

from physedge_runtime.frame import Frame
from physedge_runtime.results import Result
from physedge_runtime.stream.loop import stream
from physedge_runtime.stream.share import SharedNet


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
