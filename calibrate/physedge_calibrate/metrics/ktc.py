"""The score of the Kuopio Tomography Challenge 2023: structural similarity with a very wide Gaussian window.

Rasanen et al., KTC 2023 rules: the mean of two similarities, of the resistive and of the conductive mask, with a
standard deviation of 80 pixels on images of 256x256. Other windows give other numbers.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

SIDE_PX = 256
_WINDOW_DEVIATION = 80.0 / SIDE_PX
_WINDOW_RADIUS = 2 * _WINDOW_DEVIATION
_C1, _C2 = 1e-4, 9e-4
RESISTIVE, CONDUCTIVE = 1, 2


def ktc_score(prediction: NDArray[np.integer], truth: NDArray[np.integer]) -> float:
    """1 for the same segmentation; near 0 for nothing in common.

    Args:
        prediction: (256, 256) of 0 water, 1 resistive, 2 conductive.
        truth: The same.

    Raises:
        ValueError: Another shape.
    """
    if prediction.shape != (SIDE_PX, SIDE_PX) or truth.shape != (SIDE_PX, SIDE_PX):
        raise ValueError(f"expected two segmentations of {SIDE_PX}x{SIDE_PX}, got {prediction.shape}, {truth.shape}")
    parts = [_similarity(prediction == label, truth == label) for label in (RESISTIVE, CONDUCTIVE)]
    return float(np.mean(parts))


def ktc_of_images(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """The score of two images of the change, segmented by the same rule, at their own resolution.

    The window has the challenge's width as a share of the image, so that the score hardly depends on the resolution
    and costs a hundredth; only `ktc_score` is the challenge's own number.

    Args:
        prediction: (side, side), 0 outside the disk; negative where it became resistive.
        truth: The same.
    """
    side = truth.shape[0]
    found, true = (segment(np.asarray(image, np.float64), side) for image in (prediction, truth))
    return float(np.mean([_similarity(found == label, true == label) for label in (RESISTIVE, CONDUCTIVE)]))


def _similarity(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    first, second = a.astype(np.float64), b.astype(np.float64)
    weight = _blur(np.ones_like(first))

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return _blur(values) / weight

    ma, mb = mean(first), mean(second)
    va, vb, cov = mean(first**2) - ma**2, mean(second**2) - mb**2, mean(first * second) - ma * mb
    return float((((2 * ma * mb + _C1) * (2 * cov + _C2)) / ((ma**2 + mb**2 + _C1) * (va + vb + _C2))).mean())


def _blur(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Gaussian, cut off after two deviations, 0 outside the image: a matrix along rows and columns."""
    kernel = _kernel(len(values))
    blurred: NDArray[np.float64] = kernel @ values @ kernel
    return blurred


@functools.lru_cache(maxsize=4)
def _kernel(side_px: int) -> NDArray[np.float64]:
    distance = np.subtract.outer(np.arange(side_px), np.arange(side_px)) / side_px
    kernel: NDArray[np.float64] = np.exp(-0.5 * (distance / _WINDOW_DEVIATION) ** 2)
    return kernel * (np.abs(distance) <= _WINDOW_RADIUS)


def segment(image: NDArray[np.floating], side_px: int = SIDE_PX) -> NDArray[np.uint8]:
    """(side_px, side_px) of 0, 1, 2 from an image of the change: two thresholds by Otsu's rule for three classes.

    A class that would lie on the wrong side of 0 is empty: what did not change is water. So is a side that nothing
    stands out on: its threshold is at least a fifth of the largest change.

    Args:
        image: (side, side), 0 outside the disk; negative where it became resistive.
        side_px: Of the segmentation.
    """
    large = np.asarray(image, np.float64)
    if side_px != len(large):
        from scipy.ndimage import zoom

        large = zoom(large, side_px / len(large), order=1, grid_mode=True, mode="nearest")
    at = (np.arange(side_px) + 0.5) / side_px * 2 - 1
    inside = np.hypot(*np.meshgrid(at, at)) <= 1
    low, high = _otsu(large[inside])
    least = 0.2 * float(np.abs(large[inside]).max())
    labels = np.zeros(large.shape, np.uint8)
    labels[inside & (large < min(low, -least))] = RESISTIVE
    labels[inside & (large > max(high, least))] = CONDUCTIVE
    return labels


def _otsu(values: NDArray[np.float64], bins: int = 128) -> tuple[float, float]:
    """The two thresholds that part the values into three classes with the largest variance between them."""
    counts, edges = np.histogram(values, bins)
    middle = 0.5 * (edges[1:] + edges[:-1])
    share = np.concatenate([[0.0], np.cumsum(counts)]) / counts.sum()
    moment = np.concatenate([[0.0], np.cumsum(counts * middle)]) / counts.sum()
    first, second = np.triu_indices(bins + 1, 1)
    weights = np.stack([share[first], share[second] - share[first], share[-1] - share[second]])
    sums = np.stack([moment[first], moment[second] - moment[first], moment[-1] - moment[second]])
    between = (np.where(weights > 0, sums**2 / np.where(weights > 0, weights, 1), 0)).sum(axis=0)
    best = int(between.argmax())
    return float(edges[first[best]]), float(edges[second[best]])
