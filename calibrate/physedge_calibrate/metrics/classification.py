"""How often a class is right: accuracy, and the F1 score averaged over the classes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physedge_calibrate.statistics import RESAMPLES, Interval, statistic_interval


def correct(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """1 where the most probable class is the true one, else 0.

    Args:
        prediction: Probabilities (class,), or the index of a class as an array of one number.
        truth: The index of the true class, as an array of one number.
    """
    values = np.asarray(prediction).ravel()
    label = int(values.argmax()) if values.size > 1 else int(values[0])
    return float(label == int(np.asarray(truth).ravel()[0]))


def confusion_matrix(predictions: ArrayLike, truths: ArrayLike, *, class_count: int) -> NDArray[np.int64]:
    """Counts (true class, predicted class).

    Args:
        predictions: (sample,) indices of classes.
        truths: (sample,) indices of classes.
        class_count: Number of classes.
    """
    counts: NDArray[np.int64] = _cells(predictions, truths, class_count).sum(axis=0).astype(np.int64)
    return counts.reshape(class_count, class_count)


def macro_f1(predictions: ArrayLike, truths: ArrayLike, *, class_count: int) -> float:
    """The F1 score 2·TP/(2·TP+FP+FN) averaged over the classes; a class that nobody names and nobody has counts 1."""
    cells = confusion_matrix(predictions, truths, class_count=class_count)
    return float(_macro_f1_of(cells.reshape(1, -1).astype(np.float64), class_count)[0])


def macro_f1_shares(predictions: ArrayLike, truths: ArrayLike, *, class_count: int) -> NDArray[np.float64]:
    """What each sample contributes to macro F1, (sample,): their mean is the score.

    2 N / (C (2·TP+FP+FN)) of its class where the answer is right, else 0, with N samples and C classes; over the
    samples of one class the mean is in proportion to its F1. Classes that nobody has and nobody names are left out.
    """
    predicted, true = np.asarray(predictions), np.asarray(truths)
    cells = confusion_matrix(predicted, true, class_count=class_count)
    named = cells.sum(axis=0) + cells.sum(axis=1)
    weights = 2.0 * len(true) / (np.count_nonzero(named) * np.maximum(named, 1))
    return np.asarray(np.where(predicted == true, weights[true], 0.0), np.float64)


def macro_f1_interval(
    predictions: ArrayLike,
    truths: ArrayLike,
    *,
    class_count: int,
    groups: ArrayLike | None,
    generator: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> Interval:
    """The bootstrap interval of the macro F1 score, which is no mean over samples but a function of their counts."""
    return statistic_interval(
        _cells(predictions, truths, class_count),
        lambda sums: _macro_f1_of(sums, class_count),
        groups=groups,
        generator=generator,
        confidence=confidence,
        resamples=resamples,
    )


def macro_f1_drop_interval(
    reference: ArrayLike,
    candidate: ArrayLike,
    truths: ArrayLike,
    *,
    class_count: int,
    groups: ArrayLike | None,
    generator: np.random.Generator,
    confidence: float = 0.90,
    resamples: int = RESAMPLES,
) -> Interval:
    """The bootstrap interval of the paired loss of macro F1: both answer the same resampled samples."""
    width = class_count * class_count
    both = np.concatenate([_cells(answers, truths, class_count) for answers in (reference, candidate)], axis=1)

    def loss(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return _macro_f1_of(sums[:, :width], class_count) - _macro_f1_of(sums[:, width:], class_count)

    return statistic_interval(
        both, loss, groups=groups, generator=generator, confidence=confidence, resamples=resamples
    )


def _cells(predictions: ArrayLike, truths: ArrayLike, class_count: int) -> NDArray[np.float64]:
    """(sample, cell): 1 in the cell of the confusion matrix that a sample falls into."""
    predicted, true = np.asarray(predictions), np.asarray(truths)
    if predicted.ndim != 1 or predicted.shape != true.shape:
        raise ValueError(f"expected two arrays (sample,) of one length, got {predicted.shape} and {true.shape}")
    for labels in (predicted, true):
        if labels.size and not (0 <= labels.min() and labels.max() < class_count):
            raise ValueError(f"expected classes 0 to {class_count - 1}, got {labels.min()} to {labels.max()}")
    cells = np.zeros((len(true), class_count * class_count))
    cells[np.arange(len(true)), true.astype(np.intp) * class_count + predicted.astype(np.intp)] = 1
    return cells


def _macro_f1_of(sums: NDArray[np.float64], class_count: int) -> NDArray[np.float64]:
    """(resample,) from summed cells (resample, cell)."""
    matrices = sums.reshape(-1, class_count, class_count)
    hits = np.diagonal(matrices, axis1=1, axis2=2)
    # 2·TP+FP+FN is the number of samples of the class plus the number of answers of the class.
    named = matrices.sum(axis=1) + matrices.sum(axis=2)
    scores = np.divide(2 * hits, named, out=np.ones_like(named), where=named > 0)
    return np.asarray(scores.mean(axis=1), dtype=np.float64)
