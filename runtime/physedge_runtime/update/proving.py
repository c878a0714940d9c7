"""Proving a release by live answers: a golden frame that comes out says nothing yet about a patient's pictures."""

from __future__ import annotations

from collections.abc import Callable

from physedge_runtime.errors import PhysedgeError
from physedge_runtime.results import Signal
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

GOOD_ANSWERS = 50
"""Live answers that were shown, and"""
GOOD_SECONDS = 10.0
"""the time from the first of them to the last: then a release is proven."""

_NS_PER_S = 1_000_000_000


class ProvingSink:
    """Counts the answers of a live source that may be shown, and says when there are enough of them.

    It never fails: what cannot be recorded now is tried again with the next answer.

    Args:
        good: Called once, with enough answers; records the proof.
        answers: That are enough; `GOOD_ANSWERS` where None.
        seconds: That they have to span; `GOOD_SECONDS` where None.

    Attributes:
        is_proven: Whether `good` was called and came back.
    """

    name = "proof of the release"

    def __init__(self, good: Callable[[], object], *, answers: int | None = None, seconds: float | None = None) -> None:
        self._good = good
        self._needed = GOOD_ANSWERS if answers is None else answers
        self._span_ns = int((GOOD_SECONDS if seconds is None else seconds) * _NS_PER_S)
        self._live = False
        self._frames = self._answers = 0
        self._first_frame_ns: int | None = None
        self._first_answer_ns: int | None = None
        self._last_frame_ns = 0
        self.is_proven = False

    @property
    def had_its_chance(self) -> bool:
        """Whether so many live pictures came, over such a time, that a good release would be proven by now."""
        if self._first_frame_ns is None:
            return False
        return self._frames >= self._needed and self._last_frame_ns - self._first_frame_ns >= self._span_ns

    def open(self, info: StreamInfo) -> None:
        """Learn whether the source is live; a file proves nothing."""
        self._live = info.live

    def write(self, item: StreamedFrame) -> None:
        """Count one picture, and its answer where it may be shown."""
        if not self._live or self.is_proven or item.frame is None or item.signal is not Signal.LIVE:
            return
        self._frames += 1
        self._first_frame_ns = item.at_ns if self._first_frame_ns is None else self._first_frame_ns
        self._last_frame_ns = item.at_ns
        if item.result is None:
            return
        self._answers += 1
        self._first_answer_ns = item.at_ns if self._first_answer_ns is None else self._first_answer_ns
        if self._answers >= self._needed and item.at_ns - self._first_answer_ns >= self._span_ns:
            self._prove()

    def close(self) -> None:
        """Nothing is to be finished."""

    def _prove(self) -> None:
        try:
            self._good()
        except (PhysedgeError, OSError):
            return
        self.is_proven = True
