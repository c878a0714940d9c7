"""A moving bright spot in speckle, made of numpy alone: a source that is always there."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources.base import SourceInfo

SYNTHETIC = "synthetic:"
_NANOSECONDS_PER_SECOND = 1_000_000_000
_NOISE_FIELDS = 8
_TURN_S = 6.0


class SyntheticSource:
    """A lesion-like spot on a Lissajous path over speckled tissue.

    No two neighbouring frames are alike.

    Args:
        height: Pixels.
        width: Pixels.
        rate_hz: Frames a second.
        seed: Of the speckle.
        clock: Monotonic nanoseconds.
        sleep: Waits that many seconds; tests hand in one that does not.
    """

    def __init__(
        self,
        *,
        height: int = 480,
        width: int = 640,
        rate_hz: float = 30.0,
        seed: int = 0,
        clock: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._shape = (height, width)
        self._period_ns = round(_NANOSECONDS_PER_SECOND / rate_hz)
        self._clock, self._sleep = clock, sleep
        self._tissue = _tissue(height, width, np.random.default_rng(seed))
        self._next_id = 0
        self._due_ns = 0

    @property
    def info(self) -> SourceInfo:
        """Live, of a known period."""
        return SourceInfo(name="synthetic scene", live=True, period_ns=self._period_ns)

    def open(self) -> None:
        """The first frame is due now."""
        self._due_ns = self._clock()

    def read(self) -> Frame | None:
        """The next frame at its time; one that was due while nobody read is skipped, as a camera does."""
        wait_ns = self._due_ns - self._clock()
        if wait_ns > 0:
            self._sleep(wait_ns / _NANOSECONDS_PER_SECOND)
        captured_ns = self._clock()
        late = max(0, captured_ns - self._due_ns) // self._period_ns
        frame_id = self._next_id + late
        self._next_id = frame_id + 1
        self._due_ns += (late + 1) * self._period_ns
        return Frame(
            pixels=self.picture(frame_id),
            frame_id=frame_id,
            captured_ns=captured_ns,
            colour=Colour.RGB,
            source_stamp_ns=frame_id * self._period_ns,
        )

    def close(self) -> None:
        """Nothing is held."""

    def picture(self, frame_id: int) -> NDArray[np.uint8]:
        """uint8 (height, width, 3) of one moment."""
        height, width = self._shape
        angle = 2 * np.pi * frame_id * self._period_ns / (_TURN_S * _NANOSECONDS_PER_SECOND)
        centre_y, centre_x = height * (0.5 + 0.2 * np.sin(2 * angle)), width * (0.5 + 0.28 * np.cos(angle))
        radius = 0.16 * min(height, width) * (1 + 0.1 * np.sin(3 * angle))
        rows = (np.arange(height, dtype=np.float32)[:, np.newaxis] - np.float32(centre_y)) / np.float32(radius)
        columns = (np.arange(width, dtype=np.float32) - np.float32(centre_x)) / np.float32(1.3 * radius)
        spot = np.clip((1.15 - rows**2 - columns**2) * 4, 0, 1)
        luma = self._tissue[frame_id % _NOISE_FIELDS] * (1 + np.float32(0.9) * spot)
        luma = np.roll(luma, frame_id // _NOISE_FIELDS % 3, axis=1)
        grey = np.clip(luma, 0, 255).astype(np.uint8)
        return np.ascontiguousarray(np.broadcast_to(grey[:, :, np.newaxis], (height, width, 3)))


def _tissue(height: int, width: int, generator: np.random.Generator) -> list[NDArray[np.float32]]:
    """Speckle is Rayleigh distributed; every field has the same coarse tissue and grain of its own."""
    coarse = generator.random((height // 32 + 2, width // 32 + 2), np.float32)
    coarse = np.kron(coarse, np.ones((32, 32), np.float32))[:height, :width]
    depth = np.linspace(1.0, 0.6, height, dtype=np.float32)[:, np.newaxis]
    base = (40 + 25 * coarse) * depth
    grains = [generator.rayleigh(1.0, (height, width)).astype(np.float32) for _ in range(_NOISE_FIELDS)]
    return [(base * (0.6 + 0.35 * grain)).astype(np.float32) for grain in grains]


def parse_synthetic(text: str, *, clock: Callable[[], int] = time.monotonic_ns) -> SyntheticSource:
    """The source for `synthetic:`, `synthetic:WIDTHxHEIGHT` or `synthetic:WIDTHxHEIGHT@HZ`.

    Raises:
        UsageError: The text says something else (`PE-SRC-007`).
    """
    match = re.fullmatch(r"synthetic:(?:([0-9]{1,4})x([0-9]{1,4}))?(?:@([0-9]{1,3}(?:\.[0-9]+)?))?", text)
    width, height = (int(match[1] or 640), int(match[2] or 480)) if match else (0, 0)
    rate_hz = float(match[3] or 30) if match else 0.0
    if min(width, height) < 16 or rate_hz <= 0:
        raise UsageError(
            "PE-SRC-007",
            found=f"the source '{text}'",
            expected="synthetic:, synthetic:640x480 or synthetic:640x480@30, sides of 16 to 9999 pixels",
            next_step="correct --source",
        )
    return SyntheticSource(height=height, width=width, rate_hz=rate_hz, clock=clock)
