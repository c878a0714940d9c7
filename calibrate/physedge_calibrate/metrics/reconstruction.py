"""How near a reconstructed image comes to the true one: relative error, correlation, structural similarity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SSIM_WINDOW_PX = 7
# Wang et al., IEEE Trans. Image Process. 13:600 (2004): constants relative to the range of the values.
_SSIM_K1, _SSIM_K2 = 0.01, 0.03


def relative_error(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """|prediction - truth| / |truth| in the Euclidean norm; 0 where both are 0.

    Raises:
        ValueError: The shapes differ, or the truth is 0 and the prediction is not.
    """
    p, t = _pair(prediction, truth)
    error, whole = float(np.linalg.norm(p - t)), float(np.linalg.norm(t))
    if whole == 0:
        if error == 0:
            return 0.0
        raise ValueError("a relative error needs a truth that is not 0 everywhere")
    return error / whole


def correlation(prediction: NDArray[np.generic], truth: NDArray[np.generic]) -> float:
    """Pearson's correlation over the pixels, -1 to 1; 0 where either is constant."""
    p, t = _pair(prediction, truth)
    p, t = p - p.mean(), t - t.mean()
    norms = float(np.linalg.norm(p) * np.linalg.norm(t))
    return float((p * t).sum()) / norms if norms > 0 else 0.0


def ssim(prediction: NDArray[np.generic], truth: NDArray[np.generic], *, value_range: float | None = None) -> float:
    """Structural similarity, averaged over windows of 7x7 pixels that lie inside the image; 1 for the same.

    Args:
        prediction: (height, width), or with leading axes of 1.
        truth: Of the same shape.
        value_range: Largest less smallest possible value; None: that of the truth, or 1 where it is constant.
    """
    from scipy.ndimage import uniform_filter

    p, t = (np.squeeze(image) for image in _pair(prediction, truth))
    if p.ndim != 2 or min(p.shape) < SSIM_WINDOW_PX:
        raise ValueError(f"expected (height, width) of at least {SSIM_WINDOW_PX} pixels each, got {p.shape}")
    span = value_range if value_range is not None else float(np.ptp(t)) or 1.0
    c1, c2 = (_SSIM_K1 * span) ** 2, (_SSIM_K2 * span) ** 2
    count = SSIM_WINDOW_PX**2
    # Variances over a window with the divisor n-1.
    unbiased = count / (count - 1)

    def mean(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(uniform_filter(image, SSIM_WINDOW_PX), dtype=np.float64)

    mp, mt = mean(p), mean(t)
    vp, vt, cov = (
        unbiased * (mean(a * b) - ma * mb) for a, b, ma, mb in ((p, p, mp, mp), (t, t, mt, mt), (p, t, mp, mt))
    )
    similarity = (2 * mp * mt + c1) * (2 * cov + c2) / ((mp**2 + mt**2 + c1) * (vp + vt + c2))
    margin = SSIM_WINDOW_PX // 2
    return float(similarity[margin:-margin, margin:-margin].mean())


def _pair(
    prediction: NDArray[np.generic], truth: NDArray[np.generic]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if prediction.shape != truth.shape:
        raise ValueError(f"expected two images of one shape, got {prediction.shape} and {truth.shape}")
    return np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
