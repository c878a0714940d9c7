"""What a network answers: one frozen class a task, with a common head."""

from __future__ import annotations

import enum
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


class Signal(enum.StrEnum):
    """Health of the picture, not of the answer."""

    LIVE = "LIVE"
    STALE = "STALE"
    FROZEN = "FROZEN"
    BLACK = "BLACK"
    SATURATED = "SATURATED"
    LOST = "LOST"
    RECOVERING = "RECOVERING"


class TrustState(enum.StrEnum):
    """How far an answer may be believed."""

    OK = "ok"
    DOUBTFUL = "doubtful"
    VOID = "void"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far an answer may be believed, and the reason by name.

    Attributes:
        state: `ok`, `doubtful` or `void`; a void answer must not be shown.
        reason: Names of the signals that decided, empty for `ok`.
        signals: Every signal's value, by name.
        places: Of the signals that decided and have several values, as one for each electrode, which one it was,
            counted from 1.
    """

    state: TrustState = TrustState.OK
    reason: str = ""
    signals: dict[str, float] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """Where the time of one frame went, in milliseconds of the monotonic clock.

    Attributes:
        queue_ms: From capture to the start of work on the frame.
        preprocess_ms: Colour, crop and resize.
        inference_ms: The engine alone.
        postprocess_ms: From the engine's outputs to the result.
    """

    queue_ms: float = 0.0
    preprocess_ms: float = 0.0
    inference_ms: float = 0.0
    postprocess_ms: float = 0.0

    @property
    def total_ms(self) -> float:
        """The sum of all stages."""
        return self.queue_ms + self.preprocess_ms + self.inference_ms + self.postprocess_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The head that every answer carries.

    Attributes:
        frame_id: Sequence number of the frame that was answered.
        captured_ns: Monotonic clock at its capture, nanoseconds.
        source_stamp_ns: The source's own time of the frame, nanoseconds; None where it has none.
        position_ns: Of the frame in its clip, nanoseconds from the first picture on; None where there is no clip.
        age_ms: From capture to the moment the result was handed out.
        stages: Where the time went.
        drops: Frames left out so far in this stream, for whatever cause.
        signal: Health of the picture.
        trust: Trust in the answer.
        engine: Fingerprint of the engine that answered.
        part: Which part of the picture was looked at, and what was not (`Frame.part`); empty where it is all of it.
        bundle_trust: Who vouches for the bundle: `unsigned`, `signature not checked`, or the key that signed it.
    """

    frame_id: int
    captured_ns: int
    age_ms: float
    stages: StageTimes
    drops: int = 0
    source_stamp_ns: int | None = None
    position_ns: int | None = None
    signal: Signal = Signal.LIVE
    trust: Trust = field(default_factory=Trust)
    engine: str = ""
    part: str = ""
    bundle_trust: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation(Result):
    """Which pixel belongs to what.

    Attributes:
        mask: uint8 (height, width) on the network's grid: 0 background, else the class index.
        probability: float32 (class, height, width) on the network's grid, 0 to 1; one plane (the foreground's) for
        two classes.
        classes: Names, `classes[0]` is the background.
        frame_shape: (height, width) of the raw frame in pixels; `physedge_runtime.frame_mask.labels_on_frame` gives the
            mask there.
        threshold: Of one plane.
        kept: What was computed from it already, by `labels_on_frame`.
    """

    mask: NDArray[np.uint8]
    probability: NDArray[np.float32]
    classes: tuple[str, ...]
    frame_shape: tuple[int, int]
    threshold: float = 0.5
    kept: dict[Hashable, NDArray[np.uint8]] = field(default_factory=dict, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification(Result):
    """Which class the frame belongs to.

    Attributes:
        label: Name of the most probable class.
        probability: float32 (class,), sums to 1.
        classes: Names in the order of `probability`.
        maps: Further outputs by name, for example `density` float32 (time, height, width).
        parameters: Scalar outputs by name with the unit in the name.
        note: One sentence about what the parameters are, and are not; empty where there is nothing to say.
        times_days: Of the planes of `density`; empty without one.
    """

    label: str
    probability: NDArray[np.float32]
    classes: tuple[str, ...]
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    parameters: dict[str, float] = field(default_factory=dict)
    note: str = ""
    times_days: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction(Result):
    """An image computed from measurements.

    Attributes:
        image: float32 (height, width), in `unit`.
        unit: Unit of the image's values.
        maps: Further outputs by name, for example `linear_image`.
    """

    image: NDArray[np.float32]
    unit: str
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict)
