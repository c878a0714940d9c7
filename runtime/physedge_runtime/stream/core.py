"""The core of a stream: which frame next, what may be shown, what is said. No thread, no clock, no device.

The shell (`loop`) tells it what happened and when: a frame came, the engine is free, an answer came, time passed, the
source was lost. The core answers with `StreamedFrame`s for the sinks and `StreamEvent`s for the log; `drain` hands them
out. The same calls with the same times give the same output: that is what `replay` relies on.

Pictures leave in the order of their numbers, each at most once. Under `Drop.LATEST` a picture goes out

- with its answer, when that comes in time;
- at once and without one, where it is not fit to be answered, or while the frame in work is overdue;
- without one when the next picture comes, while the engine has been busy with other streams for as long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from physedge_runtime.frame import Frame
from physedge_runtime.results import Result, Signal
from physedge_runtime.stream.clock import NS_PER_MS, SourceClock, WatchedSpan
from physedge_runtime.stream.events import EventLog
from physedge_runtime.stream.health import Health, HealthLimits
from physedge_runtime.stream.look import FrameLook
from physedge_runtime.stream.safety import EngineFault, Safety, SafetyLimits
from physedge_runtime.stream.slot import Drop, FrameSlot
from physedge_runtime.stream.steadiness import AreaWatch
from physedge_runtime.stream.streamed import DropCause, EventKind, StreamedFrame, StreamEvent, Withdrawal

_ALL_OLD_AFTER = 10


@dataclass(slots=True)
class _Held:
    """A frame that waits or is in work, with the health of the picture at its arrival."""

    frame: Frame
    answerable: bool
    signal: Signal
    reason: str
    is_out: bool = False  # its picture has gone out already


class StreamCore:
    """One stream's decisions.

    Args:
        policy: Which frame next.
        health: When a picture counts as what.
        safety: What may be shown.
        period_ns: From frame to frame where the source states it.
        engine: Fingerprint of what answers.
        area_limit: Above it a change of the mask's area is doubtful; None where the frames are no film.

    Attributes:
        drops: Frames not passed on, by cause.
        withdrawals: Answers not shown, by cause.
        captured: Frames that came in.
        damage: What the source found damaged so far; told by the shell, handed on.
    """

    def __init__(
        self,
        *,
        policy: Drop,
        health: HealthLimits,
        safety: SafetyLimits,
        period_ns: int | None = None,
        engine: str = "",
        area_limit: float | None = None,
    ) -> None:
        self.health = Health(health, period_ns)
        self.safety = Safety(safety)
        self.withdrawals: Counter[Withdrawal] = Counter()
        self.captured = 0
        self.damage: Mapping[str, int] = MappingProxyType({})
        self._slot: FrameSlot[_Held] = FrameSlot(policy)
        self._source_clock, self._has_frame_clock = SourceClock(), health.frame_clock
        self._engine = engine
        self._area = AreaWatch(area_limit) if area_limit is not None else None
        self._other_drops: Counter[DropCause] = Counter()
        self._area_limit, self._area_part = area_limit, ""
        self._stamped_part = ""
        self._last_id: int | None = None
        self._last_passed_id: int | None = None
        self._last_captured_ns = 0
        self._in_work: _Held | None = None
        self._work_span = WatchedSpan()
        self._waits_since_ns: int | None = None
        self._shown: Frame | None = None
        self._said_signal = Signal.RECOVERING
        self._said_safe = False
        self._old_in_a_row = 0
        self._out: list[StreamedFrame] = []
        self._log = EventLog()

    # What the shell asks.

    @property
    def drops(self) -> dict[str, int]:
        """Frames not passed on so far, by cause."""
        return {str(cause): count for cause, count in (self._slot.drops + self._other_drops).items()}

    @property
    def has_room(self) -> bool:
        """Whether the grabber may hand in a frame; under `Drop.NEVER` it must wait for this."""
        return self._slot.policy is not Drop.NEVER or self._slot.has_room

    @property
    def has_waiting(self) -> bool:
        """Whether a frame waits for the engine."""
        return bool(self._slot)

    @property
    def is_idle(self) -> bool:
        """Whether no frame waits and none is in work."""
        return not self._slot and self._in_work is None

    @property
    def source_lag_ns(self) -> int:
        """How much later frames arrive than the quickest did, by the source's own stamps."""
        return self._source_clock.lag_ns

    def drain(self) -> tuple[tuple[StreamedFrame, ...], tuple[StreamEvent, ...]]:
        """What has come up since the last call, in order."""
        out = tuple(self._out)
        self._out.clear()
        return out, self._log.drain()

    # What the shell tells.

    def frame(self, frame: Frame, look: FrameLook, now_ns: int) -> None:
        """A frame came from the source."""
        frame = self._number(frame, now_ns)
        self.captured += 1
        self._last_captured_ns = frame.captured_ns
        if frame.part != self._stamped_part:  # each part of a file counts from 0
            self._source_clock, self._stamped_part = SourceClock(), frame.part
        # The times of a clip that waits for us say nothing about our clock.
        jump = self._source_clock.check(frame.source_stamp_ns, frame.captured_ns) if self._has_frame_clock else ""
        if jump:
            self._say(now_ns, EventKind.CLOCK, jump)
        self.health.frame(now_ns, look, frozen_by_operator=frame.frozen_by_operator)
        self._say_signal(now_ns, with_notice=False)
        held = _Held(frame, self.health.answerable, self.health.signal, self.health.reason)
        if self._is_queue or not (self.safety.safe_reason or not held.answerable or self._is_overdue(now_ns)):
            self._pass_starved(now_ns)
            self._slot.put(held)
            if self._waits_since_ns is None:
                self._waits_since_ns = frame.captured_ns
        else:
            self._slot.clear()
            self._waits_since_ns = None
            self._pass_without(held, now_ns)

    def take(self, now_ns: int) -> Frame | None:
        """The engine is free: the next frame for it, or None where none waits."""
        while True:
            held = self._slot.take()
            if held is None:
                return None
            if held.answerable and not self.safety.safe_reason:
                self._in_work, self._waits_since_ns = held, None
                self._work_span.start(now_ns)
                return held.frame
            self._pass_without(held, now_ns)

    def answered(self, result: Result | EngineFault, now_ns: int) -> None:
        """The engine came back with the answer to the frame that was taken, or with what went wrong."""
        held, self._in_work = self._in_work, None
        assert held is not None
        frame = held.frame
        withdrawn, text = self.safety.judge(result, frame.frame_id, now_ns - frame.captured_ns)
        if isinstance(result, EngineFault):
            self._say(now_ns, EventKind.ENGINE, text)
        if withdrawn is None and not self._is_queue and not self.health.answerable:
            withdrawn, text = Withdrawal.SIGNAL, self._signal_text()
        if withdrawn is None and self.safety.safe_reason:
            withdrawn, text = Withdrawal.SAFE_STATE, self.safety.safe_reason
        if self._area_limit is not None and frame.part != self._area_part:  # its areas are no film of the last part's
            self._area, self._area_part = AreaWatch(self._area_limit), frame.part
        if self._area is not None and withdrawn is None and isinstance(result, Result):
            result = self._area.judge(result, frame.captured_ns)
        self._notice_always_old(withdrawn, now_ns)
        self._say_safe(now_ns)
        self._pass(held, now_ns, answer=result, withdrawn=withdrawn, text=text)

    def lost(self, reason: str, now_ns: int) -> None:
        """The source says that it is gone."""
        self.health.lost(reason)
        self._say_signal(now_ns, with_notice=True)

    def tick(self, now_ns: int) -> None:
        """Time passed."""
        self.health.tick(now_ns)
        self._say_signal(now_ns, with_notice=True)
        if self._in_work is not None:
            self.safety.watch_engine(self._work_span.look(now_ns))
        self._say_safe(now_ns)
        self._pass_overdue(now_ns)
        if self._shown is not None and self.safety.is_too_old(now_ns - self._shown.captured_ns):
            age_ms = (now_ns - self._shown.captured_ns) / NS_PER_MS
            self._notice(now_ns, Withdrawal.OLD, f"the answer on show is {age_ms:.0f} ms old")

    def fail(self, reason: str, now_ns: int) -> None:
        """Something outside the core makes it unsafe to go on."""
        self.safety.fail(reason)
        self._say_safe(now_ns)

    def note(self, kind: EventKind, text: str, now_ns: int) -> None:
        """Put a line of the shell into the log, in order."""
        self._say(now_ns, kind, text)

    # How it is done.

    def _number(self, frame: Frame, now_ns: int) -> Frame:
        """The frame with a rising number and a capture stamp that is not in the future."""
        expected = frame.frame_id if self._last_id is None else self._last_id + 1
        if frame.frame_id < expected:
            frame = replace(frame, frame_id=expected)
        elif frame.frame_id > expected:
            self._other_drops[DropCause.SOURCE_GAP] += frame.frame_id - expected
        if frame.captured_ns > now_ns:
            ahead_ms = (frame.captured_ns - now_ns) / NS_PER_MS
            self._say(now_ns, EventKind.CLOCK, f"a capture stamp lies {ahead_ms:.0f} ms ahead; taken as now")
            frame = replace(frame, captured_ns=now_ns)
        self._last_id = frame.frame_id
        return frame

    @property
    def _is_queue(self) -> bool:
        return self._slot.policy is not Drop.LATEST

    def _is_overdue(self, now_ns: int) -> bool:
        return self._in_work is not None and self.safety.is_overdue(now_ns - self._in_work.frame.captured_ns)

    def _pass_overdue(self, now_ns: int) -> None:
        """The frame in work is overdue: the newest picture goes out without waiting for an answer."""
        if self._is_queue or not self._is_overdue(now_ns):
            return
        held = self._slot.take() or self._in_work
        assert held is not None
        if self._last_passed_id is None or held.frame.frame_id > self._last_passed_id:
            self._pass_without(held, now_ns)

    def _pass_starved(self, now_ns: int) -> None:
        """The engine is not ours for too long: the picture that a newer one replaces goes out, the newer one waits."""
        if self._is_queue or self._in_work is not None or self._waits_since_ns is None:
            return
        if self.safety.is_overdue(now_ns - self._waits_since_ns) and (held := self._slot.take()) is not None:
            self._pass_without(held, now_ns)

    def _pass_without(self, held: _Held, now_ns: int) -> None:
        if self.safety.safe_reason:
            withdrawn, text = Withdrawal.SAFE_STATE, self.safety.safe_reason
        elif not held.answerable:
            withdrawn, text = Withdrawal.SIGNAL, _signal_text(held.signal, held.reason)
        else:
            by = "an earlier picture" if self._in_work is not None else "other streams"
            withdrawn, text = Withdrawal.LATE, f"the engine is still busy with {by}"
        self._pass(held, now_ns, answer=None, withdrawn=withdrawn, text=text)

    def _pass(
        self, held: _Held, now_ns: int, *, answer: Result | EngineFault | None, withdrawn: Withdrawal | None, text: str
    ) -> None:
        """Hand a picture out, unless it or a newer one has gone out already."""
        frame = held.frame
        if withdrawn is not None:
            self.withdrawals[withdrawn] += 1
        if self._last_passed_id is not None and frame.frame_id <= self._last_passed_id:
            if not held.is_out:
                self._other_drops[DropCause.OVERTAKEN] += 1
            return
        self._last_passed_id = frame.frame_id
        held.is_out = True
        signal, reason = (held.signal, held.reason) if self._is_queue else (self.health.signal, self.health.reason)
        head = answer if isinstance(answer, Result) else None
        age_ms = (now_ns - frame.captured_ns) / NS_PER_MS
        drops = self.drops
        shown = None
        if head is not None and withdrawn is None:
            shown = replace(
                head,
                age_ms=age_ms,
                drops=sum(drops.values()),
                signal=signal,
                source_stamp_ns=frame.source_stamp_ns,
                position_ns=frame.position_ns,
                part=frame.part,
            )
        self._shown = frame if shown is not None else None
        self._out.append(
            StreamedFrame(
                frame=frame,
                result=shown,
                signal=signal,
                reason=reason,
                withdrawn=withdrawn,
                withdrawn_text=text,
                captured_ns=frame.captured_ns,
                at_ns=now_ns,
                age_ms=age_ms,
                stages=head.stages if head else None,
                trust=head.trust if head else None,
                engine=head.engine if head else self._engine,
                drops=MappingProxyType(drops),
                damage=self.damage,
            )
        )

    def _notice(self, now_ns: int, withdrawn: Withdrawal, text: str) -> None:
        """Tell the sinks to take the answer on show back; there is no new picture."""
        self._shown = None
        self._out.append(
            StreamedFrame(
                frame=None,
                signal=self.health.signal,
                reason=self.health.reason,
                withdrawn=withdrawn,
                withdrawn_text=text,
                captured_ns=self._last_captured_ns,
                at_ns=now_ns,
                age_ms=(now_ns - self._last_captured_ns) / NS_PER_MS,
                engine=self._engine,
                drops=MappingProxyType(self.drops),
                damage=self.damage,
            )
        )

    def _signal_text(self) -> str:
        return _signal_text(self.health.signal, self.health.reason)

    def _say(self, now_ns: int, kind: EventKind, text: str) -> None:
        self._log.say(now_ns, kind, text)

    def _say_signal(self, now_ns: int, *, with_notice: bool) -> None:
        signal = self.health.signal
        if signal is self._said_signal:
            return
        before, self._said_signal = self._said_signal, signal
        reason = f": {self.health.reason}" if self.health.reason else ""
        self._say(now_ns, EventKind.SIGNAL, f"the signal went from {before} to {signal}{reason}")
        if with_notice and signal is not Signal.LIVE:
            self._notice(now_ns, Withdrawal.SIGNAL, self._signal_text())

    def _say_safe(self, now_ns: int) -> None:
        if self.safety.safe_reason and not self._said_safe:
            self._said_safe = True
            self._say(now_ns, EventKind.SAFE_STATE, f"no more answers: {self.safety.safe_reason}")
            self._notice(now_ns, Withdrawal.SAFE_STATE, self.safety.safe_reason)

    def _notice_always_old(self, withdrawn: Withdrawal | None, now_ns: int) -> None:
        if withdrawn is not Withdrawal.OLD:
            self._old_in_a_row = 0
            return
        self._old_in_a_row += 1
        if self._old_in_a_row == _ALL_OLD_AFTER:
            self._say(
                now_ns,
                EventKind.ANSWERS,
                f"{_ALL_OLD_AFTER} answers in a row were too old to be shown: a faster engine, a smaller network or a"
                " larger --max-age-ms is needed",
            )


def _signal_text(signal: Signal, reason: str) -> str:
    return f"{signal}: {reason}" if reason else "this picture is black or white"
