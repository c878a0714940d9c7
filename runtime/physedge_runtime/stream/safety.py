"""Which answers may be shown, and when the stream must give up answering.

Pure: times are handed in as nanoseconds. The judgement of one answer is a reason to withdraw it, or none; the judgement
of the stream is `safe_reason`, empty as long as it may go on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from physedge_runtime.results import Classification, Reconstruction, Result, Segmentation, TrustState
from physedge_runtime.stream.clock import NS_PER_MS
from physedge_runtime.stream.streamed import Withdrawal

LIVE_MAX_AGE_MS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyLimits:
    """Bounds of what may be shown.

    Attributes:
        max_age_ns: An answer older than this is withdrawn; None for never.
        deadline_ns: From capture to answer; a later answer is withdrawn and counts as a miss; None for no deadline.
        hang_ns: An engine that works on one frame for longer than this has hung.
        deadline_misses: This many in a row end in the safe state.
        engine_errors: This many in a row end in the safe state.
        not_finite: This many answers in a row that hold no numbers end in the safe state.
    """

    max_age_ns: int | None = None
    deadline_ns: int | None = None
    hang_ns: int = 5000 * NS_PER_MS
    deadline_misses: int = 10
    engine_errors: int = 3
    not_finite: int = 3


@dataclass(frozen=True, slots=True)
class EngineFault:
    """What went wrong instead of an answer.

    Attributes:
        text: One line.
        is_out_of_memory: Ends in the safe state at once.
    """

    text: str
    is_out_of_memory: bool = False


class Safety:
    """Judges answers one after the other.

    Attributes:
        safe_reason: Why the stream must not answer any more; empty as long as it may.
    """

    def __init__(self, limits: SafetyLimits) -> None:
        self.limits = limits
        self.safe_reason = ""
        self._misses = 0
        self._errors = 0
        self._not_finite = 0

    def judge(self, result: Result | EngineFault, frame_id: int, age_ns: int) -> tuple[Withdrawal | None, str]:
        """Whether the answer to a frame may be shown.

        Args:
            result: The answer, or what came instead.
            frame_id: Of the frame that was handed to the engine.
            age_ns: From its capture to now.

        Returns:
            Why not, and the same as a sentence; `(None, "")` where it may be shown.
        """
        age_ms = age_ns / NS_PER_MS
        if isinstance(result, EngineFault):
            self._count_error(result)
            return Withdrawal.ENGINE, f"the engine failed: {result.text}"
        self._errors = 0
        if result.frame_id != frame_id:
            return Withdrawal.OTHER_FRAME, f"the answer is of frame {result.frame_id}"
        if not is_finite(result):
            self._not_finite += 1
            if self._not_finite >= self.limits.not_finite:
                self.fail(f"{self._not_finite} answers in a row hold values that are no numbers")
            return Withdrawal.NOT_FINITE, "the answer holds values that are no numbers"
        self._not_finite = 0
        if self.limits.deadline_ns is not None and age_ns > self.limits.deadline_ns:
            self.miss()
            return Withdrawal.LATE, f"the answer took {age_ms:.0f} ms"
        self._misses = 0
        if result.trust.state is TrustState.VOID:
            return Withdrawal.VOID, f"not to be trusted: {result.trust.reason or 'void'}"
        if self.is_too_old(age_ns):
            return Withdrawal.OLD, f"the answer is {age_ms:.0f} ms old"
        return None, ""

    def is_too_old(self, age_ns: int) -> bool:
        """Whether an answer of this age must not be on show."""
        return self.limits.max_age_ns is not None and age_ns > self.limits.max_age_ns

    def is_overdue(self, age_ns: int) -> bool:
        """Whether the frame in work can no longer be answered in time, so that pictures go out without it."""
        bounds = [bound for bound in (self.limits.deadline_ns, self.limits.max_age_ns) if bound is not None]
        return bool(bounds) and age_ns > min(bounds)

    def miss(self) -> None:
        """Count a missed deadline."""
        self._misses += 1
        if self._misses >= self.limits.deadline_misses:
            self.fail(f"the deadline was missed {self._misses} times in a row")

    def watch_engine(self, busy_ns: int) -> None:
        """Take in for how long the engine has worked on its frame."""
        if busy_ns > self.limits.hang_ns:
            self.fail(f"the engine has not come back for {busy_ns / NS_PER_MS:.0f} ms")

    def fail(self, reason: str) -> None:
        """Give up answering; the first reason stays."""
        self.safe_reason = self.safe_reason or reason

    def _count_error(self, fault: EngineFault) -> None:
        self._errors += 1
        if fault.is_out_of_memory:
            self.fail("out of memory")
        elif self._errors >= self.limits.engine_errors:
            self.fail(f"the engine failed {self._errors} times in a row: {fault.text}")


def is_finite(result: Result) -> bool:
    """Whether every value of an answer is a number; checked here too, whatever the network's trust signals say."""
    match result:
        case Segmentation():
            return bool(np.isfinite(result.probability).all())
        case Classification():
            return bool(np.isfinite(result.probability).all())
        case Reconstruction():
            return bool(np.isfinite(result.image).all())
        case _:
            return True
