"""GREIT's figures of merit of one small target (Adler et al., Physiol. Meas. 30:S35, 2009).

Images are square, the body is the disk that touches the border; lengths are in units of its radius.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

_QUARTER = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class GreitFigures:
    """Figures of one image, or their means or standard deviations over a sweep.

    Attributes:
        amplitude_response: Sum of the image over target amplitude times target area in pixels; what matters is that it
            is the same everywhere.
        position_error: Radius of the target less radius of the image's centre: positive if it is drawn inwards.
        resolution: Root of the share of the disk that the quarter-maximum set covers.
        shape_deformation: Share of that set outside the circle of its own area around its centre.
        ringing: Sum of the opposite sign outside that circle over the sum inside; infinite where nothing is inside.
    """

    amplitude_response: float
    position_error: float
    resolution: float
    shape_deformation: float
    ringing: float


def greit_figures(
    image: NDArray[np.floating], *, centre: tuple[float, float], radius: float, amplitude: float
) -> GreitFigures:
    """The figures of one image of one target.

    Args:
        image: (side, side), row 0 at the top.
        centre: x, y of the target.
        radius: Of the target.
        amplitude: Of the target, in the unit of the image; its sign says which way the image should go.

    Raises:
        ValueError: The image is not square or shows nothing of the target's sign.
    """
    side = image.shape[0]
    if image.shape != (side, side):
        raise ValueError(f"expected a square image, got {image.shape}")
    at = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(at, -at)
    inside = np.hypot(x, y) <= 1
    signed = np.where(inside, np.asarray(image, np.float64) * np.sign(amplitude), 0.0)
    if signed.max() <= 0:
        raise ValueError("the image shows nothing of the target's sign")
    quarter = signed >= _QUARTER * signed.max()
    weight = signed[quarter]
    middle = (float((x[quarter] * weight).sum() / weight.sum()), float((y[quarter] * weight).sum() / weight.sum()))
    pixel_area = (2 / side) ** 2
    circle = np.hypot(x - middle[0], y - middle[1]) <= np.sqrt(quarter.sum() * pixel_area / np.pi)
    shadow, core = -signed[~circle & (signed < 0)].sum(), signed[circle].sum()
    return GreitFigures(
        amplitude_response=float(signed.sum() * pixel_area / (abs(amplitude) * np.pi * radius**2)),
        position_error=float(np.hypot(*centre) - np.hypot(*middle)),
        resolution=float(np.sqrt(quarter.sum() / inside.sum())),
        shape_deformation=float((quarter & ~circle).sum() / quarter.sum()),
        ringing=float(shadow / core) if core > 0 else float("inf"),
    )


def sweep_summary(figures: list[GreitFigures]) -> tuple[GreitFigures, GreitFigures]:
    """Mean and standard deviation of each figure over the targets of a sweep."""
    table = {field.name: np.array([getattr(one, field.name) for one in figures]) for field in fields(GreitFigures)}
    return (
        GreitFigures(**{name: float(values.mean()) for name, values in table.items()}),
        GreitFigures(**{name: float(values.std()) for name, values in table.items()}),
    )
