"""What leaves a stream: a picture with its answer, or with the reason why there is none; and what happened."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from physedge_runtime.frame import Frame, FrameSpec, VoltageSpec
from physedge_runtime.results import Result, Signal, StageTimes, Trust

if TYPE_CHECKING:
    from physedge_runtime.spec import SegmentSpec


class Withdrawal(enum.StrEnum):
    """Why a picture goes without its answer, or why the answer on show is taken back."""

    SIGNAL = "signal"  # the picture is not fit to be answered
    LATE = "late"  # the deadline passed before the answer came
    OLD = "old"  # the answer is older than it may be
    VOID = "void"  # the answer's own trust signals forbid it
    NOT_FINITE = "not_finite"  # the answer holds a value that is no number
    ENGINE = "engine"  # the engine failed on this frame
    OTHER_FRAME = "other_frame"  # the answer belongs to another frame
    SAFE_STATE = "safe_state"  # the stream has given up answering


class DropCause(enum.StrEnum):
    """Why a frame was not passed on at all."""

    SUPERSEDED = "superseded"  # a newer one came before the engine was free
    QUEUE_FULL = "queue_full"  # the queue of `--drop oldest` was full
    SOURCE_GAP = "source_gap"  # missing in the source's own numbers
    OVERTAKEN = "overtaken"  # a newer picture had gone out already


class EventKind(enum.StrEnum):
    """What an event is about."""

    STARTED = "started"
    SIGNAL = "signal"
    RECONNECT = "reconnect"
    FORMAT = "format"
    DAMAGE = "damage"
    CLOCK = "clock"
    ENGINE = "engine"
    ANSWERS = "answers"
    SINK = "sink"
    SAFE_STATE = "safe_state"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One line of the log.

    Attributes:
        at_ns: Monotonic clock.
        kind: What it is about.
        text: One sentence without a full stop; no password, no patient's name.
    """

    at_ns: int
    kind: EventKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedFrame:
    """One thing handed to every sink.

    Attributes:
        frame: The picture; None where there is no new one and only the state changed. A viewer then keeps the last
            picture and takes the answer off it.
        result: The answer to exactly this picture; None where there is none to be shown.
        signal: Health of the picture.
        reason: Why the signal is not LIVE; empty when it is.
        withdrawn: Why there is no answer; None beside a result.
        withdrawn_text: The same as a sentence for people.
        captured_ns: Monotonic clock at capture of `frame`, or of the last one.
        at_ns: Monotonic clock when this was handed out.
        age_ms: From capture to `at_ns`.
        stages: Where the time of the answer went, also of a withdrawn one.
        trust: Of the answer, also of a withdrawn one.
        engine: Fingerprint of what answered, also of a withdrawn answer.
        drops: Frames not passed on so far, by cause.
        damage: What the source found damaged so far, as in `SourceInfo.damage`.
    """

    frame: Frame | None
    result: Result | None = None
    signal: Signal
    reason: str = ""
    withdrawn: Withdrawal | None = None
    withdrawn_text: str = ""
    captured_ns: int
    at_ns: int
    age_ms: float
    stages: StageTimes | None = None
    trust: Trust | None = None
    engine: str = ""
    drops: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    damage: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def dropped(self) -> int:
        """Frames not passed on so far, for whatever cause."""
        return sum(self.drops.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """What a sink is told when it is opened.

    Attributes:
        source: The source's name, fit for a log.
        live: Whether time runs on without us.
        period_ns: From frame to frame where it is known.
        engine: Fingerprint of what answers.
        notes: What was found in the source, as sentences fit for a log.
        classes: Names of the classes, empty for a reconstruction.
        segments: By class, what it is in a DICOM segmentation, where the specification says it.
        bundle: Name and version of the network.
        bundle_trust: Who vouches for the bundle, in words; empty where the network came without one.
        max_age_ms: Above it an answer is withdrawn; None for never.
        frame_spec: How a picture is brought to the network's grid; None for voltages or where it is not known.
        voltage_spec: What is measured, and on what body; None for pictures or where it is not known.
        name: Of the stream; no two of one run have the same.
        inputs: Files and folders that are read; no sink may write over them.
    """

    source: str
    live: bool
    period_ns: int | None
    engine: str
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    segments: Mapping[str, SegmentSpec] = field(default_factory=lambda: MappingProxyType({}))
    bundle: str = ""
    bundle_trust: str = ""
    max_age_ms: float | None = None
    frame_spec: FrameSpec | None = None
    voltage_spec: VoltageSpec | None = None
    name: str = ""
    inputs: tuple[Path, ...] = field(default=(), repr=False)  # their names may tell who the patient is
