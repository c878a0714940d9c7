"""The physics in the graph of an impedance network: differences, linear images, and doubts about its data.

Everything here is linear algebra with constants and stays in floating point: voltages span decades, and an eighth bit
of them is worth more than a convolution's (`keep_float`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from physedge_runtime.frame import VoltageSpec

if TYPE_CHECKING:
    from physedge.physics.eit.embed import EmbeddedPhysics
    from physedge_runtime.voltage_protocol import VoltageProtocol

_QUIET_SHARE = 0.05
_FLOOR = 1e-12
NEVER = 1e9
_STRONG = 0.2
"""Size of a linear image, in ln conductivity, from where on it counts as strong."""
_CALM = 1.5
_NOISE_SHARE = 0.25
_SILENT = 4.0
"""Bodies next to an electrode make its voltages smaller, too, but not by that."""


def _float(shape: tuple[int, ...]) -> Tensor:
    return torch.zeros(shape, dtype=torch.float32)


class InFloat(nn.Module):
    """Runs one function of the physics as an island in floating point.

    Islands are known by the modules that a graph's nodes come from; what a method computes would count as its caller's.

    Args:
        function: A method of a module, or a function; its buffers stay where they are.
    """

    keep_float: ClassVar[bool] = True

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *arguments: Tensor) -> Tensor:
        """What the function answers."""
        return self._function(*arguments)


class VoltageDifference(nn.Module):
    """From reference and frame to differences in units of a body of conductivity 1.

    A voltage that is large enough is divided by its own reference, which cancels its channel's gain; the others are
    scaled by the gain that all channels have in common. A channel without any reference counts for nothing.
    """

    keep_float: ClassVar[bool] = True
    frame: Tensor
    is_stable: Tensor

    def __init__(self, spec: VoltageSpec) -> None:
        super().__init__()
        self.register_buffer("frame", _float((spec.count,)))
        self.register_buffer("is_stable", _float((spec.count,)))

    def forward(self, voltages: Tensor) -> Tensor:
        """Map volts (batch, 2, voltage), the reference first, to differences (batch, voltage)."""
        reference, now = voltages[:, 0], voltages[:, 1]
        gain = self.common_gain(reference)
        quiet = _QUIET_SHARE * self.frame / gain
        own = self.frame * reference / (reference.square() + quiet.square() + _FLOOR)
        scale = self.is_stable * own + (1.0 - self.is_stable) * gain
        return (now - reference) * scale

    def common_gain(self, reference: Tensor) -> Tensor:
        """(batch, 1): the factor that brings the reference nearest to the homogeneous body."""
        power = reference.square().sum(dim=1, keepdim=True) + _FLOOR
        return (reference * self.frame).sum(dim=1, keepdim=True) / power

    def misfit(self, reference: Tensor) -> Tensor:
        """(batch, 1): distance of a reference from the homogeneous body after scaling, over that body's size."""
        apart = self.common_gain(reference) * reference - self.frame
        return (apart.square().sum(dim=1, keepdim=True) / (self.frame.square().sum() + _FLOOR)).sqrt()

    def load(self, physics: EmbeddedPhysics) -> None:
        """Take the physics over."""
        self.frame.copy_(torch.from_numpy(physics.frame))
        self.is_stable.copy_(torch.from_numpy(physics.is_stable))


class LinearImages(nn.Module):
    """Linear images of several strengths from one low-rank matrix, with a bank for every electrode left out."""

    keep_float: ClassVar[bool] = True
    basis: Tensor
    cores: Tensor
    mask: Tensor

    def __init__(self, spec: VoltageSpec, *, side_px: int, strengths: int, rank: int) -> None:
        super().__init__()
        self.side_px, self.strengths, self.rank = side_px, strengths, rank
        self.register_buffer("basis", _float((side_px**2, rank)))
        self.register_buffer("cores", _float((spec.electrodes + 1, strengths * rank, spec.count)))
        self.register_buffer("mask", _float((side_px, side_px)))

    def forward(self, difference: Tensor, left_out: Tensor) -> Tensor:
        """Images (batch, strength, height, width).

        Args:
            difference: (batch, voltage).
            left_out: int64 (batch,): 0 for none, else the electrode counted from 1.
        """
        core = self.cores[left_out]
        coefficients = torch.bmm(core, difference.unsqueeze(2)).reshape(-1, self.rank)
        pixels = coefficients @ self.basis.T
        return pixels.reshape(-1, self.strengths, self.side_px, self.side_px)

    def load(self, physics: EmbeddedPhysics) -> None:
        """Take the physics over."""
        from physedge.physics.eit.pixels import disk_mask

        cores = torch.from_numpy(physics.cores).transpose(0, 1)
        self.cores.copy_(cores.reshape(self.cores.shape))
        self.basis.copy_(torch.from_numpy(physics.basis))
        self.mask.copy_(torch.from_numpy(disk_mask(self.side_px)).float())


