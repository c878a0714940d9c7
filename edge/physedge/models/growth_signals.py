"""What a network with a tumour model can verify about its own answer: laws of the equation, and its own consistency.

All are computed inside the graph, from what it answers anyway. The first two are properties of the equation and of the
integrator for every input, so a violation is a failure of the arithmetic, not an odd patient. A further check, the
logits without the block, would need the upper half of the network twice; it is made offline, by training with the
density standing still.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.growth import Growth
from physedge_runtime.growth import GrowthSpec
from physedge_runtime.spec import SignalSpec

# Of the slice: "no tumour" with more density than this, or a tumour with less, contradicts itself.
MOST_MASS_WITHOUT_TUMOUR, LEAST_MASS_OF_TUMOUR = 0.005, 0.001
_TINY = 1e-6

SIGNALS: Mapping[str, SignalSpec] = {
    "bounds": SignalSpec(reason="the density left 0 to 1", doubtful_above=1e-3, void_above=1.0 / 255.0),
    "mass": SignalSpec(reason="the mass fell, or grew faster than rho", doubtful_above=1e-3, void_above=0.01),
    "refinement": SignalSpec(reason="the evolution depends on its grid"),
    "range": SignalSpec(reason="D or rho lies within 2 % of the end of its range", doubtful_above=0.48),
    "agreement": SignalSpec(reason="class and density contradict each other", doubtful_above=1.0),
}
"""What the signals mean; limits that are not given are fitted on clean frames."""


class GrowthSignals(nn.Module):
    """Signals of one answer.

    Args:
        spec: Of the growth.
        none_label: Index of the class without a tumour; None where there is none.
    """

    keep_float: ClassVar[bool] = True

    def __init__(self, spec: GrowthSpec, none_label: int | None) -> None:
        super().__init__()
        self.spec = spec
        self.none_label = none_label
        coarse = spec.model_copy(update={"cells": spec.cells // 2, "integrator": "split", "steps": 4})
        self.coarse = Growth(coarse)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the signals that it gives."""
        return tuple(name for name in SIGNALS if name != "agreement" or self.none_label is not None)

    def forward(
        self, logits: Tensor, density: Tensor, diffusivity: Tensor, growth: Tensor, place: Tensor
    ) -> dict[str, Tensor]:
        """Return every signal by name, (batch, 1), each rising as the answer grows less credible.

        Args:
            logits: (batch, class).
            density: (batch, 5, row, column), the first the density at the beginning.
            diffusivity: D, (batch, 1), mm²/day.
            growth: rho, (batch, 1), 1/day.
            place: Of D and rho in their ranges, (batch, 2), 0 to 1.
        """
        mass = density.mean(dim=(2, 3))
        signals = {
            "bounds": self._bounds(density),
            "mass": self._mass(mass, growth),
            "refinement": self._refinement(density, diffusivity, growth),
            "range": (place - 0.5).abs().amax(dim=1, keepdim=True),
        }
        if self.none_label is not None:
            signals["agreement"] = self._agreement(logits, mass[:, :1])
        return signals

    def _bounds(self, density: Tensor) -> Tensor:
        flat = density.flatten(1)
        return torch.relu(torch.maximum(-flat.amin(dim=1, keepdim=True), flat.amax(dim=1, keepdim=True) - 1.0))

    def _mass(self, mass: Tensor, growth: Tensor) -> Tensor:
        """By which share the mass fell in a quarter of the horizon, or rose beyond e^(rho t)."""
        before, after = mass[:, :-1] + _TINY, mass[:, 1:] + _TINY
        quarter_days = self.spec.horizon_days / 4.0 if self.spec.evolves else 0.0
        fastest = torch.exp(growth * quarter_days)
        violation = torch.maximum(1.0 - after / before, after / (before * fastest) - 1.0)
        return torch.relu(violation.amax(dim=1, keepdim=True))

    def _refinement(self, density: Tensor, diffusivity: Tensor, growth: Tensor) -> Tensor:
        """Mean deviation of the last density from the same evolution on half the grid."""
        pooled = functional.avg_pool2d(density, 2)
        repeated = self.coarse(pooled[:, :1], diffusivity[:, :, None, None], growth[:, :, None, None])
        deviation: Tensor = (repeated[:, -1:] - pooled[:, -1:]).abs().mean(dim=(2, 3))
        return deviation

    def _agreement(self, logits: Tensor, mass: Tensor) -> Tensor:
        """Above 1 where a sure "no tumour" comes with density, or a sure tumour without."""
        assert self.none_label is not None
        none = torch.softmax(logits, dim=1)[:, self.none_label : self.none_label + 1]
        sure_none, sure_tumour = torch.relu(2.0 * none - 1.0), torch.relu(1.0 - 2.0 * none)
        return torch.maximum(
            sure_none * mass / MOST_MASS_WITHOUT_TUMOUR, sure_tumour * LEAST_MASS_OF_TUMOUR / (mass + _TINY)
        )
