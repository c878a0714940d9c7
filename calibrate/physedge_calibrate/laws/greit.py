"""GREIT's figures of merit of small targets: a lower precision may change them by 5 %.

A relative error over many bodies says little about one small target: these do (Adler et al., Physiol. Meas. 30:S35).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.laws.law import LawCheck
from physedge_calibrate.metrics.greit import GreitFigures, greit_figures

MOST_CHANGE = 0.05
# Whose ideal is not 0: held as a share. The others are lengths of the body's radius or shares already.
_RELATIVE = ("amplitude_response", "resolution")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One small target and its measurement.

    Attributes:
        voltages: float32, one input of the network without its batch axis.
        centre: x, y in units of the body's radius.
        radius: Of the target.
        amplitude: Of the target, in the unit of the image.
    """

    voltages: NDArray[np.float32]
    centre: tuple[float, float]
    radius: float
    amplitude: float


def check_greit(
    reference: Sequence[NDArray[np.floating[Any]]],
    candidate: Sequence[NDArray[np.floating[Any]]],
    targets: Sequence[Target],
) -> tuple[LawCheck, ...]:
    """How far the means of the figures over a sweep of targets moved.

    Args:
        reference: Images (side, side) of full precision, one a target.
        candidate: Those of what ships.
        targets: What was measured.
    """
    pairs = [
        (before, _figures(after, target))
        for image, after, target in zip(reference, candidate, targets, strict=True)
        if (before := _figures(image, target)) is not None
    ]
    if not pairs:
        return ()
    lost = sum(after is None for _, after in pairs)
    checks = [
        LawCheck(
            title="small targets that full precision shows are shown",
            measured=float(lost),
            allowed=0.0,
            cases=len(pairs),
            unit="targets",
        )
    ]
    both = [(old, new) for old, new in pairs if new is not None]
    if not both:
        return tuple(checks)
    for name in (field.name for field in fields(GreitFigures)):
        table = np.array([[getattr(figures, name) for figures in pair] for pair in both], np.float64)
        finite = np.isfinite(table).all(axis=1)
        if not finite.any():
            continue
        old, new = table[finite].mean(axis=0).tolist()
        share = abs(old) if name in _RELATIVE else 1.0
        checks.append(
            LawCheck(
                title=f"GREIT {name.replace('_', ' ')} of small targets",
                measured=abs(new - old) / share if share > 0 else math.inf,
                allowed=MOST_CHANGE,
                cases=int(finite.sum()),
            )
        )
    return tuple(checks)


def _figures(image: NDArray[np.floating[Any]], target: Target) -> GreitFigures | None:
    """None where the image shows nothing of the target."""
    try:
        return greit_figures(image, centre=target.centre, radius=target.radius, amplitude=target.amplitude)
    except ValueError:
        return None
