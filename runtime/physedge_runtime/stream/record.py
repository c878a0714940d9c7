"""Record everything a stream's core is told and decides; replay it, lock-step, and name the first difference.

The core is a pure function of its calls. So a recording holds the calls (frames with their pixels, times, answers as
digests) and what came out; a replay makes the same calls to a new core and compares. With a network the frames are
answered again and compared bit for bit; without one the recorded judgements stand in, and the decisions alone are
replayed.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import IntegrityError
from physedge_runtime.frame import Colour, Damage, Frame
from physedge_runtime.results import (
    Classification,
    Reconstruction,
    Result,
    Segmentation,
    StageTimes,
    Trust,
    TrustState,
)
from physedge_runtime.stream.core import StreamCore
from physedge_runtime.stream.health import HealthLimits
from physedge_runtime.stream.intact import judge_damage
from physedge_runtime.stream.look import FrameLook, look_at
from physedge_runtime.stream.recording import Record, RecordingWriter, read_records
from physedge_runtime.stream.safety import EngineFault, SafetyLimits, is_finite
from physedge_runtime.stream.slot import Drop
from physedge_runtime.stream.streamed import EventKind, StreamedFrame, StreamEvent


class _Answering(Protocol):
    def answer(self, frame: Frame) -> Result: ...


class RecordedCore(StreamCore):
    """A core that writes down what it is told and what it decides.

    Args:
        writer: Where to.
        policy, health, safety, period_ns, engine, area_limit: As of `StreamCore`.
    """

    def __init__(
        self,
        writer: RecordingWriter,
        *,
        policy: Drop,
        health: HealthLimits,
        safety: SafetyLimits,
        period_ns: int | None = None,
        engine: str = "",
        area_limit: float | None = None,
    ) -> None:
        super().__init__(
            policy=policy, health=health, safety=safety, period_ns=period_ns, engine=engine, area_limit=area_limit
        )
        self._writer = writer
        self._failure_said = False
        settings = {"policy": str(policy), "health": asdict(health), "safety": asdict(safety)}
        given = {"period_ns": period_ns, "engine": engine, "area_limit": area_limit}
        writer.put({"call": "begin", "schema_version": 1, **settings, **given})

    def frame(self, frame: Frame, look: FrameLook, now_ns: int) -> None:
        """Write the frame down, then take it in."""
        record = {
            "call": "frame",
            "now_ns": now_ns,
            "frame_id": frame.frame_id,
            "captured_ns": frame.captured_ns,
            "colour": str(frame.colour),
            "source_stamp_ns": frame.source_stamp_ns,
            "position_ns": frame.position_ns,
            "damage": str(frame.damage),
            "frozen_by_operator": frame.frozen_by_operator,
            "spacing_mm": frame.spacing_mm,
            "spacing_note": frame.spacing_note,
            "part": frame.part,
        }
        self._writer.put(record, frame.pixels)
        super().frame(frame, look, now_ns)

    def take(self, now_ns: int) -> Frame | None:
        """Write down which frame was taken."""
        frame = super().take(now_ns)
        if frame is not None or self._out:
            taken = None if frame is None else frame.frame_id
            self._writer.put({"call": "take", "now_ns": now_ns, "taken": taken})
        return frame

    def answered(self, result: Result | EngineFault, now_ns: int) -> None:
        """Write down what was answered."""
        self._writer.put({"call": "answered", "now_ns": now_ns, **describe_answer(result)})
        super().answered(result, now_ns)

    def lost(self, reason: str, now_ns: int) -> None:
        """Write it down."""
        self._writer.put({"call": "lost", "now_ns": now_ns, "reason": reason})
        super().lost(reason, now_ns)

    def tick(self, now_ns: int) -> None:
        """Write it down."""
        self._writer.put({"call": "tick", "now_ns": now_ns})
        super().tick(now_ns)
        if self._writer.failure and not self._failure_said:
            self._failure_said = True
            super().note(EventKind.SINK, f"the recording ended, {self._writer.failure}", now_ns)

    def fail(self, reason: str, now_ns: int) -> None:
        """Write it down."""
        self._writer.put({"call": "fail", "now_ns": now_ns, "reason": reason})
        super().fail(reason, now_ns)

    def note(self, kind: EventKind, text: str, now_ns: int) -> None:
        """Write it down."""
        self._writer.put({"call": "note", "now_ns": now_ns, "kind": str(kind), "text": text})
        super().note(kind, text, now_ns)

    def drain(self) -> tuple[tuple[StreamedFrame, ...], tuple[StreamEvent, ...]]:
        """Write down what comes out."""
        items, events = super().drain()
        if items or events:
            record = {
                "call": "drain",
                "out": [decision(item) for item in items],
                "events": [list(_line(e)) for e in events],
            }
            self._writer.put(record)
        return items, events


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """How a replay went.

    Attributes:
        frames: Frames replayed.
        answers: Answers compared; 0 without a network.
        decisions: Decisions compared.
        first_difference: What differs first, in words; empty where nothing does.
    """

    frames: int
    answers: int
    decisions: int
    first_difference: str

    @property
    def is_identical(self) -> bool:
        """Whether nothing differs."""
        return not self.first_difference

    def to_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**asdict(self), "identical": self.is_identical}


def replay(path: Path, net: _Answering | None = None) -> ReplayReport:
    """Replay a recording.

    Args:
        path: The file of `--record-raw`.
        net: Answers the frames again, for a comparison bit for bit; None replays the decisions alone.

    Raises:
        UsageError: The file cannot be read (`PE-STREAM-005`).
        IntegrityError: It is no recording, or is damaged (`PE-STREAM-006`).
    """
    replayed = _Replay(net)
    try:
        for record, pixels in read_records(path):
            if not replayed.difference:
                replayed.follow(record, pixels)
    except (KeyError, TypeError, ValueError, AssertionError) as error:
        raise IntegrityError(
            "PE-STREAM-006",
            found=f"{path} is no whole recording (a record says {type(error).__name__})",
            expected="a file that --record-raw wrote",
            next_step="copy it again",
        ) from error
    return ReplayReport(
        frames=replayed.frames,
        answers=replayed.answers,
        decisions=replayed.decisions,
        first_difference=replayed.difference,
    )


class _Replay:
    """One replay: a new core, fed with what the old one was told."""

    def __init__(self, net: _Answering | None) -> None:
        self.frames = self.answers = self.decisions = 0
        self.difference = ""
        self._net = net
        self._core: StreamCore | None = None
        self._taken: Frame | None = None

    def follow(self, record: Record, pixels: NDArray[Any] | None) -> None:
        if record["call"] == "begin":
            self._core = StreamCore(
                policy=Drop(record["policy"]),
                health=HealthLimits(**record["health"]),
                safety=SafetyLimits(**record["safety"]),
                period_ns=record["period_ns"],
                engine=record["engine"],
                area_limit=record["area_limit"],
            )
            return
        core = self._core
        assert core is not None
        match record["call"]:
            case "frame":
                assert pixels is not None
                self.frames += 1
                frame = _frame(record, pixels)
                core.frame(frame, look_at(frame), record["now_ns"])
            case "take":
                self._taken = core.take(record["now_ns"])
                self._compare("the frame taken", record["taken"], self._taken.frame_id if self._taken else None)
            case "answered":
                core.answered(self._answer(record), record["now_ns"])
            case "tick":
                core.tick(record["now_ns"])
            case "lost":
                core.lost(record["reason"], record["now_ns"])
            case "fail":
                core.fail(record["reason"], record["now_ns"])
            case "note":
                core.note(EventKind(record["kind"]), record["text"], record["now_ns"])
            case "drain":
                self._compare_drained(record, core)
            case other:
                raise ValueError(other)

    def _answer(self, record: Record) -> Result | EngineFault:
        assert self._taken is not None
        if record["fault"] is not None:
            return EngineFault(record["fault"], is_out_of_memory=record["out_of_memory"])
        if self._net is None:
            return _stand_in(self._taken, record)
        self.answers += 1
        result = judge_damage(self._net.answer(self._taken), self._taken)
        name = f"the answer to frame {self._taken.frame_id}"
        self._compare(name, record["digest"], describe_answer(result)["digest"])
        return result

    def _compare_drained(self, record: Record, core: StreamCore) -> None:
        items, events = core.drain()
        for was, now in zip(record["out"], map(decision, items), strict=False):
            self.decisions += 1
            for key in was:
                self._compare(f"{key} of the decision on frame {was['frame_id']}", was[key], now[key])
        self._compare("the number of decisions at once", len(record["out"]), len(items))
        self._compare("the log", record["events"], [list(_line(event)) for event in events])

    def _compare(self, what: str, was: object, now: object) -> None:
        if was != now and not self.difference:
            self.difference = f"{what} was {was}, is {now}"


def decision(item: StreamedFrame) -> Record:
    """What was decided on one thing that left the stream; no time but those that were handed in."""
    return {
        "frame_id": None if item.frame is None else item.frame.frame_id,
        "answered": item.result is not None,
        "signal": str(item.signal),
        "reason": item.reason,
        "withdrawn": None if item.withdrawn is None else str(item.withdrawn),
        "withdrawn_text": item.withdrawn_text,
        "trust": None if item.trust is None else f"{item.trust.state} {item.trust.reason}",
        "captured_ns": item.captured_ns,
        "at_ns": item.at_ns,
        "drops": dict(item.drops),
    }


def describe_answer(result: Result | EngineFault) -> Record:
    """An answer as far as decisions depend on it, and a digest of all its values."""
    if isinstance(result, EngineFault):
        return {"fault": result.text, "out_of_memory": result.is_out_of_memory}
    return {
        "fault": None,
        "frame_id": result.frame_id,
        "finite": is_finite(result),
        "trust": str(result.trust.state),
        "trust_reason": result.trust.reason,
        "mask": [int(np.count_nonzero(result.mask)), result.mask.size] if isinstance(result, Segmentation) else None,
        "digest": digest(result),
    }


def digest(result: Result) -> str:
    """SHA-256 over every value of an answer, in hex: the same bits give the same digest."""
    arrays: list[NDArray[Any]] = []
    words = [type(result).__name__, str(result.trust.state), result.trust.reason]
    match result:
        case Segmentation():
            arrays = [result.mask, result.probability]
        case Classification():
            arrays = [result.probability, *result.maps.values()]
            words += [result.label, *(f"{name}={value!r}" for name, value in result.parameters.items())]
        case Reconstruction():
            arrays = [result.image, *result.maps.values()]
            words.append(result.unit)
        case _:
            pass
    state = hashlib.sha256("\n".join(words).encode())
    for array in arrays:
        state.update(f"{array.dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array).tobytes())
    return state.hexdigest()


def _frame(record: Record, pixels: NDArray[Any]) -> Frame:
    return Frame(
        pixels=pixels,
        frame_id=record["frame_id"],
        captured_ns=record["captured_ns"],
        colour=Colour(record["colour"]),
        source_stamp_ns=record["source_stamp_ns"],
        position_ns=record.get("position_ns"),
        damage=Damage(record.get("damage", "")),
        frozen_by_operator=record["frozen_by_operator"],
        spacing_mm=tuple(spacing) if (spacing := record.get("spacing_mm")) else None,
        spacing_note=record.get("spacing_note", ""),
        part=record.get("part", ""),
    )


def _stand_in(frame: Frame, record: Record) -> Result:
    """An answer with the recorded judgement and no content but the area of its mask."""
    value = np.full((1, 1), 0.0 if record["finite"] else float("nan"), np.float32)
    head: dict[str, Any] = {"frame_id": record["frame_id"], "captured_ns": frame.captured_ns, "age_ms": 0.0}
    head |= {"stages": StageTimes(), "trust": Trust(state=TrustState(record["trust"]), reason=record["trust_reason"])}
    if record["mask"] is None:
        return Reconstruction(**head, image=value, unit="1")
    foreground, points = record["mask"]
    mask = (np.arange(points) < foreground).astype(np.uint8)[np.newaxis]
    return Segmentation(**head, mask=mask, probability=value[np.newaxis], classes=(), frame_shape=(1, 1))


def _line(event: StreamEvent) -> tuple[int, str, str]:
    return event.at_ns, str(event.kind), event.text
