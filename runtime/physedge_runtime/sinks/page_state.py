"""What a page shows now: the newest thing that left the stream, its number, its picture, and how the stream ended."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from physedge_runtime.stream.health import OPERATOR_FREEZE
from physedge_runtime.stream.streamed import StreamedFrame

_RATE_WINDOW_S = 2.0

Draw = Callable[[StreamedFrame], bytes]


class PageState:
    """Written by the stream, read by as many browsers as look on.

    Args:
        clock: Monotonic seconds.

    Attributes:
        run: Names this run of the program: a page that meets another name knows that numbers start anew.
        number: Of the newest thing, counted from 1.
        has_ended: Nothing more will come.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.run = secrets.token_hex(8)
        self.number = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._drawing = threading.Lock()
        self._item: StreamedFrame | None = None
        self._picture: StreamedFrame | None = None
        self._described: dict[str, Any] = {}
        self._answered_s: deque[float] = deque(maxlen=512)
        self._pictures = self._answers = 0
        self.has_ended = False
        self._jpegs: dict[bool, tuple[int, bytes]] = {}

    def put(self, item: StreamedFrame, described: dict[str, Any]) -> None:
        """Take in what left the stream, and the same as plain values."""
        with self._lock:
            self.number += 1
            self._item = item
            if item.frame is not None:
                self._pictures += 1
                self._picture = item
            if item.result is not None:
                self._answers += 1
                self._answered_s.append(self._clock())
            self._described = {**described, "operator_freeze": item.reason == OPERATOR_FREEZE}

    def end(self) -> None:
        """The stream is over; pages are told."""
        with self._lock:
            self.has_ended = True

    def view(self, draw: Draw, plain: bool) -> tuple[dict[str, Any], bytes]:
        """The state and the picture it belongs to, as JPEG; drawn once, however many browsers look on.

        `plain` leaves the answer off. Before anything came the state has no `signal`, and the picture is empty.
        """
        with self._drawing:
            with self._lock:
                number, item, picture, state = self.number, self._item, self._picture, self._state()
            if item is None:
                return state, b""
            cached_number, jpeg = self._jpegs.get(plain, (0, b""))
            if cached_number != number:
                if item.frame is None and picture is not None:  # the overlay need not have seen the last picture
                    item = replace(item, frame=picture.frame)
                jpeg = draw(replace(item, result=None) if plain else item)
                self._jpegs[plain] = (number, jpeg)
            return state, jpeg

    def _state(self) -> dict[str, Any]:
        """As of now: a rate of answers that stopped coming falls to 0."""
        since_s = self._clock() - _RATE_WINDOW_S
        while self._answered_s and self._answered_s[0] < since_s:
            self._answered_s.popleft()
        return {
            **self._described,
            "run": self.run,
            "number": self.number,
            "pictures": self._pictures,
            "answers": self._answers,
            "answers_per_s": len(self._answered_s) / _RATE_WINDOW_S,
            "ended": self.has_ended,
        }
