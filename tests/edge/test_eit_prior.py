"""A learned regulariser takes noise out of images, and serves Gauss-Newton as a prior."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from physedge.models.eit_unrolled import LearnedRegulariser
from physedge.physics.eit.linear import LinearReconstruction
from physedge.physics.eit.phantoms import draw_phantom
from physedge.train.learned_prior import denoised, gauss_newton_with_prior, learn_regulariser

SIDE_PX = 32


def true_images(count: int, seed: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.stack([draw_phantom(generator).image(SIDE_PX) for _ in range(count)])


@pytest.fixture(scope="module")
def regulariser() -> LearnedRegulariser:
    torch.manual_seed(0)
    built = LearnedRegulariser(width=6)
    losses: list[float] = []
    learn_regulariser(built, true_images(24, 0), steps=120, batch=4, learning_rate=5e-3, advance=losses.append)
    assert len(losses) == 120
    return built


def test_one_step_down_its_gradient_takes_noise_out(regulariser: LearnedRegulariser) -> None:
    true = torch.from_numpy(true_images(8, 1))[:, None]
    noisy = true + 0.15 * torch.randn(true.shape, generator=torch.Generator().manual_seed(1))
    found = denoised(regulariser, noisy)
    assert float((found - true).norm()) < 0.8 * float((noisy - true).norm())
    assert not found.requires_grad


def test_as_a_prior_it_fills_in_what_voltages_say_nothing_about(regulariser: LearnedRegulariser) -> None:
    """A third of random directions is measured, with the prior that all pixels are alike and independent."""
    generator = np.random.default_rng(2)
    truth = true_images(1, 3)[0].astype(np.float64)
    jacobian = generator.normal(size=(SIDE_PX**2 // 3, SIDE_PX**2)) / SIDE_PX
    difference = jacobian @ truth.ravel() + 0.02 * generator.normal(size=len(jacobian))
    core = np.linalg.solve(jacobian @ jacobian.T + 0.02**2 * np.eye(len(jacobian)), np.eye(len(jacobian)))
    step = LinearReconstruction(basis=jacobian.T, core=core.astype(np.float64))

    def error(steps: int) -> float:
        image = gauss_newton_with_prior(
            regulariser, step, lambda found: jacobian @ found.ravel(), difference, side_px=SIDE_PX, steps=steps
        )
        return float(np.linalg.norm(image - truth) / np.linalg.norm(truth))

    assert error(0) == pytest.approx(np.sqrt(2 / 3), abs=0.1)
    assert error(12) < 0.85 * error(0)
