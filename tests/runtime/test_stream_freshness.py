"""An answer that waited to be taken is as old as it is: its age is counted to the moment of handing out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stream_fakes import FakeCamera, FakeNet, answer_to, picture

from physedge_runtime.frame import Frame
from physedge_runtime.results import Signal
from physedge_runtime.sources.pushed import IteratorSource
from physedge_runtime.stream.clock import NS_PER_MS, ManualClock
from physedge_runtime.stream.options import StreamOptions
from physedge_runtime.stream.shell import Shell
from physedge_runtime.stream.streamed import StreamedFrame


def shown_at(captured_ns: int) -> StreamedFrame:
    frame = Frame(pixels=picture(1), frame_id=1, captured_ns=captured_ns)
    return StreamedFrame(
        frame=frame,
        result=answer_to(frame),
        signal=Signal.LIVE,
        reason="",
        captured_ns=captured_ns,
        at_ns=captured_ns,
        age_ms=0.0,
        engine="fake",
        drops={},
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(10**9)


@pytest.fixture(params=[True, False], ids=["live", "file"])
def shell(request: pytest.FixtureRequest, clock: ManualClock) -> Iterator[Shell]:
    source = FakeCamera() if request.param else IteratorSource(picture(number) for number in range(2))
    made = Shell(FakeNet(), source, StreamOptions(max_age_ms=300), (), None, clock)
    made.start()
    yield made
    made.close()


def test_the_age_of_a_live_answer_is_counted_to_now_and_too_old_is_nothing(shell: Shell, clock: ManualClock) -> None:
    item = shown_at(clock())
    clock.advance(299 * NS_PER_MS)
    fresh = shell.fresh_result(item)
    assert fresh is not None
    if not shell.info.live:
        assert fresh is item.result
        return
    assert fresh.age_ms == 299
    clock.advance(2 * NS_PER_MS)
    assert shell.fresh_result(item) is None
