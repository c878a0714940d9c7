"""`eit_post`: a small U-Net that mends a linear image; 16, 32 and 64 channels.

Its finest maps have half the image's resolution: no linear image of 104 numbers has finer detail, and it costs a
quarter. The last layer brings edges back to full resolution.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.impedance import ForwardOperator
from physedge.models.impedance import ImpedanceNetwork, Refinement
from physedge.physics.eit.embed import STRENGTHS
from physedge_runtime.frame import VoltageSpec

WIDTHS = (16, 32, 64)


class _Pair(nn.Sequential):
    """Two 3x3 convolutions, each with its norm and ReLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        layers: list[nn.Module] = []
        for width in (inputs, outputs):
            layers += [nn.Conv2d(width, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
        super().__init__(*layers)


class _Up(nn.Module):
    """A coarser map, halved in channels and doubled in size, joined with the finer one."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(coarse, fine, 1)
        self.join = _Pair(2 * fine, fine)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(batch, fine, height, width)."""
        wide = functional.interpolate(self.reduce(coarse), scale_factor=2.0, mode="nearest")
        joined: Tensor = self.join(torch.cat([wide, fine], dim=1))
        return joined


class UnfoldHead(nn.ConvTranspose2d):
    """From features to the change of the image at twice the resolution; begins at 0. What it gives is the answer."""

    keep_float: ClassVar[bool] = True

    def __init__(self, features: int) -> None:
        super().__init__(features, 1, 2, stride=2)
        nn.init.zeros_(self.weight)
        assert self.bias is not None
        nn.init.zeros_(self.bias)


class UNetRefinement(Refinement):
    """Four resolutions; sees the linear images of all priors, where the border is, and how strong they are."""

    place: Tensor

    def __init__(self) -> None:
        super().__init__()
        fine, middle, coarse = WIDTHS
        self.fold = nn.Sequential(
            nn.Conv2d(len(STRENGTHS) + 2, fine, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(fine), nn.ReLU()
        )
        self.encode1 = _Pair(fine, fine)
        self.encode2 = _Pair(fine, middle)
        self.encode3 = _Pair(middle, coarse)
        self.decode2 = _Up(coarse, middle)
        self.decode1 = _Up(middle, fine)
        self.head = UnfoldHead(fine)
        self.register_buffer("place", _radius(), persistent=False)

    def forward(self, linear: Tensor, difference: Tensor, operator: ForwardOperator, strength: Tensor) -> Tensor:
        """See `Refinement`; differences are seen through the linear images alone."""
        _ = difference, operator
        place = self.place.expand(linear.shape[0], 1, *linear.shape[2:])
        plane = strength.expand(-1, 1, *linear.shape[2:])
        first = self.encode1(self.fold(torch.cat([linear, place, plane], dim=1)))
        second = self.encode2(functional.max_pool2d(first, 2))
        third = self.encode3(functional.max_pool2d(second, 2))
        answer: Tensor = self.head(self.decode1(self.decode2(third, second), first))
        return answer


def _radius() -> Tensor:
    from physedge.physics.eit.pixels import pixel_centres

    x, y = pixel_centres()
    return torch.from_numpy(x**2 + y**2).float()[None, None]


def eit_post(*, voltages: VoltageSpec) -> ImpedanceNetwork:
    """Build `eit_post`, its physics still to be loaded, with the weights or by `load_physics`.

    Raises:
        UsageError: PE-MODEL-020, PE-SPEC-005.
    """
    return ImpedanceNetwork(voltages, UNetRefinement())
