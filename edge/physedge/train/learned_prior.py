"""A learned regulariser as the prior of a Gauss-Newton loop: what images look like, learnt from images alone.

    x <- D(x) + K (d - F(D(x))),    D(x) = x - grad R(x)

R is the explicit regulariser, trained so that one step down its gradient takes noise out of true images
(gradient-step denoiser: Hurault, Leclaire, Papadakis, ICLR 2022); K is the Gauss-Newton step of the homogeneous body
with its Gaussian prior, F what a body answers: linear, or the complete electrode model. No voltage takes part in the
training, so that one regulariser serves every number of electrodes and every protocol.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from physedge.models.eit_unrolled import LearnedRegulariser
from physedge.physics.eit.linear import LinearReconstruction

Answer = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From an image (height, width) to the differences (voltage,) that its body gives."""


def denoised(regulariser: LearnedRegulariser, images: Tensor, *, is_training: bool = False) -> Tensor:
    """One step down the gradient of the regulariser, summed over pixels: images (batch, 1, height, width)."""
    with torch.enable_grad():
        images = images if images.requires_grad else images.detach().requires_grad_()
        energy = regulariser(images).sum() * images[0].numel()
        (slope,) = torch.autograd.grad(energy, images, create_graph=is_training)
    return images - slope if is_training else (images - slope).detach()


def learn_regulariser(
    regulariser: LearnedRegulariser,
    images: NDArray[np.float32],
    *,
    steps: int = 400,
    batch: int = 8,
    noise: float = 0.2,
    learning_rate: float = 2e-3,
    seed: int = 0,
    advance: Callable[[float], object] = lambda _loss: None,
) -> None:
    """Train a regulariser as a denoiser of true images.

    Args:
        regulariser: It is changed.
        images: (sample, height, width), true ones.
        steps: Of Adam.
        batch: Images a step.
        noise: Largest standard deviation of the noise, in ln conductivity; each image gets its share of it.
        learning_rate: At the beginning; it falls to 0 along a cosine.
        seed: Of order and noise.
        advance: Called after every step with the loss: the mean squared rest over the mean squared noise.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(regulariser.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    known = torch.from_numpy(images)[:, None].float()
    for _ in range(steps):
        true = known[torch.randint(len(known), (batch,), generator=generator)]
        level = noise * torch.rand((batch, 1, 1, 1), generator=generator)
        found = denoised(regulariser, true + level * torch.randn(true.shape, generator=generator), is_training=True)
        loss = (found - true).square().mean() / (noise**2 / 3)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(regulariser.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        advance(float(loss.detach()))


def gauss_newton_with_prior(
    regulariser: LearnedRegulariser,
    step: LinearReconstruction,
    answer: Answer,
    difference: NDArray[np.float64],
    *,
    side_px: int,
    steps: int = 8,
) -> NDArray[np.float64]:
    """The image (height, width) that a few steps end at, from the linear image on.

    Args:
        regulariser: Trained.
        step: From what is left of the differences to a change of the image.
        answer: What an image's body answers.
        difference: (voltage,), measured.
        side_px: Of the square image.
        steps: Of the loop; 0 gives the linear image.
    """
    image = step(difference).reshape(side_px, side_px)
    for _ in range(steps):
        tensor = torch.from_numpy(image).float()[None, None]
        smooth = denoised(regulariser, tensor)[0, 0].double().numpy()
        image = smooth + step(difference - answer(smooth)).reshape(side_px, side_px)
    return image
