"""`[growth]` of a specification: the tumour model inside a network, in days and millimetres."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from physedge_runtime.manifest_rules import GROWTH_RULES
from physedge_runtime.rules import broken_rule

Rate = Annotated[float, Field(gt=0, le=1e6)]
Range = tuple[Rate, Rate]

SNAPSHOTS = 5
"""Densities that are handed out: at 0, 1/4, 1/2, 3/4 and the whole of the horizon."""


class GrowthSpec(BaseModel):
    """u_t = div(D grad u) + rho u (1 - u) on a square grid without flux through its border.

    Bounds of D and rho: 6 to 324 mm²/year and 1 to 32 /year in patients, widened (Swanson et al. 2008; Roniotis et al.
    2010).

    Attributes:
        cells: Of the density's grid along one side; the network's picture has four pixels a cell.
        field_of_view_mm: Side of the picture. Files without spacing leave this an assumption.
        horizon_days: Time from the first to the last density.
        integrator: `euler`, explicit in both terms; or `split`, growth exactly, diffusion in stable sub-steps.
        steps: Of the integrator; a multiple of 4. None: 16 for `euler`, 4 for `split`.
        parameters: Where D and rho come from: one pair a picture, one learned pair, or the frozen pair.
        diffusivity_mm2_per_day: Smallest and largest D.
        growth_per_day: Smallest and largest rho.
        frozen_diffusivity_mm2_per_day: D where parameters are frozen: white matter, high grade.
        frozen_growth_per_day: rho there.
        none_class: The class without a tumour; empty where there is none.
        evolves: False leaves the density as it begins, to know what the evolution is worth.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cells: Annotated[int, Field(ge=8, le=256, multiple_of=2)] = 56
    field_of_view_mm: Annotated[float, Field(ge=20, le=1000)] = 251.0
    horizon_days: Annotated[float, Field(gt=0, le=3650)] = 57.6
    integrator: Literal["euler", "split"] = "split"
    steps: Annotated[int, Field(ge=4, le=256, multiple_of=4)] | None = None
    parameters: Literal["image", "global", "frozen"] = "image"
    diffusivity_mm2_per_day: Range = (0.005, 0.9)
    growth_per_day: Range = (0.0005, 0.09)
    frozen_diffusivity_mm2_per_day: Rate = 0.13
    frozen_growth_per_day: Rate = 0.012
    none_class: Annotated[str, Field(max_length=64)] = ""
    evolves: bool = True

    @model_validator(mode="after")
    def _agrees(self) -> GrowthSpec:
        if broken := broken_rule(GROWTH_RULES, self.model_dump(mode="json")):
            raise ValueError(broken)
        return self

    @property
    def cell_mm(self) -> float:
        """Side of a cell, h."""
        return self.field_of_view_mm / self.cells

    @property
    def step_count(self) -> int:
        """Steps of the integrator over the horizon."""
        return self.steps or (16 if self.integrator == "euler" else 4)

    @property
    def step_days(self) -> float:
        """Length of a step, dt."""
        return self.horizon_days / self.step_count
