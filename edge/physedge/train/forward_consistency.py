"""Training from measured voltages alone: an image is right as far as the body it shows would answer what was measured.

    max(0, | W (d - J x - m) |^2 - 1) + anchor * | x - x0 |^2 / | x0 |^2

d are the measured differences, x the network's image, x0 its image before. J x is what a linear body answers; the true
image does not answer d either, since no body is linear. What is left of true images has the mean m and the covariance
(W'W)^-1, both taken from simulated bodies: the approximation error (Kaipio and Somersalo, J. Comput. Appl. Math. 198,
2007). True images leave 1 in the mean over voltages, and no image is asked to answer better than they do: that would be
to fit the noise. The anchor holds what the voltages say nothing about, which is most of an image.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from physedge.models.impedance import ImpedanceNetwork
from physedge.physics.eit.embed import protocol_of
from physedge.physics.eit.symmetry import symmetries
from physedge.train.turned_bodies import changed_frames

_SHRINK = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproximationError:
    """What a linear body's answer to a true image leaves of the measured differences.

    Attributes:
        mean: (voltage,).
        whitener: (voltage, voltage), W: a whitened rest has a mean square of 1 a voltage.
    """

    mean: Tensor
    whitener: Tensor

    def misfit(self, rests: Tensor) -> Tensor:
        """(sample,): mean square of whitened rests (sample, voltage); about 1 where the image is the true one."""
        return ((rests - self.mean) @ self.whitener.T).square().mean(dim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptOptions:
    """How a network is fitted to voltages.

    Attributes:
        steps: Of Adam.
        batch: Measurements a step.
        learning_rate: At the beginning; it falls to 0 along a cosine.
        anchor: Weight of the distance from the images of the network as it was.
        seed: Of the order and of the symmetries.
    """

    steps: int = 150
    batch: int = 24
    learning_rate: float = 3e-4
    anchor: float = 1.0
    seed: int = 0


@torch.no_grad()
def approximation_error(network: ImpedanceNetwork, frames: Tensor, truths: Tensor) -> ApproximationError:
    """Learn it from simulated measurements.

    Args:
        network: With its physics.
        frames: (sample, 2, voltage).
        truths: (sample, height, width).
    """
    rests = (network.difference(frames) - network.operator(truths[:, None])).double()
    mean = rests.mean(dim=0)
    centred = rests - mean
    bare = centred.T @ centred / len(rests)
    share = min(0.5, bare.shape[0] / (_SHRINK * len(rests)))
    covariance = (1 - share) * bare + share * torch.diag(bare.diagonal())
    whitener = torch.linalg.cholesky(torch.linalg.inv(covariance)).T
    return ApproximationError(mean=mean.float(), whitener=whitener.float())


@torch.no_grad()
def forward_misfit(network: ImpedanceNetwork, frames: Tensor, error: ApproximationError) -> Tensor:
    """(sample,): how far the images of measurements (sample, 2, voltage) are from answering them."""
    difference = network.difference(frames)
    image, _linear = network.reconstruct(difference, torch.zeros(len(frames), dtype=torch.int64))
    return error.misfit(difference - network.operator(image))


def adapt(
    network: ImpedanceNetwork,
    frames: Tensor,
    error: ApproximationError,
    options: AdaptOptions = AdaptOptions(),
    *,
    advance: Callable[[], object] = lambda: None,
) -> tuple[float, float]:
    """Fit the learned part of a network to measurements; no image of any is known.

    Norms keep the statistics they have: a few dozen measurements are no distribution.

    Args:
        network: Trained, or fresh; it is changed.
        frames: (sample, 2, voltage).
        error: Learnt from simulated measurements.
        options: How.
        advance: Called after every step.

    Returns:
        The mean misfit before and after.
    """
    generator = torch.Generator().manual_seed(options.seed)
    known = symmetries(protocol_of(network.voltages))
    network.eval()
    before = copy.deepcopy(network).eval()
    parameters = list(network.refinement.parameters())
    optimiser = torch.optim.Adam(parameters, lr=options.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.steps)
    first = float(forward_misfit(network, frames, error).mean())
    count = min(options.batch, len(frames))
    for _ in range(options.steps):
        drawn = known[int(torch.randint(len(known), (), generator=generator))]
        chosen = frames[torch.randperm(len(frames), generator=generator)[:count]]
        chosen = changed_frames(chosen, drawn)
        none_left_out = torch.zeros(count, dtype=torch.int64)
        difference = network.difference(chosen)
        image, _linear = network.reconstruct(difference, none_left_out)
        with torch.no_grad():
            anchor, _linear = before.reconstruct(difference, none_left_out)
        moved = (image - anchor).square().sum(dim=(1, 2, 3)) / anchor.square().sum(dim=(1, 2, 3)).clamp_min(1e-6)
        excess = (error.misfit(difference - network.operator(image)) - 1.0).clamp_min(0.0)
        loss = excess.mean() + options.anchor * moved.mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        advance()
    return first, float(forward_misfit(network, frames, error).mean())
