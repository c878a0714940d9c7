"""The coupling of a position q and a momentum p, in the paper's form and as a symplectic map.

The paper's form, [q'; p'] = [q; p] + eps tanh(BN(W [p; -q])), borrows the look of Hamilton's equations, but a free
W can undo the sign and the swap, so nothing is conserved. The strict form is the composition of two shears, each
the gradient of a scalar function, and therefore symplectic whatever its weights: J^T Omega J = Omega, det J = 1.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.convolution import ConvNorm, pointwise
from physedge.models.blocks.fold import constant_convolution, normalised, scaled

Physics = Literal["paper", "strict"]
"""`paper`: the published formulas; `strict`: forms whose physical property holds for every weight."""


class StepSize(nn.Module):
    """The learned step eps of a coupling, a scalar.

    Args:
        bounded: eps = sigmoid(value), which stays in (0, 1) and starts at 1/2; otherwise eps is the value itself
            and starts at 0.1.
    """

    def __init__(self, *, bounded: bool) -> None:
        super().__init__()
        self.bounded = bounded
        self.value = nn.Parameter(torch.tensor(0.0 if bounded else 0.1))

    def forward(self) -> Tensor:
        """Return eps."""
        return torch.sigmoid(self.value) if self.bounded else self.value


class FreeCoupling(nn.Module):
    """[q'; p'] = [q; p] + eps tanh(BN(W [p; -q])) with a free 2C x 2C matrix W (the paper's form).

    W [p; -q] is computed as V [q; p]: V holds the columns of W swapped and half of them negated. A free W and a free V
    are the same thing, and V needs one concatenation less.
    """

    def __init__(self, channels: int, *, bounded: bool) -> None:
        super().__init__()
        self.mix = ConvNorm(pointwise(2 * channels, 2 * channels), activation=nn.Tanh())
        self.step = StepSize(bounded=bounded)

    def forward(self, q: Tensor, p: Tensor) -> Tensor:
        """Return [q'; p'], (batch, 2 channel, height, width)."""
        z = torch.cat((q, p), dim=1)
        step: Tensor = self.step()
        turned: Tensor = self.mix(z)
        return z + step * turned

    def folded(self) -> nn.Module:
        """The same with a constant step and a sigmoid."""
        return FoldedFreeCoupling(scaled(self.mix.folded_convolution(), 2.0), self.step().item())


class FoldedFreeCoupling(nn.Module):
    """[q'; p'] = z + eps (2 sigmoid(turn(z)) - 1), z = [q; p], where `turn` holds twice what the tanh saw.

    tanh(t) = 2 sigmoid(2t) - 1, and engines compute the sigmoid faster: fused into the convolution before it, OpenVINO
    takes five times as long for tanh as for the convolution itself (AVX2).
    """

    def __init__(self, turn: nn.Conv2d, step: float) -> None:
        super().__init__()
        self.turn = turn
        self.step = step

    def forward(self, q: Tensor, p: Tensor) -> Tensor:
        """Return [q'; p'], (batch, 2 channel, height, width)."""
        z = torch.cat((q, p), dim=1)
        return z + (torch.sigmoid(self.turn(z)) * (2.0 * self.step) - self.step)


class SymplecticShear(nn.Module):
    """The gradient of a scalar function of x: A^T (a * tanh(BN(A x))), a >= 0.

    In evaluation BN is affine, so the Jacobian A^T diag(.) A is symmetric: that is what makes the shear symplectic.

    Attributes:
        inward: A, (channel, channel, 1, 1).
        norm: BN.
        strength: a = softplus(strength), (channel,), starts at one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inward = pointwise(channels, channels)
        self.norm = nn.BatchNorm2d(channels)
        self.strength = nn.Parameter(torch.full((channels,), math.log(math.e - 1.0)))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        return functional.conv2d(torch.tanh(self.norm(self.inward(x))), self.outward())

    def outward(self) -> Tensor:
        """A^T diag(a), (channel, channel, 1, 1)."""
        return self.inward.weight.transpose(0, 1) * functional.softplus(self.strength)[None, :, None, None]

    def folded_by(self, factor: float) -> nn.Sequential:
        """`factor` times this shear, in evaluation, as two convolutions with a sigmoid between them."""
        weight = self.outward().double() * (2.0 * factor)
        outward = constant_convolution(weight, -0.5 * weight.sum(dim=(1, 2, 3)), dtype=self.strength.dtype)
        return nn.Sequential(scaled(normalised(self.inward, self.norm), 2.0), nn.Sigmoid(), outward)


class SymplecticCoupling(nn.Module):
    """q' = q + eps grad T(p), then p' = p - eps grad U(q'), with T and U of `SymplecticShear` (the strict form)."""

    def __init__(self, channels: int, *, bounded: bool) -> None:
        super().__init__()
        self.kinetic = SymplecticShear(channels)
        self.potential = SymplecticShear(channels)
        self.step = StepSize(bounded=bounded)

    def forward(self, q: Tensor, p: Tensor) -> Tensor:
        """Return [q'; p'], (batch, 2 channel, height, width)."""
        step = self.step()
        q = q + step * self.kinetic(p)
        p = p - step * self.potential(q)
        return torch.cat((q, p), dim=1)

    def folded(self) -> nn.Module:
        """The same with the step and its sign inside the shears."""
        step = self.step().item()
        return FoldedSymplecticCoupling(self.kinetic.folded_by(step), self.potential.folded_by(-step))


class FoldedSymplecticCoupling(nn.Module):
    """q' = q + kinetic(p), p' = p + potential(q')."""

    def __init__(self, kinetic: nn.Module, potential: nn.Module) -> None:
        super().__init__()
        self.kinetic = kinetic
        self.potential = potential

    def forward(self, q: Tensor, p: Tensor) -> Tensor:
        """Return [q'; p'], (batch, 2 channel, height, width)."""
        q = q + self.kinetic(p)
        return torch.cat((q, p + self.potential(q)), dim=1)


def coupling(channels: int, physics: Physics, *, bounded: bool) -> FreeCoupling | SymplecticCoupling:
    """The coupling of `channels` positions with as many momenta, in one of the two forms."""
    kind = FreeCoupling if physics == "paper" else SymplecticCoupling
    return kind(channels, bounded=bounded)
