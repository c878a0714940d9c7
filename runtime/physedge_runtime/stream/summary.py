"""What a stream was, in numbers: frames, drops by cause, times, states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType

from physedge_runtime.results import Signal, StageTimes
from physedge_runtime.sources.base import damage_words
from physedge_runtime.stream.clock import NS_PER_MS, NS_PER_S
from physedge_runtime.stream.spread import Spread, SpreadCounter
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

_STAGES = ("queue", "preprocess", "inference", "postprocess")
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSummary:
    """One run of a stream.

    Attributes:
        name: What the stream is called.
        source: What the source is called.
        live: Whether it was live.
        engine: Fingerprint of what answered.
        duration_s: From the first picture to the last thing handed out.
        captured: Frames that came in.
        pictures: Pictures passed on, answered or not.
        answers: Answers shown.
        withdrawn: Pictures passed on and states told without an answer, by cause.
        drops: Frames not passed on, by cause.
        sink_drops: What a sink was too slow for, by sink.
        answers_per_s: Answers shown a second; None below two.
        age: From capture to the answer handed out.
        stages: Where the time went, by stage.
        signal_s: Time in each state of the signal, seconds.
        source_lag_ms: How much later frames came at the end than the quickest did, by the source's own stamps.
        damage: What the source found damaged, as in `SourceInfo.damage`.
        safe_state: Why the stream gave up answering; empty if it did not.
    """

    name: str
    source: str
    live: bool
    engine: str
    duration_s: float
    captured: int
    pictures: int
    answers: int
    withdrawn: Mapping[str, int]
    drops: Mapping[str, int]
    sink_drops: Mapping[str, int]
    answers_per_s: float | None
    age: Spread
    stages: Mapping[str, Spread]
    signal_s: Mapping[str, float]
    source_lag_ms: float
    damage: Mapping[str, int]
    safe_state: str

    def to_dict(self) -> dict[str, object]:
        """For JSON, with a schema version."""
        return {"schema_version": SCHEMA_VERSION, **asdict(self)}

    def lines(self) -> list[str]:
        """For people: a few lines."""
        rate = f", {self.answers_per_s:.1f} a second" if self.answers_per_s is not None else ""
        lines = [
            f"{self.pictures} pictures in {self.duration_s:.1f} s, {self.answers} answered{rate}",
            f"dropped: {_counts(self.drops)}; without an answer: {_counts(self.withdrawn)}",
            f"age     {self.age}",
        ]
        lines += [f"{name:12}{spread}" for name, spread in self.stages.items()]
        if self.live:
            states = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.signal_s.items())
            lines.append(f"signal  {states or 'none'}")
        lines += [f"{name} was too slow for {count}" for name, count in self.sink_drops.items() if count]
        if self.damage:
            lines.append(f"damaged {damage_words(self.damage)}")
        if self.safe_state:
            lines.append(f"ended in the safe state: {self.safe_state}")
        return lines


class SummaryBuilder:
    """Sees everything that leaves a stream, keeps counts, and grows no further."""

    def __init__(self, info: StreamInfo) -> None:
        self._info = info
        self._pictures = 0
        self._answers = 0
        self._first_ns: int | None = None
        self._last_ns = 0
        self._signal = Signal.RECOVERING
        self._signal_ns: Counter[Signal] = Counter()
        self._age = SpreadCounter()
        self._stages = {name: SpreadCounter() for name in _STAGES}

    def add(self, item: StreamedFrame) -> None:
        """Count one thing that was handed out."""
        if self._first_ns is None:
            self._first_ns = self._last_ns = item.at_ns
        self._signal_ns[self._signal] += item.at_ns - self._last_ns
        self._signal, self._last_ns = item.signal, item.at_ns
        self._pictures += item.frame is not None
        if item.stages is not None:
            for name, time_ms in _stage_times(item.stages):
                self._stages[name].add(time_ms)
        if item.result is not None:
            self._answers += 1
            self._age.add(item.age_ms)

    @property
    def pictures(self) -> int:
        """Pictures passed on so far."""
        return self._pictures

    def build(
        self,
        *,
        captured: int,
        drops: Mapping[str, int],
        withdrawn: Mapping[str, int],
        sink_drops: Mapping[str, int],
        source_lag_ns: int = 0,
        damage: Mapping[str, int] = MappingProxyType({}),
        safe_state: str = "",
    ) -> StreamSummary:
        """The summary of what was added, with the counts that only the stream knows."""
        duration_s = 0.0 if self._first_ns is None else (self._last_ns - self._first_ns) / NS_PER_S
        return StreamSummary(
            name=self._info.name or self._info.source,
            source=self._info.source,
            live=self._info.live,
            engine=self._info.engine,
            duration_s=round(duration_s, 3),
            captured=captured,
            pictures=self._pictures,
            answers=self._answers,
            withdrawn={str(cause): count for cause, count in withdrawn.items()},
            drops=dict(drops),
            sink_drops=dict(sink_drops),
            answers_per_s=round((self._answers - 1) / duration_s, 2) if self._answers > 1 and duration_s > 0 else None,
            age=self._age.spread(),
            stages={name: counter.spread() for name, counter in self._stages.items()},
            signal_s={str(signal): round(ns / NS_PER_S, 3) for signal, ns in self._signal_ns.items() if ns},
            source_lag_ms=round(source_lag_ns / NS_PER_MS, 1),
            damage=dict(damage),
            safe_state=safe_state,
        )


def _stage_times(stages: StageTimes) -> tuple[tuple[str, float], ...]:
    return (
        ("queue", stages.queue_ms),
        ("preprocess", stages.preprocess_ms),
        ("inference", stages.inference_ms),
        ("postprocess", stages.postprocess_ms),
    )


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count) or "none"
