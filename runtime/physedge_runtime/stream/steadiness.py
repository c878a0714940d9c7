"""Does the mask's area agree with those just before it? One more trust signal, `area`, that no single frame can give.

Tissue and a probe move, but a region does not gain or lose most of its area from one picture to the next: where it
does, either the view was cut or the network flickers. Pure: times are handed in as nanoseconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from statistics import median

import numpy as np

from physedge_runtime.results import Result, Segmentation, Trust, TrustState
from physedge_runtime.stream.clock import NS_PER_S

AREA = "area"
"""Name of the signal."""

AREA_LIMIT = 0.8
"""Above it the answer is doubtful where the manifest says nothing else: a change of the area by a factor of five."""

_WINDOW_NS = 2 * NS_PER_S
_MOST = 15
_FEWEST = 5
# Of the picture: a region of a few pixels may come and go.
_SMALL_SHARE = 0.005


class AreaWatch:
    """Holds each mask's area against the running median of the last answers, at most 15 and 2 seconds old.

    Args:
        limit: The answer is doubtful above it.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._seen: deque[tuple[int, float]] = deque(maxlen=_MOST)

    def judge(self, result: Result, captured_ns: int) -> Result:
        """The answer with the signal in its trust: |area - median| / the larger of both, 0 to 1.

        Without five answers to compare with, and for other answers than masks, the answer as it is.

        Args:
            result: The next answer, in the order of capture.
            captured_ns: Of its frame.
        """
        if not isinstance(result, Segmentation):
            return result
        area = np.count_nonzero(result.mask) / result.mask.size
        while self._seen and captured_ns - self._seen[0][0] > _WINDOW_NS:
            self._seen.popleft()
        areas = [seen for _, seen in self._seen]
        self._seen.append((captured_ns, area))
        if len(areas) < _FEWEST:
            return result
        usual = median(areas)
        jump = abs(area - usual) / max(area, usual, _SMALL_SHARE)
        return replace(result, trust=self._with_area(result.trust, jump))

    def _with_area(self, trust: Trust, jump: float) -> Trust:
        signals = {**trust.signals, AREA: jump}
        if jump <= self._limit:
            return replace(trust, signals=signals)
        words = f"the area left its running median ({AREA} {jump:.3g} above {self._limit:.3g})"
        reason = f"{trust.reason}; {words}" if trust.reason else words
        state = TrustState.DOUBTFUL if trust.state is TrustState.OK else trust.state
        return replace(trust, state=state, reason=reason, signals=signals)
