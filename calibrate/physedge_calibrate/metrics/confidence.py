"""How much the probabilities of a classifier are worth: the area under the ROC curve, and the calibration error."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physedge_calibrate.statistics import RESAMPLES, Interval, group_draws, interval_from_draws, statistic_interval

CALIBRATION_BINS = 10
# Pairs of samples are looked at for every class; fewer resamples than for a mean keep that below a second.
_AUROC_RESAMPLES = 2_000


def auroc(probability: NDArray[np.floating], truths: ArrayLike) -> float:
    """The chance that a sample of a class gets a higher probability of it than one of another; mean over the classes.

    One class against the rest, ties count half. Classes that no sample has, or every sample, are left out.

    Args:
        probability: (sample, class).
        truths: (sample,) indices of classes.

    Raises:
        ValueError: All samples are of one class.
    """
    true = np.asarray(truths)
    weights = np.ones((1, len(true)))
    return float(_auroc_of(np.asarray(probability, np.float64), true)(weights)[0])


def auroc_interval(
    probability: NDArray[np.floating],
    truths: ArrayLike,
    *,
    groups: ArrayLike | None,
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = _AUROC_RESAMPLES,
) -> Interval:
    """The bootstrap interval of `auroc`, which is a function of pairs of samples."""
    true = np.asarray(truths)
    statistic = _auroc_of(np.asarray(probability, np.float64), true)
    draws, unit_count, unit = group_draws(len(true), groups, generator, resamples)
    return interval_from_draws(
        float(statistic(np.ones((1, len(true))))[0]),
        statistic(draws),
        confidence=confidence,
        group_count=unit_count,
        sample_count=len(true),
        unit=unit,
    )


def expected_calibration_error(
    probability: NDArray[np.floating], truths: ArrayLike, *, bins: int = CALIBRATION_BINS
) -> float:
    """Mean |confidence - accuracy| over equal bins of the highest probability, weighted by the samples in them.

    Guo et al. 2017, "On calibration of modern neural networks". With few samples it is biased upwards.

    Args:
        probability: (sample, class).
        truths: (sample,) indices of classes.
        bins: From 0 to 1.
    """
    features = _calibration_features(probability, truths, bins)
    return float(_calibration_error_of(features.sum(axis=0, keepdims=True), bins)[0])


def calibration_error_interval(
    probability: NDArray[np.floating],
    truths: ArrayLike,
    *,
    groups: ArrayLike | None,
    generator: np.random.Generator,
    bins: int = CALIBRATION_BINS,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """The bootstrap interval of `expected_calibration_error`."""
    return statistic_interval(
        _calibration_features(probability, truths, bins),
        lambda sums: _calibration_error_of(sums, bins),
        groups=groups,
        generator=generator,
        confidence=confidence,
        resamples=resamples,
    )


def reliability(
    probability: NDArray[np.floating], truths: ArrayLike, *, bins: int = CALIBRATION_BINS
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Mean confidence, accuracy and number of samples of each bin, (bin,) each; NaN where a bin is empty."""
    sums = _calibration_features(probability, truths, bins).sum(axis=0).reshape(3, bins)
    count = sums[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[1] / count, sums[2] / count, count.astype(np.int64)


def _calibration_features(probability: NDArray[np.floating], truths: ArrayLike, bins: int) -> NDArray[np.float64]:
    """(sample, 3 x bin): in its bin a sample counts 1, its confidence, and 1 if it is right."""
    values, true = np.asarray(probability, np.float64), np.asarray(truths)
    confidence = values.max(axis=1)
    place = np.clip((confidence * bins).astype(np.intp), 0, bins - 1)
    features = np.zeros((len(true), 3, bins))
    rows = np.arange(len(true))
    features[rows, 0, place] = 1.0
    features[rows, 1, place] = confidence
    features[rows, 2, place] = values.argmax(axis=1) == true
    return features.reshape(len(true), 3 * bins)


def _calibration_error_of(sums: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    count, confidence, right = np.moveaxis(sums.reshape(-1, 3, bins), 1, 0)
    return np.asarray(np.abs(confidence - right).sum(axis=1) / count.sum(axis=1), np.float64)


def _auroc_of(
    probability: NDArray[np.float64], true: NDArray[np.generic]
) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    """From weights (resample, sample) to values (resample,)."""
    parts = []
    for label in range(probability.shape[1]):
        inside = true == label
        if inside.all() or not inside.any():
            continue
        difference = probability[inside, label][:, np.newaxis] - probability[~inside, label][np.newaxis, :]
        parts.append((inside, 0.5 * (1.0 + np.sign(difference))))
    if not parts:
        raise ValueError("expected samples of two classes or more")

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        areas = []
        for inside, wins in parts:
            own, others = weights[:, inside], weights[:, ~inside]
            pairs = own.sum(axis=1) * others.sum(axis=1)
            area = ((own @ wins) * others).sum(axis=1)
            areas.append(np.divide(area, pairs, out=np.full(len(weights), np.nan), where=pairs > 0))
        return np.asarray(np.nanmean(np.stack(areas), axis=0), np.float64)

    return statistic
