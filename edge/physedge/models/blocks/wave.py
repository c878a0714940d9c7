"""A wave on the pixel grid: positions q and momenta p, moved in turns by gradients of an energy (the device form).

    q' = q + grad T(p),   T(p) = sum a F(BN(A p))        A: a pointwise convolution
    p' = p - grad U(q'),  U(q) = sum b F(BN(B q))        B: a kernel a channel, then a pointwise convolution

F is half the square of the positive part, so F' is ReLU. Each of the two moves is the gradient of a function of the
other half of the state, and therefore symplectic on the whole grid, whatever the weights: J^T Omega J = Omega. The
outward convolution of a move is the adjoint of its inward one, border included, so a move has the weights of one
convolution and the work of two. ReLU and the sums are what every engine computes inside its convolutions.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.convolution import ConvNorm, depthwise, pointwise
from physedge.models.blocks.derivative import DirectionalDerivative
from physedge.models.blocks.fold import constant_convolution, constant_depthwise, normalised

_START = 0.5
"""Of the strengths a and b: the state grows slowly with the number of moves."""


class EnergyGradient(nn.Module):
    """The gradient of sum a ReLU(BN(A x))^2 / 2 with respect to x, but for the constant scale of BN.

    Attributes:
        spread: One kernel a channel before the mixing; None where A is pointwise.
        inward: The mixing, (width, channel, 1, 1).
        norm: BN.
        strength: a = softplus(strength), (width,).
    """

    def __init__(self, channels: int, width: int, kernel_size: int = 1) -> None:
        super().__init__()
        self.spread = depthwise(channels, kernel_size) if kernel_size > 1 else None
        self.inward = pointwise(channels, width)
        self.norm = nn.BatchNorm2d(width)
        self.strength = nn.Parameter(torch.full((width,), math.log(math.expm1(_START))))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        spread = x if self.spread is None else self.spread(x)
        gathered = functional.conv2d(torch.relu(self.norm(self.inward(spread))), self.outward())
        if self.spread is None:
            return gathered
        kernel = self.spread.weight.flip(2, 3)
        return functional.conv2d(gathered, kernel, padding=kernel.shape[-1] // 2, groups=kernel.shape[0])

    def start_from_derivatives(self) -> None:
        """Begin with derivatives, in directions spread over half a turn, plus a little of the place itself."""
        if self.spread is not None:
            kernel = DirectionalDerivative(self.spread.out_channels).kernel().detach()
            with torch.no_grad():
                self.spread.weight.mul_(0.1)
                margin = (self.spread.kernel_size[0] - 3) // 2
                self.spread.weight += functional.pad(kernel, (margin,) * 4)

    def outward(self) -> Tensor:
        """A^T diag(a), (channel, width, 1, 1): the adjoint of the mixing, weighted."""
        return self.inward.weight.transpose(0, 1) * functional.softplus(self.strength)[None, :, None, None]

    def folded_by(self, factor: float) -> nn.Sequential:
        """`factor` times this gradient, in evaluation, as convolutions with a ReLU between them."""
        dtype = self.strength.dtype
        outward = constant_convolution(self.outward().double() * factor, dtype=dtype)
        mixed: list[nn.Module] = [normalised(self.inward, self.norm), nn.ReLU(), outward]
        if self.spread is None:
            return nn.Sequential(*mixed)
        kernel = self.spread.weight
        return nn.Sequential(
            constant_depthwise(kernel, dtype=dtype), *mixed, constant_depthwise(kernel.flip(2, 3), dtype=dtype)
        )


class WaveCoupling(nn.Module):
    """q' = q + grad T(p), then p' = p - grad U(q')."""

    def __init__(self, channels: int, width: int, kernel_size: int) -> None:
        super().__init__()
        self.kinetic = EnergyGradient(channels, width)
        self.potential = EnergyGradient(channels, width, kernel_size)

    def forward(self, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Return q' and p', (batch, channel, height, width) each."""
        q = q + self.kinetic(p)
        return q, p - self.potential(q)

    def folded(self) -> nn.Module:
        """The same with the sign inside the convolutions."""
        return FoldedWaveCoupling(self.kinetic.folded_by(1.0), self.potential.folded_by(-1.0))


class FoldedWaveCoupling(nn.Module):
    """q' = q + kinetic(p), p' = p + potential(q')."""

    def __init__(self, kinetic: nn.Module, potential: nn.Module) -> None:
        super().__init__()
        self.kinetic = kinetic
        self.potential = potential

    def forward(self, q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        """Return q' and p', (batch, channel, height, width) each."""
        q = q + self.kinetic(p)
        return q, p + self.potential(q)


class WaveStage(nn.Module):
    """A map taken in by a strided convolution as positions, its derivative as momenta, both moved, then mixed.

    The momenta begin as the derivative of the positions along one learned direction a channel.
    """

    def __init__(self, inputs: int, channels: int, moves: int, *, kernel_size: int = 3, entrance: int = 2) -> None:
        super().__init__()
        entering = nn.Conv2d(inputs, channels, entrance, stride=2, padding=(entrance - 1) // 2, bias=False)
        self.entrance = ConvNorm(entering, activation=nn.ReLU())
        self.derivative = DirectionalDerivative(channels)
        self.moves = nn.ModuleList(WaveCoupling(channels, channels, kernel_size) for _ in range(moves))
        self.mix = ConvNorm(pointwise(2 * channels, channels), activation=nn.ReLU())

    def start_from_derivatives(self) -> None:
        """Let the kernels of the potential energy begin as derivatives: a wave is driven by differences."""
        for move in self.moves:
            assert isinstance(move, WaveCoupling)
            move.potential.start_from_derivatives()

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, channel, height/2, width/2)."""
        q = self.entrance(x)
        p = self.derivative(q)
        for move in self.moves:
            q, p = move(q, p)
        mixed: Tensor = self.mix(torch.cat((q, p), dim=1))
        return mixed
