"""Simulated bodies turned by whole electrodes and mirrored, in voltages and pixels, on whatever device they lie."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from physedge.physics.eit.symmetry import Symmetry

_QUARTER_DEG = 90.0
_SMOOTH_PX = 1.5
_LEAST_WEIGHT = 1e-2


def changed_frames(frames: Tensor, symmetry: Symmetry) -> Tensor:
    """Voltages (..., voltage) of the changed bodies; exact."""
    place, factor = torch.from_numpy(symmetry.place), torch.from_numpy(symmetry.factor)
    return frames[..., place.to(frames.device)] * factor.to(frames.device)


def changed_images(images: Tensor, symmetry: Symmetry) -> Tensor:
    """Images (batch, height, width) of the changed bodies; exact but for the part of a turn beyond whole quarters."""
    mirrored = images.flip(-1) if symmetry.is_mirrored else images
    quarters = math.floor(symmetry.turn_deg / _QUARTER_DEG + 1e-9)
    return turned_images(torch.rot90(mirrored, quarters, dims=(-2, -1)), symmetry.turn_deg - quarters * _QUARTER_DEG)


def turned_images(images: Tensor, turn_deg: float) -> Tensor:
    """Images (batch, height, width) after a turn counter-clockwise, by cubic interpolation."""
    if abs(turn_deg) < 1e-9:
        return images
    turn = math.radians(turn_deg)
    cos, sin = math.cos(turn), math.sin(turn)
    table = torch.tensor([[[cos, -sin, 0.0], [sin, cos, 0.0]]], dtype=images.dtype, device=images.device)
    grid = functional.affine_grid(table, [1, 1, *images.shape[-2:]], align_corners=False)
    turned = functional.grid_sample(
        images[:, None], grid.expand(len(images), -1, -1, -1), mode="bicubic", align_corners=False
    )
    return turned[:, 0]


def smoothed_images(images: Tensor, mask: Tensor) -> Tensor:
    """Images (batch, height, width), each pixel the mean with Gaussian weights of those of the mask around it.

    Turned images are held against each other in this form: interpolation leaves nothing of it that a network could be
    blamed for (`physedge.physics.eit.plausibility`).
    """
    at = torch.arange(images.shape[-1], dtype=images.dtype, device=images.device)
    weights = torch.exp(-0.5 * ((at[:, None] - at) / _SMOOTH_PX) ** 2)
    whole: Tensor = weights @ mask @ weights
    smoothed: Tensor = weights @ (images * mask) @ weights / whole.clamp_min(_LEAST_WEIGHT)
    return smoothed
