"""The shell of a stream: the threads around the pure core.

    grabber   reads the source, looks at each frame, opens a lost source again
    worker    asks the network
    watchdog  tells the core that time passes, watches the others and the sinks

All three share one core under one lock and start at once, so that safety does not depend on anybody iterating. Every
wait is bounded. After `close` no thread is left, but one that hangs in a library's call.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, TypedDict

from physedge_runtime.errors import PhysedgeError, SafeState
from physedge_runtime.file_guard import HeldInputs, refuse_same_outputs
from physedge_runtime.frame import Frame
from physedge_runtime.output_file import OutputFile
from physedge_runtime.results import Result
from physedge_runtime.sinks.base import FileSink, FilesSink, Sink
from physedge_runtime.sources.base import Source
from physedge_runtime.stream.ahead import AheadQueue, Preparing
from physedge_runtime.stream.clock import NS_PER_MS, NS_PER_S, Clock
from physedge_runtime.stream.core import StreamCore
from physedge_runtime.stream.grabber import Grabber
from physedge_runtime.stream.health import HealthLimits
from physedge_runtime.stream.intact import judge_damage
from physedge_runtime.stream.look import look_at
from physedge_runtime.stream.options import StreamOptions
from physedge_runtime.stream.outlet import Outlet
from physedge_runtime.stream.record import RecordedCore
from physedge_runtime.stream.recording import RecordingWriter
from physedge_runtime.stream.safety import EngineFault, SafetyLimits
from physedge_runtime.stream.share import SharedNet
from physedge_runtime.stream.slot import Drop
from physedge_runtime.stream.steadiness import AREA, AREA_LIMIT
from physedge_runtime.stream.streamed import EventKind, StreamedFrame, StreamEvent, StreamInfo
from physedge_runtime.stream.summary import StreamSummary, SummaryBuilder
from physedge_runtime.stream.systemd import SystemdNotifier

_LOOK_AGAIN_S = 0.05
_TICK_S = 0.01
_READ_AHEAD = 2
_ITERATOR_CAPACITY = 64
_JOIN_S = 5.0
_HUNG_JOIN_S = 0.5
_SINK_JOIN_S = 30.0

OnEvent = Callable[[StreamEvent], None]


class Answering(Protocol):
    """What a stream needs of a network; `physedge_runtime.Net` is one."""

    @property
    def engine(self) -> str:
        """Fingerprint of what answers."""
        ...

    def answer(self, frame: Frame) -> Result:
        """Answer one frame; called from one thread of the stream."""
        ...


class _CoreSettings(TypedDict):
    policy: Drop
    health: HealthLimits
    safety: SafetyLimits
    period_ns: int | None
    engine: str
    area_limit: float | None


class Shell:
    """Threads, lock and queues of one stream."""

    def __init__(
        self,
        net: Answering,
        source: Source,
        options: StreamOptions,
        sinks: Sequence[Sink],
        on_event: OnEvent | None,
        clock: Clock,
    ) -> None:
        self.error: BaseException | None = None
        self._net, self._options, self._clock = net, options, clock
        self._on_event = on_event
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._source_ended = False
        self._outlets: list[Outlet] = []
        self._recording: RecordingWriter | None = None
        self._grabber = Grabber(
            source,
            reconnect_s=options.reconnect_s,
            stopping=self._stopping,
            clock=clock,
            on_frame=self._on_frame,
            on_lost=self._on_lost,
            on_back=self._on_back,
        )
        self._inputs = HeldInputs(())
        source.open()
        try:
            self._live = source.info.live
            policy = options.policy(live=self._live)
            self.info = _stream_info(net, source, options)
            refuse_same_outputs(output.requested for output in self._outputs(sinks))
            self._inputs = HeldInputs(self.info.inputs)
            self._core = self._make_core(policy, source.info.period_ns)
            self._newest_only = policy is Drop.LATEST
            self._preparing: Preparing | None = net if policy is Drop.NEVER and isinstance(net, Preparing) else None
            self._ahead = AheadQueue()
            self._handout: deque[StreamedFrame] = deque()
            self._is_iterated, self._missed_by_iterator = False, 0
            self._summary = SummaryBuilder(self.info)
            for sink in sinks:
                self._outlets.append(Outlet(sink, self.info, self._stopping))
        except BaseException:
            self._close_outlets()
            self._close_recording(keep=False)
            self._inputs.close()
            source.close()
            raise
        self._source, self._notes_said = source, 0
        self._systemd = SystemdNotifier()
        self._threads = [
            threading.Thread(target=self._guard, args=(role, run), name=f"physedge-{role}", daemon=True)
            for role, run in (("grabber", self._grab), ("worker", self._work), ("watchdog", self._watch))
        ]
        self._started_ns = clock()

    def _make_core(self, policy: Drop, period_ns: int | None) -> StreamCore:
        settings = _CoreSettings(
            policy=policy,
            health=self._options.health(live=self._live),
            safety=self._options.safety(live=self._live),
            period_ns=period_ns,
            engine=self._net.engine,
            area_limit=_area_limit(self._net) if period_ns is not None or self._live else None,
        )
        if self._options.record is None:
            return StreamCore(**settings)
        self._recording = RecordingWriter(self._options.record, inputs=self.info.inputs)
        return RecordedCore(self._recording, **settings)

    def start(self) -> None:
        """Start the threads and say what was chosen."""
        self._tell(EventKind.STARTED, f"{self.info.source}, {self._options.sentence(live=self._live)}")
        for output in self._outputs([outlet.sink for outlet in self._outlets]):
            if output.said:
                self._tell(EventKind.SINK, output.said)
        for thread in self._threads:
            thread.start()
        self._systemd.send("READY=1")

    # The three threads.

    def _grab(self) -> None:
        try:
            self._grabber.run()
        finally:
            with self._changed:
                self.error = self.error or self._grabber.error
                self._hear_source()
                self._source_ended = True
                self._changed.notify_all()

    def _on_frame(self, frame: Frame) -> None:
        look = look_at(frame)
        ahead = self._prepared(frame)
        with self._changed:
            while not self._core.has_room and not self._stopping.is_set():
                self._changed.wait(_LOOK_AGAIN_S)
            if self._stopping.is_set():
                return
            if self._preparing is not None:
                self._ahead.put(frame, ahead)
            self._hear_source()
            self._core.frame(frame, look, self._clock())
            self._changed.notify_all()
        self._hand_out_live()

    def _hear_source(self) -> None:
        """Take over what the source has found out since the last frame: notes on its pictures, damage."""
        info = self._source.info
        for note in info.notes[self._notes_said :]:
            self._core.note(EventKind.FORMAT, note, self._clock())
        self._notes_said = len(info.notes)
        if info.damage and not self._core.damage:
            self._core.note(EventKind.DAMAGE, f"{info.name} holds damaged data, which is passed over", self._clock())
        self._core.damage = MappingProxyType(dict(info.damage))

    def _prepared(self, frame: Frame) -> object:
        try:
            return None if self._preparing is None else self._preparing.prepared(frame)
        except Exception:
            return None  # the worker meets it again, and says so in the frame's turn

    def _on_lost(self, reason: str) -> None:
        with self._changed:
            self._core.lost(reason, self._clock())
        self._hand_out_live()

    def _on_back(self) -> None:
        with self._changed:
            self._core.note(EventKind.RECONNECT, f"{self.info.source} is back", self._clock())

    def _work(self) -> None:
        while self._frame_waits():
            with self._turn() as is_ours:
                frame, ahead = self._take() if is_ours else (None, None)
                result = None if frame is None else self._ask(frame, ahead)
            with self._changed:
                if result is not None:
                    self._core.answered(result, self._clock())
                self._changed.notify_all()
            self._hand_out()
        self._hand_out()
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()

    def _frame_waits(self) -> bool:
        """Wait for a frame; False where the stream is over."""
        with self._changed:
            while not (self._core.has_waiting or self._source_ended or self._stopping.is_set()):
                self._changed.wait(_LOOK_AGAIN_S)
            return self._core.has_waiting and not self._stopping.is_set()

    def _turn(self) -> AbstractContextManager[bool]:
        """The engine for this stream alone: at once, or in turn with the others that share it."""
        if isinstance(self._net, SharedNet):
            return self._net.turn(self._stopping.is_set)
        return nullcontext(True)

    def _take(self) -> tuple[Frame | None, object]:
        with self._changed:
            frame = None if self._stopping.is_set() else self._core.take(self._clock())
            self._changed.notify_all()
            return frame, None if frame is None else self._ahead.take(frame)

    def _ask(self, frame: Frame, ahead: object) -> Result | EngineFault:
        try:
            if ahead is not None and self._preparing is not None:
                return judge_damage(self._preparing.answer(frame, ahead), frame)
            return judge_damage(self._net.answer(frame), frame)
        except MemoryError:
            return EngineFault("out of memory", is_out_of_memory=True)
        except PhysedgeError as error:
            if not self._live:  # nothing is lost by saying at once what is wrong with a file
                self.error = self.error or error
                self._stopping.set()
            return EngineFault(str(error))
        except Exception as error:
            text = (str(error).strip() or type(error).__name__).splitlines()[0]
            return EngineFault(f"{type(error).__name__}: {text[:200]}")

    def _watch(self) -> None:
        while not self._stopping.wait(_TICK_S):
            now_ns = self._clock()
            failed = next((outlet.failure for outlet in self._outlets if outlet.failure), "")
            dead = next((thread.name for thread in self._threads if not thread.is_alive()), "")
            with self._changed:
                if failed:
                    self._core.fail(f"a sink failed, {failed}", now_ns)
                # A thread that ends in order does so after the stream was told to stop, or its source ended.
                if dead and not (self._source_ended or self._stopping.is_set()):
                    self._core.fail(f"the thread {dead} died", now_ns)
                self._core.tick(now_ns)
                self._watch_shared(now_ns)
                safe_reason = self._core.safety.safe_reason
            self._hand_out_live()
            if safe_reason and not (self._options.keep_passing and self._live):
                self._end_safely(safe_reason)
            elif self._options.duration_s and now_ns - self._started_ns > self._options.duration_s * NS_PER_S:
                self.stop()
            elif not safe_reason:
                self._systemd.alive(now_ns)

    def _watch_shared(self, now_ns: int) -> None:
        """An engine that hangs over another stream's frame hangs for this one, which waits for its turn."""
        busy_ns = self._net.busy_ns() if isinstance(self._net, SharedNet) else 0
        if busy_ns > self._core.safety.limits.hang_ns and not self._core.safety.safe_reason:
            text = f"the engine has not come back for {busy_ns / NS_PER_MS:.0f} ms from another stream's frame"
            self._core.fail(text, now_ns)

    def _guard(self, role: str, run: Callable[[], None]) -> None:
        """Run a thread; one that dies of a bug ends the stream in its safe state, the bug kept as the cause."""
        try:
            run()
        except BaseException as bug:
            reason = f"the {role} died of {type(bug).__name__}: {bug}"
            with self._changed:
                self._core.fail(reason, self._clock())
            self._end_safely(reason, cause=bug)

    # Handing out.

    def _hand_out_live(self) -> None:
        if self._live:
            self._hand_out()

    def _hand_out(self) -> None:
        """Give what the core has to sinks and iterator. Live: never waits, in order under the lock. Else: may wait."""
        with self._changed:
            items, events = self._core.drain()
            if self._live:
                for item in items:
                    self._give(item)
                self._changed.notify_all()
        if not self._live:
            for item in items:
                self._give(item)
                self._wait_for_iterator()
        for event in events:
            if self._on_event is not None:
                self._on_event(event)

    def _give(self, item: StreamedFrame) -> None:
        limit = self._options.frames
        if limit is not None and self._summary.pictures >= limit:
            return
        self._summary.add(item)
        for outlet in self._outlets:
            outlet.put(item)
        with self._changed:
            capacity = 1 if self._newest_only else _ITERATOR_CAPACITY
            if self._live and len(self._handout) >= capacity:
                self._handout.popleft()
                self._missed_by_iterator += self._is_iterated and not self._newest_only
            self._handout.append(item)
            self._changed.notify_all()
        if limit is not None and self._summary.pictures >= limit:
            self._stopping.set()

    def _wait_for_iterator(self) -> None:
        with self._changed:
            while len(self._handout) > _READ_AHEAD and not self._stopping.is_set():
                self._changed.wait(_LOOK_AGAIN_S)

    def next_item(self, timeout_s: float | None = None) -> StreamedFrame | None:
        """The next thing for whoever iterates; None at the end, or where nothing came in time."""
        give_up_ns = None if timeout_s is None else self._clock() + round(timeout_s * NS_PER_S)
        with self._changed:
            self._is_iterated = True
            while not self._handout:
                if self._stopping.is_set() or (give_up_ns is not None and self._clock() >= give_up_ns):
                    return None
                self._changed.wait(_LOOK_AGAIN_S if timeout_s is None else min(_LOOK_AGAIN_S, timeout_s))
            item = self._handout.popleft()
            self._changed.notify_all()
            return item

    @property
    def is_over(self) -> bool:
        """Whether the stream has ended and everything was handed out."""
        with self._changed:
            return self._stopping.is_set() and not self._handout

    def fresh_result(self, item: StreamedFrame) -> Result | None:
        """The answer as of now: its age is counted to this moment, and None where it has become too old."""
        if item.result is None or not self._live:
            return item.result
        age_ns = self._clock() - item.captured_ns
        if self._core.safety.is_too_old(age_ns):
            return None
        return replace(item.result, age_ms=age_ns / NS_PER_MS)

    # Ends.

    def stop(self) -> None:
        """Ask every thread to end."""
        self._stopping.set()

    def _end_safely(self, reason: str, cause: BaseException | None = None) -> None:
        if self.error is None:
            error = SafeState(
                "PE-STREAM-001",
                found=f"the stream gave up answering, {reason}",
                expected="a source, an engine and sinks that work",
                next_step="mend the cause and start it again; the picture is not affected",
            )
            error.__cause__ = cause
            self.error = error
        self._stopping.set()

    def close(self) -> None:
        """Join the threads, finish the sinks, give the source back."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        hung = bool(self._core.safety.safe_reason)
        me = threading.current_thread()
        for thread in self._threads:
            if thread.ident is not None and thread is not me:
                thread.join(_HUNG_JOIN_S if hung else _JOIN_S)
        self._close_outlets()
        self._close_recording()
        self._inputs.close()
        if self._core.safety.safe_reason:
            self._end_safely(self._core.safety.safe_reason)
        self._tell(EventKind.ENDED, f"{self.info.source} ended after {self._summary.pictures} pictures")
        self._systemd.send("STOPPING=1")

    def _close_outlets(self) -> None:
        for outlet in self._outlets:
            ended = outlet.close(_SINK_JOIN_S)
            if outlet.failure and self.error is None:
                self._end_safely(f"a sink failed, {outlet.failure}")
            if not ended and self.error is None:
                self._end_safely(f"a sink did not finish, {outlet.sink.name}")

    def _close_recording(self, *, keep: bool = True) -> None:
        if self._recording is not None:
            self._recording.close(keep=keep)

    def _outputs(self, sinks: Sequence[Sink]) -> list[OutputFile]:
        """Every file that is written."""
        record = [] if self._options.record is None else [self._options.record]
        return [*(sink.output for sink in sinks if isinstance(sink, FileSink)), *record]

    @property
    def written(self) -> tuple[Path, ...]:
        """Files that stand finished under their names."""
        sinks = [outlet.sink for outlet in self._outlets]
        further = [output for sink in sinks if isinstance(sink, FilesSink) for output in sink.further_outputs]
        outputs = [*self._outputs(sinks), *further]
        return tuple(output.written for output in outputs if output.written is not None)

    def summary(self) -> StreamSummary:
        """What the stream was so far."""
        with self._changed:
            return self._summary.build(
                captured=self._core.captured,
                drops=self._core.drops,
                withdrawn={str(cause): count for cause, count in self._core.withdrawals.items()},
                sink_drops={
                    **{outlet.sink.name: outlet.dropped for outlet in self._outlets},
                    "the iterating program": self._missed_by_iterator,
                },
                source_lag_ns=self._core.source_lag_ns,
                damage=self._core.damage,
                safe_state=self._core.safety.safe_reason,
            )

    def _tell(self, kind: EventKind, text: str) -> None:
        if self._on_event is not None:
            self._on_event(StreamEvent(self._clock(), kind, text))


def _area_limit(net: Answering) -> float:
    """What the bundle says of the signal `area`, else the default."""
    signal = getattr(net, "trust_signals", {}).get(AREA)
    return AREA_LIMIT if signal is None or signal.doubtful_above is None else float(signal.doubtful_above)


def _stream_info(net: Answering, source: Source, options: StreamOptions) -> StreamInfo:
    spec = getattr(net, "spec", None)
    bundle: Path | None = getattr(net, "bundle_path", None)
    return StreamInfo(
        source=source.info.name,
        live=source.info.live,
        period_ns=source.info.period_ns,
        notes=source.info.notes,
        engine=net.engine,
        classes=tuple(getattr(spec, "classes", ())),
        segments=getattr(spec, "segment", None) or {},
        bundle=f"{spec.name} {spec.version}" if spec is not None else "",
        bundle_trust=getattr(net, "bundle_trust", ""),
        max_age_ms=options.oldest_ms(live=source.info.live),
        frame_spec=getattr(spec, "frame", None),
        voltage_spec=getattr(spec, "voltages", None),
        name=options.name or source.info.name,
        inputs=(*options.inputs, *([] if bundle is None else [bundle])),
    )