class UnitSize(nn.Module):
    """Brings linear images to a size of 1, whatever the contrast, so that a network mends weak images like strong ones.

    A body of little contrast is a linear one: what is right for its image is right for a tenth of it. What a strong one
    needs depends on its strength, which is told as a number that goes to 0 for weak images.
    """

    keep_float: ClassVar[bool] = True

    def forward(self, linear: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images (batch, strength, height, width) over their size; that size and the strength, (batch, 1, 1, 1) each.

        The size is the root mean square of the first image within the mask.
        """
        power = (linear[:, :1] * mask).square().sum(dim=(2, 3), keepdim=True) / mask.sum()
        size = (power + _FLOOR).sqrt()
        return linear / size, size, size / (size + _STRONG)


class ForwardOperator(nn.Module):
    """The linearised body: what an image answers, and what differences say of an image; in low rank."""

    keep_float: ClassVar[bool] = True
    left: Tensor
    right: Tensor
    weight: Tensor

    def __init__(self, spec: VoltageSpec, *, side_px: int, rank: int) -> None:
        super().__init__()
        self.side_px = side_px
        self.register_buffer("left", _float((spec.count, rank)))
        self.register_buffer("right", _float((rank, side_px**2)))
        self.register_buffer("weight", _float((spec.count,)))
        self.gradient = InFloat(self._descend)

    def forward(self, image: Tensor) -> Tensor:
        """Differences (batch, voltage) of an image (batch, 1, height, width)."""
        return (image.flatten(1) @ self.right.T) @ self.left.T

    def _descend(self, image: Tensor, difference: Tensor) -> Tensor:
        """J' W (J x - d), W the inverse noise covariance: (batch, 1, height, width)."""
        return self.back(self(image) - difference)

    def back(self, difference: Tensor) -> Tensor:
        """J' times the inverse noise covariance times a difference: (batch, 1, height, width)."""
        pixels = ((difference * self.weight) @ self.left) @ self.right
        return pixels.reshape(-1, 1, self.side_px, self.side_px)

    def load(self, physics: EmbeddedPhysics) -> None:
        """Take the physics over; the weights are scaled so that a gradient step of 1 is about right."""
        self.left.copy_(torch.from_numpy(physics.jacobian_left))
        self.right.copy_(torch.from_numpy(physics.jacobian_right))
        inverse = torch.from_numpy(physics.noise).double().pow(-2)
        scaled = self.left.double() * inverse.sqrt()[:, None]
        largest = torch.linalg.matrix_norm(scaled @ self.right.double(), ord=2) ** 2
        self.weight.copy_((inverse / largest).float())


class Doubts(nn.Module):
    """What the voltages themselves say about the measurement; every number rises with doubt.

    `reciprocity` needs no model: current and voltage electrodes change places. `blame` says by how much the whitened
    difference falls when an electrode is left out, against the same of all other electrodes; the largest names the
    suspect. `residual` is the whitened rest that the image does not explain.

    Covariances are those of clean simulated data (`learn`).
    """

    keep_float: ClassVar[bool] = True
    first: Tensor
    second: Tensor
    ratio: Tensor
    blame_weight: Tensor
    blame_scale: Tensor
    residual_mean: Tensor
    residual_whitener: Tensor
    limit: Tensor
    noise: Tensor
    frame: Tensor
    touches: Tensor

    def __init__(self, spec: VoltageSpec, protocol: VoltageProtocol) -> None:
        super().__init__()
        first, second, ratio = (torch.from_numpy(part) for part in protocol.reciprocal_pairs())
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)
        self.register_buffer("ratio", ratio.float(), persistent=False)
        most = int(protocol.touches().sum(axis=1).max())
        self.register_buffer("blame_weight", _float((spec.electrodes, most, spec.count)))
        self.register_buffer("blame_scale", torch.ones(spec.electrodes))
        self.register_buffer("residual_mean", _float((spec.count,)))
        self.register_buffer("residual_whitener", _float((spec.count, spec.count)))
        self.register_buffer("limit", torch.full((), NEVER))
        self.register_buffer("noise", _float((spec.count,)))
        self.register_buffer("frame", _float((spec.count,)))
        self.register_buffer("touches", torch.from_numpy(protocol.touches()).float(), persistent=False)
        self.has_pairs = len(first) > 0

    def load(self, physics: EmbeddedPhysics) -> None:
        """Take the noise over that is expected of any device, and the homogeneous frame."""
        self.noise.copy_(torch.from_numpy(physics.noise))
        self.frame.copy_(torch.from_numpy(physics.frame))

    def reciprocity(self, difference: Tensor, frame: Tensor) -> Tensor:
        """(batch, 1): distance of the differences from their reciprocals, over the size of a homogeneous frame.

        Of differences, not of voltages: gains of channels that were there at the reference already cancel in them.
        """
        apart = difference[:, self.first] - self.ratio * difference[:, self.second]
        return (apart.square().sum(dim=1, keepdim=True) / (frame.square().sum() + _FLOOR)).sqrt()

    def blame(self, difference: Tensor) -> Tensor:
        """(batch, electrode), about 1 on clean data: how far one electrode stands out from the others.

        What all electrodes share, as noise, is no reason to leave one of them out: each is held against the mean of
        the others, the worst left aside. Where the voltages of an electrode vanish altogether, which no body makes
        them do, it is blamed the more.
        """
        size = self._raw_blame(difference)
        usual = (size.sum(dim=1, keepdim=True) - size.amax(dim=1, keepdim=True)) / (size.shape[1] - 1)
        return size * (1.0 + _CALM) / (usual + _CALM) * (self._silence(difference) / _SILENT).clamp_min(1.0)

    def _silence(self, difference: Tensor) -> Tensor:
        """(batch, electrode): how many times smaller the voltages of an electrode are than in the homogeneous body."""
        now = (difference + self.frame).square() @ self.touches.T
        return (self.frame.square() @ self.touches.T / (now + _FLOOR)).sqrt()

    def _raw_blame(self, difference: Tensor) -> Tensor:
        part = torch.einsum("emv,bv->bem", self.blame_weight, difference)
        return part.square().mean(dim=2).sqrt() / self.blame_scale

    def suspect(self, blame: Tensor) -> Tensor:
        """int64 (batch,): 0 where no electrode is beyond the limit, else the one blamed most, counted from 1."""
        worst, place = blame.max(dim=1)
        return torch.where(worst > self.limit, place + 1, torch.zeros_like(place))

    @torch.no_grad()
    def learn(self, differences: Tensor, touches: Tensor, rate: float = 0.01) -> None:
        """Take the covariance of clean data over, for `blame`, and the limit from where on an electrode is left out.

        The limit is the largest blame that `rate` of clean frames exceed, each judged by the covariance of the other
        half: a covariance flatters the frames that it was taken from.

        Args:
            differences: (sample, voltage); neighbours may be of one body.
            touches: bool (electrode, voltage): which voltages an electrode has to do with.
            rate: Of false alarms.
        """
        middle = len(differences) // 2
        halves = differences[:middle], differences[middle:]
        worst = []
        for seen, judged in (halves, halves[::-1]):
            self._learn_covariance(seen, touches)
            worst.append(self.blame(judged).amax(dim=1))
        self._learn_covariance(differences, touches)
        self.limit.copy_(torch.quantile(torch.cat(worst), 1.0 - rate))

    def _learn_covariance(self, differences: Tensor, touches: Tensor) -> None:
        values = differences.double()
        precision = torch.linalg.inv(self._covariance(values))
        self.blame_weight.zero_()
        self.blame_scale.fill_(1.0)
        for electrode, rows in enumerate(touches):
            place = rows.nonzero()[:, 0]
            block = torch.linalg.cholesky(precision[place][:, place])
            # r' B^-1 r is what the squared length loses when these rows are left out (B = L L').
            weight = torch.linalg.solve_triangular(block, precision[place], upper=False)
            self.blame_weight[electrode, : len(place)] = weight.float()
        self.blame_scale.copy_(self._raw_blame(differences).square().mean(dim=0).sqrt())

    @torch.no_grad()
    def learn_residual(self, rests: Tensor) -> None:
        """Take mean and covariance of what images of clean data leave unexplained over, for `residual`.

        Args:
            rests: (sample, voltage): differences less what the image answers.
        """
        values = rests.double()
        self.residual_mean.copy_(values.mean(dim=0))
        precision = torch.linalg.inv(self._covariance(values - values.mean(dim=0)))
        self.residual_whitener.copy_(torch.linalg.cholesky(precision).T)

    def residual(self, difference: Tensor, explained: Tensor) -> Tensor:
        """(batch, 1): the whitened rest, about 1 on clean data."""
        rest = difference - explained - self.residual_mean
        return (rest @ self.residual_whitener.T).square().mean(dim=1, keepdim=True).sqrt()

    def _covariance(self, values: Tensor) -> Tensor:
        """(voltage, voltage) of (sample, voltage) of mean 0, with some of the device's noise in every direction.

        Of too few samples the smallest directions are chance; noise gives them the least size that they can have. To
        draw the covariance towards its own diagonal instead would give them a share of what bodies do, which is larger
        by orders, and hide faults in it.
        """
        floor = torch.diag(_NOISE_SHARE * self.noise.double().square())
        found: Tensor = values.T @ values / len(values) + floor
        return found
