"""Seven numbers about a picture, by which the spread of a set of pictures can be seen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray

DARK_BELOW = 0.06
SATURATED_ABOVE = 0.98
# Rec. 709 weights of red, green and blue in the luminance.
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageStatistics:
    """What a picture looks like; every number is a fraction, 0 to 1.

    Attributes:
        brightness: Mean luminance.
        contrast: Standard deviation of the luminance.
        dark_fraction: Share of pixels with a luminance below 0.06.
        saturated_fraction: Share of pixels with a channel above 0.98.
        red_share: Mean red over the sum of the mean channels; 1/3 for grey.
        blue_share: Mean blue over that sum.
        sharpness: Mean step of the luminance from pixel to pixel, over the contrast.
    """

    brightness: float
    contrast: float
    dark_fraction: float
    saturated_fraction: float
    red_share: float
    blue_share: float
    sharpness: float


STATISTIC_NAMES: tuple[str, ...] = tuple(field.name for field in fields(ImageStatistics))


def image_statistics(pixels: NDArray[np.uint8]) -> ImageStatistics:
    """The statistics of a picture.

    Args:
        pixels: uint8 (height, width, channel) with 1 or 3 channels in the order red, green, blue, or (height,
            width).
    """
    planes = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    if planes.dtype != np.uint8 or planes.ndim != 3 or planes.shape[2] not in (1, 3):
        raise ValueError(f"expected uint8 (height, width, 1 or 3), got {pixels.dtype} {pixels.shape}")
    values = np.broadcast_to(planes, (*planes.shape[:2], 3)).astype(np.float32) / 255
    luminance = values @ _LUMINANCE
    means = values.mean(axis=(0, 1), dtype=np.float64)
    total = float(means.sum())
    contrast = float(luminance.std(dtype=np.float64))
    steps = [float(np.abs(np.diff(luminance, axis=axis)).mean()) for axis in (0, 1)]
    return ImageStatistics(
        brightness=float(luminance.mean(dtype=np.float64)),
        contrast=contrast,
        dark_fraction=float((luminance < DARK_BELOW).mean()),
        saturated_fraction=float((values > SATURATED_ABOVE).any(axis=2).mean()),
        red_share=float(means[0]) / total if total else 1 / 3,
        blue_share=float(means[2]) / total if total else 1 / 3,
        sharpness=min(1.0, sum(steps) / 2 / contrast) if contrast else 0.0,
    )


def statistics_table(statistics: Iterable[ImageStatistics]) -> NDArray[np.float64]:
    """The statistics as (image, statistic), columns in the order of `STATISTIC_NAMES`."""
    rows = [astuple(entry) for entry in statistics]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(STATISTIC_NAMES))


def standardised(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The columns shifted by their median and divided by their spread; a constant column becomes 0.

    The spread is the distance between the 10th and the 90th percentile, which a few odd pictures do not move; where
    that is 0, the standard deviation.
    """
    low, middle, high = np.percentile(table, [10, 50, 90], axis=0)
    spread = np.where(high > low, high - low, table.std(axis=0))
    return np.asarray((table - middle) / np.where(spread > 0, spread, 1.0), dtype=np.float64)
