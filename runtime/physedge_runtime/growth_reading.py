"""What a tumour model's answer means for one frame: its lengths, where the size of a pixel is known, and its words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import Frame, FrameSpec
from physedge_runtime.growth import SNAPSHOTS, GrowthSpec
from physedge_runtime.resize import geometry

DENSITY, DIFFUSIVITY, GROWTH, WIDTH = "density", "D_mm2_per_day", "rho_per_day", "front_width_mm"
_FOCUS_FROM = 0.5

_ONE_PICTURE = "one picture fixes sqrt(D/rho) at best, D and rho are latent"
_NO_MEASUREMENT = "no measurement of a patient"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrowthReading:
    """The parameters of one answer.

    Attributes:
        parameters: By name with the unit in it, on the frame's own scale where that is known.
        note: One sentence about what they are.
        times_days: Of the densities.
    """

    parameters: dict[str, float]
    note: str
    times_days: tuple[float, ...]


def read_growth(
    scalars: Mapping[str, float], density: NDArray[np.float32] | None, growth: GrowthSpec, spec: FrameSpec, frame: Frame
) -> GrowthReading:
    """Bring D and sqrt(D / rho) to the frame's scale and say what they are.

    The network knows cells. A frame whose field of view is s times the assumed one has cells s times as large, so D is
    s² and the width of the front s times as large; rho knows no length.

    Args:
        scalars: Of the graph, by name.
        density: (time, row, column); None where the graph gives none.
        growth: The tumour model's declaration.
        spec: How the frame came to the grid.
        frame: Its `spacing_mm` is the size of a pixel, where it is known.
    """
    parameters = dict(scalars)
    scale = _scale(growth, spec, frame)
    if scale is not None:
        for name, power in ((DIFFUSIVITY, 2), (WIDTH, 1)):
            if name in parameters:
                parameters[name] *= scale**power
        note = f"on the frame's own pixel spacing; {_ONE_PICTURE}, {_NO_MEASUREMENT}"
    else:
        why = frame.spacing_note or "no pixel spacing is known"
        note = (
            f"latent: {why}, so lengths are at an assumed field of view of {growth.field_of_view_mm:g} mm; "
            f"{_ONE_PICTURE}, {_NO_MEASUREMENT}"
        )
    if density is not None:
        parameters["mass_fraction"] = float(density[0].mean())
        parameters["foci_count"] = float(count_foci(density[0] > _FOCUS_FROM))
    times = tuple(growth.horizon_days * index / (SNAPSHOTS - 1) for index in range(SNAPSHOTS))
    return GrowthReading(parameters=parameters, note=note, times_days=times)


def parameter_words(parameters: Mapping[str, float]) -> str:
    """The parameters with their units, in letters that every font has: `D 0.2 mm2/day, rho 0.02/day, ...`."""
    forms = ((DIFFUSIVITY, "D {:.3g} mm2/day"), (GROWTH, "rho {:.3g}/day"), (WIDTH, "sqrt(D/rho) {:.3g} mm"))
    return ", ".join(form.format(parameters[name]) for name, form in forms if name in parameters)


def count_foci(inside: NDArray[np.bool_]) -> int:
    """Connected regions (by edges) of a mask (row, column)."""
    left = {(int(row), int(column)) for row, column in np.argwhere(inside)}
    count = 0
    while left:
        count += 1
        edge = [left.pop()]
        while edge:
            row, column = edge.pop()
            for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if near in left:
                    left.remove(near)
                    edge.append(near)
    return count


def _scale(growth: GrowthSpec, spec: FrameSpec, frame: Frame) -> float | None:
    """The frame's field of view over the assumed one; of unequal sides the geometric mean."""
    if frame.spacing_mm is None:
        return None
    way = geometry(spec, frame.pixels.shape[0], frame.pixels.shape[1])
    down = frame.spacing_mm[0] * (way.bottom - way.top) / way.grid_height
    across = frame.spacing_mm[1] * (way.right - way.left) / way.grid_width
    return math.sqrt(down * across) * spec.width / growth.field_of_view_mm
