"""Health of the picture: LIVE STALE FROZEN BLACK SATURATED LOST RECOVERING.

The frame clock decides first (STALE, LOST), then frames that are the same to the last bit (FROZEN: a sensor's noise
never repeats), then statistics (BLACK, SATURATED). A picture that stands still and is black is called BLACK. Similarity
alone decides nothing: a camera may look at something that does not move.

    LIVE --no frame--> STALE --no frame--> LOST        STALE --frame--> LIVE
    any  --unfit for a while--> FROZEN, BLACK, SATURATED
    LOST, FROZEN, BLACK, SATURATED, new format --good frame--> RECOVERING --N good frames--> LIVE

Times are handed in; there is no clock in here.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from physedge_runtime.results import Signal
from physedge_runtime.stream.clock import NS_PER_MS
from physedge_runtime.stream.look import FrameLook

_INTERVALS = 15
_ENOUGH_INTERVALS = 4
_PICTURE_FAULTS = frozenset({Signal.FROZEN, Signal.BLACK, Signal.SATURATED})
_LATE_REPEAT_NS = 20 * NS_PER_MS
_FROZEN = "the same picture again and again"
OPERATOR_FREEZE = "frozen by the operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthLimits:
    """When a picture counts as what.

    At 30 frames a second a missing picture is STALE after 100 ms and LOST after 167 ms, a frozen one is found after
    167 ms, a black or white one after 133 ms.

    Attributes:
        frame_clock: Whether silence and repetition mean anything; False for a file.
        stale_periods: STALE after this many measured frame periods without a frame.
        lost_periods: LOST after this many.
        stale_floor_ns, stale_cap_ns: Bounds of the first, whatever the rate.
        lost_floor_ns, lost_cap_ns: Bounds of the second.
        first_frame_ns: LOST where the first frame of all does not come within this.
        frozen_ns: FROZEN where the same picture has been coming for this long (20 ms more where the next is late) ...
        frozen_repeats: ... and at least this many times again.
        unfit_ns: BLACK or SATURATED where the picture has been so for this long.
        dark_share: A picture of which this share is dark is black.
        bright_share: A picture of which this share is bright is saturated.
        good_frames: LIVE again after this many good frames.
    """

    frame_clock: bool = True
    stale_periods: float = 2.5
    lost_periods: float = 5.0
    stale_floor_ns: int = 100 * NS_PER_MS
    stale_cap_ns: int = 2000 * NS_PER_MS
    lost_floor_ns: int = 160 * NS_PER_MS
    lost_cap_ns: int = 4000 * NS_PER_MS
    first_frame_ns: int = 5000 * NS_PER_MS
    frozen_ns: int = 150 * NS_PER_MS
    frozen_repeats: int = 3
    unfit_ns: int = 100 * NS_PER_MS
    dark_share: float = 0.998
    bright_share: float = 0.9
    good_frames: int = 5

    @classmethod
    def for_file(cls) -> HealthLimits:
        """A file waits for us and may repeat itself; only its statistics speak, at once and frame by frame."""
        return cls(frame_clock=False, unfit_ns=0, good_frames=1)


class Health:
    """The state of one stream's picture.

    Args:
        limits: When a picture counts as what.
        period_ns: The period that the source states; it only widens the caps, the limits follow the measured one.

    Attributes:
        signal: The state.
        reason: Why it is not LIVE; empty when it is.
    """

    def __init__(self, limits: HealthLimits, period_ns: int | None = None) -> None:
        self.signal = Signal.RECOVERING
        self.reason = "waiting for the first frame"
        self._limits = limits
        self._stated_period_ns = period_ns or 0
        self._intervals_ns: deque[int] = deque(maxlen=_INTERVALS)
        self._start_ns: int | None = None
        self._last_ns: int | None = None
        self._last: FrameLook | None = None
        self._same_since_ns = 0
        self._repeats = 0
        self._dark_since_ns: int | None = None
        self._bright_since_ns: int | None = None
        self._good_frames = 0
        self._operator_freeze = False
        self._fit = False

    @property
    def answerable(self) -> bool:
        """Whether the last frame is fit to be answered: LIVE, or frozen by the operator; and not dark or white now."""
        return self._fit and (self.signal is Signal.LIVE or (self.signal is Signal.FROZEN and self._operator_freeze))

    @property
    def period_ns(self) -> int | None:
        """The measured time from frame to frame: the median of the last ones; None while there are too few."""
        if len(self._intervals_ns) < _ENOUGH_INTERVALS:
            return None
        return sorted(self._intervals_ns)[len(self._intervals_ns) // 2]

    def frame(self, now_ns: int, look: FrameLook, *, frozen_by_operator: bool = False) -> Signal:
        """Take in a frame that came now."""
        if self._last_ns is not None:
            now_ns = max(now_ns, self._last_ns)
            if self.signal is not Signal.LOST:
                self._intervals_ns.append(now_ns - self._last_ns)
        self._last_ns = now_ns
        new_format = self._last is not None and look.format != self._last.format
        is_repeat = self._notice_repeat(now_ns, look)
        self._dark_since_ns = self._since(self._dark_since_ns, look.dark_share >= self._limits.dark_share, now_ns)
        self._bright_since_ns = self._since(
            self._bright_since_ns, look.bright_share >= self._limits.bright_share, now_ns
        )
        self._last = look
        self._operator_freeze = frozen_by_operator
        self._fit = self._dark_since_ns is None and self._bright_since_ns is None
        fault, reason = self._fault(now_ns)
        if fault is not None:
            self._enter(fault, reason)
        elif new_format and self._limits.frame_clock:
            self._enter(Signal.RECOVERING, f"the picture changed to {look.format}")
        elif self._fit:
            self._good_frame(is_repeat)
        else:
            self._good_frames = 0
        return self.signal

    def tick(self, now_ns: int) -> Signal:
        """Take in that time has passed; without this a silence is never noticed."""
        if not self._limits.frame_clock or self.signal is Signal.LOST:
            return self.signal
        if self._start_ns is None:
            self._start_ns = now_ns
        if self._last_ns is None:
            if now_ns - self._start_ns > self._limits.first_frame_ns:
                self._enter(Signal.LOST, "the first frame never came")
            return self.signal
        silence_ns = now_ns - self._last_ns
        if self._operator_freeze and self.signal is Signal.FROZEN:
            return self.signal  # some scanners send nothing while they are frozen
        if silence_ns > self.lost_after_ns:
            self._enter(Signal.LOST, f"no frame for {silence_ns // NS_PER_MS} ms")
        elif silence_ns > self.stale_after_ns and self.signal is Signal.LIVE:
            self._enter(Signal.STALE, f"no frame for {silence_ns // NS_PER_MS} ms")
        elif self.signal is Signal.LIVE and self._is_frozen(now_ns - _LATE_REPEAT_NS):
            self._enter(Signal.FROZEN, _FROZEN)  # the repeat that would tell is late itself
        return self.signal

    def lost(self, reason: str) -> Signal:
        """Take in that the source itself says it is gone."""
        self._operator_freeze = False
        self._enter(Signal.LOST, reason)
        return self.signal

    @property
    def stale_after_ns(self) -> int:
        """Silence after which LIVE becomes STALE."""
        limits = self._limits
        return self._limit_ns(limits.stale_periods, limits.stale_floor_ns, limits.stale_cap_ns)

    @property
    def lost_after_ns(self) -> int:
        """Silence after which the signal is LOST."""
        limits = self._limits
        return self._limit_ns(limits.lost_periods, limits.lost_floor_ns, limits.lost_cap_ns)

    def _limit_ns(self, periods: float, floor_ns: int, cap_ns: int) -> int:
        cap_ns = max(cap_ns, round(periods * self._stated_period_ns))
        measured_ns = self.period_ns
        if measured_ns is None:
            return cap_ns
        return min(max(round(periods * measured_ns), floor_ns), cap_ns)

    def _notice_repeat(self, now_ns: int, look: FrameLook) -> bool:
        if self._last is not None and look.checksum == self._last.checksum and look.format == self._last.format:
            self._repeats += 1
            return True
        self._repeats, self._same_since_ns = 0, now_ns
        return False

    @staticmethod
    def _since(since_ns: int | None, is_so: bool, now_ns: int) -> int | None:
        if not is_so:
            return None
        return now_ns if since_ns is None else since_ns

    def _fault(self, now_ns: int) -> tuple[Signal | None, str]:
        limits = self._limits
        if self._operator_freeze:
            return Signal.FROZEN, OPERATOR_FREEZE
        if self._dark_since_ns is not None and now_ns - self._dark_since_ns >= limits.unfit_ns:
            return Signal.BLACK, "the picture is black"
        if self._bright_since_ns is not None and now_ns - self._bright_since_ns >= limits.unfit_ns:
            return Signal.SATURATED, "the picture is white"
        if self._is_frozen(now_ns):
            return Signal.FROZEN, _FROZEN
        return None, ""

    def _is_frozen(self, now_ns: int) -> bool:
        limits = self._limits
        is_same = self._repeats >= limits.frozen_repeats and now_ns - self._same_since_ns >= limits.frozen_ns
        return limits.frame_clock and is_same and self._fit

    def _good_frame(self, is_repeat: bool) -> None:
        if self.signal is Signal.LIVE:
            return
        if self.signal is Signal.STALE:
            self._enter(Signal.LIVE, "")
            return
        if self.signal is not Signal.RECOVERING:
            self._enter(Signal.RECOVERING, "the picture is back, good frames are counted")
        if not is_repeat:
            self._good_frames += 1
        if self._good_frames >= self._limits.good_frames:
            self._enter(Signal.LIVE, "")

    def _enter(self, signal: Signal, reason: str) -> None:
        if signal is Signal.RECOVERING or signal in _PICTURE_FAULTS:
            self._good_frames = 0
        if signal is Signal.LOST:
            self._intervals_ns.clear()  # it may come back at another rate
        self.signal, self.reason = signal, reason
