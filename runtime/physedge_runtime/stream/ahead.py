"""Frames of a file are brought to the network's grid by the grabber, while the engine works on the frame before."""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from physedge_runtime.frame import Frame
from physedge_runtime.results import Result


@runtime_checkable
class Preparing(Protocol):
    """A network that can say before its turn what it makes of a frame; `physedge_runtime.Net` is one."""

    def prepared(self, frame: Frame) -> Any:
        """What `answer` takes beside the frame; None where there is nothing to prepare."""
        ...

    def answer(self, frame: Frame, ahead: Any = None) -> Result:
        """Answer one frame."""
        ...


class AheadQueue:
    """What was prepared, in the order of the frames; for a stream that drops none of them.

    Of a live source nothing is prepared ahead: much of it would be thrown away, and no answer be younger for it.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[NDArray[Any], Any]] = deque()

    def put(self, frame: Frame, ahead: Any) -> None:
        """Keep it until the frame is taken; every frame has its place, also one of which nothing was prepared."""
        self._waiting.append((frame.pixels, ahead))

    def take(self, frame: Frame) -> Any:
        """What was prepared of a frame; None where nothing was. What belongs to frames before it is forgotten."""
        while self._waiting:
            pixels, ahead = self._waiting.popleft()
            if pixels is frame.pixels:
                return ahead
        return None
