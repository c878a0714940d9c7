"""Limits of trust signals for a stated rate of false alarms.

All signals share one risk: each limit is the same order statistic of its signal over clean frames, chosen so that the
share of frames with *any* signal above its limit is at most the rate that was asked for. They are counted as
split-conformal prediction counts (Vovk, Gammerman, Shafer 2005): of n clean frames at most rate (n + 1) - 1 lie above,
so that one more frame that is exchangeable with them raises an alarm with a probability of at most the rate; with fewer
than 1 / rate - 1 frames no limit can promise that, and the largest value is taken. The frames of one patient or film
are alike, so such limits are too tight for the next patient: they are widened, by the same share of their distance
from the median, until each group raises no more alarms than that by limits fitted to the others; a signal that watches
the device alone may be set apart and widened by its own share: what patients differ in says nothing about it. What the
rate then is on frames that neither the limits nor their widening have seen is measured by cross-validation over groups,
with an interval that counts groups.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_SAMPLES = 20
_FOLDS = 5
# A limit is a value that was seen; another engine rounds otherwise.
_ROOM_SHARE = 0.001
_ROOM = 1e-4
_LEAST_SPREAD = 0.02
# What lies farther out than this is another kind of picture, and not to be let in by wider limits.
_WIDEST = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLimits:
    """Limits, and how often they raise a false alarm.

    Attributes:
        limits: Signal name to its limit.
        samples: Clean frames.
        groups: Patients or films among them.
        widened: By which share of their distance from the median the limits were moved out; the largest of all.
        alarm_rate: Share of frames with an alarm, by limits fitted and widened by the other groups.
        low, high: Its 95 % interval (Clopper-Pearson over groups).
    """

    limits: Mapping[str, float]
    samples: int
    groups: int
    widened: float
    alarm_rate: float
    low: float
    high: float


def fit_limits(
    rows: Sequence[Mapping[str, float]], groups: Sequence[str], rate: float, *, apart: Collection[str] = ()
) -> FittedLimits:
    """Fit one limit a signal.

    Args:
        rows: The signals of every clean frame, by name; the same names in each, all finite.
        groups: Patient or film of every frame.
        rate: Share of clean frames that may raise an alarm, above 0 and below 1.
        apart: Signals that are widened by what they need themselves, not by what the neediest of the others needs.

    Raises:
        ValueError: Fewer than 20 frames, or no signal.
    """
    if len(rows) < FEWEST_SAMPLES or not rows[0]:
        raise ValueError(f"{len(rows)} frames are too few to fit limits to")
    names = list(rows[0])
    table = np.array([[row[name] for name in names] for row in rows], np.float64)
    labels = np.asarray(groups)
    own = np.array([name in apart for name in names])
    distinct = sorted(set(groups))
    alarms: NDArray[np.bool_] = np.zeros(len(rows), bool)
    for held_out in _folds(labels):
        kept = ~held_out
        limits = _limits(table[kept], rate, _widening(table[kept], labels[kept], rate, own))
        alarms[held_out] = (table[held_out] > limits).any(axis=1)
    widened = _widening(table, labels, rate, own)
    limits = _limits(table, rate, widened)
    if len(distinct) == 1:
        alarms = np.asarray((table > limits).any(axis=1))
    share = float(alarms.mean())
    low, high = share_interval(share, len(distinct))
    return FittedLimits(
        limits={name: _rounded(limit) for name, limit in zip(names, limits.tolist(), strict=True)},
        samples=len(rows),
        groups=len(distinct),
        widened=float(widened.max()),
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


def _folds(labels: NDArray[np.str_]) -> list[NDArray[np.bool_]]:
    """Masks (frame,) of what is held out, whole groups each; none of a single group."""
    distinct = sorted(set(labels.tolist()))
    if len(distinct) < 2:
        return []
    return [np.isin(labels, distinct[start::_FOLDS]) for start in range(min(_FOLDS, len(distinct)))]


def _widening(
    table: NDArray[np.float64], labels: NDArray[np.str_], rate: float, own: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(signal,) least widening by which limits fitted to some groups hold the rate on the others; 0 of a single group.

    One for all signals but those that are on their own.
    """
    needed: NDArray[np.float64] = np.full(table.shape, -np.inf)
    for held_out in _folds(labels):
        kept = table[~held_out]
        tight, middle = _limits(kept, rate), np.median(kept, axis=0)
        needed[held_out] = (table[held_out] - tight) / np.maximum(tight - middle, _ROOM)
    if not own.all():
        needed[:, ~own] = needed[:, ~own].max(axis=1, keepdims=True)
    helped = needed[(needed <= _WIDEST).all(axis=1)]
    allowed = max(0, int(rate * len(table)) - (len(table) - len(helped)))
    if len(helped) <= allowed:
        return np.zeros(table.shape[1])
    return np.maximum(_common_order(helped, allowed), 0.0)


def _common_order(table: NDArray[np.float64], allowed: float) -> NDArray[np.float64]:
    """(signal,): the deepest order statistic, the same of all signals, with at most `allowed` rows above any of it."""
    ordered = np.sort(table, axis=0)
    left_out = 0
    while left_out < int(allowed):
        deeper = ordered[len(table) - 2 - left_out]
        if (table > deeper).any(axis=1).sum() > allowed:
            break
        left_out += 1
    chosen: NDArray[np.float64] = ordered[len(table) - 1 - left_out]
    return chosen


def _limits(table: NDArray[np.float64], rate: float, widened: NDArray[np.float64] | float = 0.0) -> NDArray[np.float64]:
    """Limits (signal,) of a table (frame, signal)."""
    chosen = _common_order(table, rate * (len(table) + 1) - 1)
    tight = chosen + _ROOM_SHARE * np.abs(chosen) + _ROOM
    return tight + widened * (tight - np.median(table, axis=0))


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
