"""A network without an engine and a source without a device, both steered by the test."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import Frame
from physedge_runtime.results import Result, Segmentation, StageTimes
from physedge_runtime.sources.base import SignalLost, SourceEnded, SourceInfo

PERIOD_NS = 33_333_333


def picture(number: int, shape: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    """A noisy picture that differs from its neighbours and carries its number in the first pixels."""
    pixels = np.random.default_rng(number).integers(60, 190, (*shape, 3), np.uint8)
    pixels[0, :4, 0] = [number >> shift & 255 for shift in (24, 16, 8, 0)]
    return pixels


def answer_to(frame: Frame, *, value: float = 0.9) -> Segmentation:
    """A mask in the middle of the grid."""
    probability = np.zeros((1, 24, 32), np.float32)
    probability[0, 8:16, 10:22] = value
    return Segmentation(
        frame_id=frame.frame_id,
        captured_ns=frame.captured_ns,
        age_ms=0.0,
        stages=StageTimes(queue_ms=0.1, preprocess_ms=0.2, inference_ms=3.0, postprocess_ms=0.1),
        engine="fake 1 0123456789ab",
        mask=(probability[0] >= 0.5).astype(np.uint8),
        probability=probability,
        classes=("background", "lesion"),
        frame_shape=(frame.pixels.shape[0], frame.pixels.shape[1]),
    )


@dataclass
class FakeNet:
    """Answers by a function of the frame; counts."""

    respond: Callable[[Frame], Result] = answer_to
    engine: str = "fake 1 0123456789ab"
    asked: list[int] = field(default_factory=list)

    def answer(self, frame: Frame) -> Result:
        self.asked.append(frame.frame_id)
        return self.respond(frame)


class FakeCamera:
    """A live source that delivers what the test puts in: a frame, an exception to raise, or nothing."""

    def __init__(self, *, period_ns: int | None = PERIOD_NS) -> None:
        self.info = SourceInfo(name="fake camera", live=True, period_ns=period_ns)
        self.opened = 0
        self.closed = 0
        self.refuse = 0
        self.items: queue.Queue[Frame | BaseException] = queue.Queue()
        self.idle = threading.Event()

    def open(self) -> None:
        if self.refuse:
            self.refuse -= 1
            raise lost("still away")
        self.opened += 1

    def read(self) -> Frame | None:
        try:
            item = self.items.get(timeout=0.02)
        except queue.Empty:
            self.idle.set()
            return None
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        self.closed += 1

    def unplug(self) -> None:
        self.items.put(lost("the cable was pulled"))

    def end(self) -> None:
        self.items.put(SourceEnded())


def lost(what: str) -> SignalLost:
    return SignalLost("PE-SRC-008", found=what, expected="a camera", next_step="plug it in")


class ScriptedTime:
    """A clock that a test moves by hand, shared by the stream's threads."""

    def __init__(self) -> None:
        self._now_ns = 1_000_000_000
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            return self._now_ns

    def advance_ms(self, by_ms: float) -> None:
        with self._lock:
            self._now_ns += round(by_ms * 1e6)


def stream_threads() -> list[str]:
    """Names of the stream's threads that are alive."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("physedge-")]
