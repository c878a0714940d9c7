"""`eit_unrolled`: gradient steps on the misfit, each followed by a small network that stands for the prior.

x <- x - P_k(x, eta_k J' W (J x - d)),   five steps, P_k of three convolutions, eta_k > 0 learned

P_k folds 2x2 pixels into channels and works at half of the resolution, for a quarter of the price: no image of 104
numbers has finer detail, and the fold loses none of it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.impedance import ForwardOperator
from physedge.models.impedance import ImpedanceNetwork, Refinement
from physedge_runtime.frame import VoltageSpec

STEPS, WIDTH = 5, 32
_FIRST_STEP = 30.0
_FOLD = 2


class _Prior(nn.Sequential):
    """Three convolutions; the last begins at 0, so that the first image is the linear one.

    Takes in the image, the step's gradient, and a plane of the image's strength.
    """

    def __init__(self) -> None:
        last = nn.Conv2d(WIDTH, _FOLD**2, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        super().__init__(
            nn.PixelUnshuffle(_FOLD),
            nn.Conv2d(3 * _FOLD**2, WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.ReLU(),
            last,
            nn.PixelShuffle(_FOLD),
        )


class UnrolledRefinement(Refinement):
    """Five unrolled steps, from the smooth linear image on."""

    def __init__(self) -> None:
        super().__init__()
        self.priors = nn.ModuleList(_Prior() for _ in range(STEPS))
        self.step = nn.Parameter(torch.full((STEPS,), _FIRST_STEP).expm1().log())

    def forward(self, linear: Tensor, difference: Tensor, operator: ForwardOperator, strength: Tensor) -> Tensor:
        """See `Refinement`."""
        image = linear[:, :1]
        plane = strength.expand(-1, 1, *linear.shape[2:])
        for number, prior in enumerate(self.priors):
            gradient = operator.gradient(image, difference)
            step = functional.softplus(self.step[number]) * gradient
            image = image - prior(torch.cat([image, step, plane], dim=1))
        return image - linear[:, :1]


class LearnedRegulariser(nn.Module):
    """An explicit learned prior R(x) = softplus(weight) * mean |C(x)|^2, C three convolutions.

    For a Gauss-Newton loop offline, and as a score of how plausible an image is: the lower, the more.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """(batch,) of images (batch, 1, height, width)."""
        roughness: Tensor = self.layers(image).square().mean(dim=(1, 2, 3))
        return functional.softplus(self.weight) * roughness


def eit_unrolled(*, voltages: VoltageSpec) -> ImpedanceNetwork:
    """Build `eit_unrolled`, its physics still to be loaded, with the weights or by `load_physics`.

    Raises:
        UsageError: PE-MODEL-020, PE-SPEC-005.
    """
    return ImpedanceNetwork(voltages, UnrolledRefinement())
