"""Limits of trust signals for a stated rate of false alarms.

All signals share one risk: each limit is the same order statistic of its signal over clean frames, chosen so that the
share of frames with *any* signal above its limit is at most the rate that was asked for. What this rate is on frames
that the limits have not seen is measured by cross-validation over groups, with an interval that counts groups, since
the frames of one patient or film are no independent samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_SAMPLES = 20
_FOLDS = 5
# A limit is a value that was seen; another engine rounds otherwise.
_ROOM_SHARE = 0.001
_ROOM = 1e-4
_LEAST_SPREAD = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLimits:
    """Limits, and how often they raise a false alarm.

    Attributes:
        limits: Signal name to its limit.
        samples: Clean frames.
        groups: Patients or films among them.
        alarm_rate: Share of frames with an alarm, by limits fitted to the other groups.
        low, high: Its 95 % interval (Clopper-Pearson over groups).
    """

    limits: Mapping[str, float]
    samples: int
    groups: int
    alarm_rate: float
    low: float
    high: float


def fit_limits(rows: Sequence[Mapping[str, float]], groups: Sequence[str], rate: float) -> FittedLimits:
    """Fit one limit a signal.

    Args:
        rows: The signals of every clean frame, by name; the same names in each, all finite.
        groups: Patient or film of every frame.
        rate: Share of clean frames that may raise an alarm, above 0 and below 1.

    Raises:
        ValueError: Fewer than 20 frames, or no signal.
    """
    if len(rows) < FEWEST_SAMPLES or not rows[0]:
        raise ValueError(f"{len(rows)} frames are too few to fit limits to")
    names = list(rows[0])
    table = np.array([[row[name] for name in names] for row in rows], np.float64)
    labels = np.asarray(groups)
    distinct = sorted(set(groups))
    alarms: NDArray[np.bool_] = np.zeros(len(rows), bool)
    folds = [distinct[start::_FOLDS] for start in range(min(_FOLDS, len(distinct)))]
    for fold in folds if len(folds) > 1 else ():
        held_out = np.isin(labels, fold)
        alarms[held_out] = (table[held_out] > _limits(table[~held_out], rate)).any(axis=1)
    if len(folds) <= 1:
        alarms = np.asarray((table > _limits(table, rate)).any(axis=1))
    share = float(alarms.mean())
    low, high = share_interval(share, len(distinct))
    return FittedLimits(
        limits=dict(zip(names, _limits(table, rate).tolist(), strict=True)),
        samples=len(rows),
        groups=len(distinct),
        alarm_rate=share,
        low=low,
        high=high,
    )


def share_interval(share: float, independent: int) -> tuple[float, float]:
    """The two ends of the 95 % interval of a share (Clopper-Pearson), of so many independent samples."""
    from scipy.stats import beta

    seen = share * independent
    low = float(beta.ppf(0.025, seen, independent - seen + 1)) if seen > 0 else 0.0
    high = float(beta.ppf(0.975, seen + 1, independent - seen)) if seen < independent else 1.0
    return low, high


def input_reference(rows: Sequence[Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """Median and spread of every input statistic, by name.

    The spread is the distance between the 10th and the 90th percentile, which a few odd pictures do not move; at least
    0.02, so that a statistic which is the same in all pictures does not turn rounding into distance.
    """
    middle, spread = {}, {}
    for name in rows[0]:
        low, median, high = np.percentile([row[name] for row in rows], [10, 50, 90])
        middle[name], spread[name] = _rounded(median), _rounded(max(high - low, _LEAST_SPREAD))
    return middle, spread


def _limits(table: NDArray[np.float64], rate: float) -> NDArray[np.float64]:
    """Limits (signal,) of a table (frame, signal)."""
    ordered = np.sort(table, axis=0)
    allowed = rate * len(table)
    left_out = 0
    while left_out < int(allowed):
        deeper = ordered[len(table) - 2 - left_out]
        if (table > deeper).any(axis=1).sum() > allowed:
            break
        left_out += 1
    chosen = ordered[len(table) - 1 - left_out]
    return np.array([_rounded(value + _ROOM_SHARE * abs(value) + _ROOM) for value in chosen])


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
