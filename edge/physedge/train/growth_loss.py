"""What a network with a tumour model is held to besides naming the right class.

With the equation inside the network its residual is 0 by construction. What is left to ask for:

    L_mass    of "no tumour" the density's mass goes to 0; of a tumour it stays between 0.5 % and 25 % of the slice
    L_region  of a tumour the density that a unit of its mass sees, sum u_0² / sum u_0, is at least one half: without it
              a faint haze all over the slice has mass enough; not where known densities say what a region is
    L_smooth  mean |grad u_0|, so that a density is a region and no texture
    L_step    mean square of u_T with T steps less u_T with 2 T steps: parameters for which the steps are too long cost
    L_loc     with `--densities` only: u_0 against known densities, see `physedge.train.lesions`
    L_front   likewise: what u_0's front tells of D / rho against what the known density's tells
    L_clear   likewise: cross-entropy of u_0 with 0 everywhere in the pictures of "no tumour"
    L_prior   squared places of D and rho about the middle of their (logarithmic) ranges, from -1 to 1

L_mass is taken in logarithms, since the mass of a slice runs over two decades and what matters is its order.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from physedge.models.physnet import TumourModel
from physedge.train.lesions import Grafted, outside_of_brain

MASS_WEIGHT, REGION_WEIGHT, SMOOTH_WEIGHT, STEP_WEIGHT, PRIOR_WEIGHT = 0.1, 0.1, 0.01, 0.05, 0.01
LOCATION_WEIGHT, OUTSIDE_WEIGHT, RATIO_WEIGHT, FRONT_WEIGHT, CLEAR_WEIGHT = 1.0, 0.1, 0.3, 0.3, 1.0
LEAST_TUMOUR_MASS, MOST_TUMOUR_MASS, LEAST_CONCENTRATION = 0.005, 0.25, 0.5
# A front that nothing of reaches one half is none: D / rho cannot be seen.
_LEAST_PEAK = 0.5
# A mass of this share counts as one.
_MASS_UNIT = 0.002
_TINY = 1e-6


def growth_loss(
    block: TumourModel, answers: Mapping[str, Tensor], is_tumour: Tensor, *, asks_for_region: bool = True
) -> Tensor:
    """The weighted sum of the first five.

    Args:
        block: Of the network that answered.
        answers: Of the network; `density`, `D_mm2_per_day` and `rho_per_day` among them.
        is_tumour: bool (batch,); False for the class without a tumour.
        asks_for_region: Whether L_region is one of them.
    """
    density = answers["density"]
    diffusivity, growth = answers["D_mm2_per_day"], answers["rho_per_day"]
    total = MASS_WEIGHT * mass_loss(density[:, 0].mean(dim=(1, 2)), is_tumour)
    if asks_for_region:
        total = total + REGION_WEIGHT * region_loss(density[:, 0], is_tumour)
    total = total + SMOOTH_WEIGHT * smooth_loss(density[:, :1])
    if block.spec.evolves:
        finer = block.growth.evolve(density[:, :1], diffusivity[:, :, None, None], growth[:, :, None, None], refine=2)
        total = total + STEP_WEIGHT * (density[:, -1] - finer[:, -1]).square().mean()
    return total + PRIOR_WEIGHT * prior_loss(block, diffusivity, growth)


def location_loss(density: Tensor, known: Tensor, truth: Tensor) -> Tensor:
    """L_loc: what the overlap 2 sum(u v) / sum(u² + v²) lacks, smallest at u = v, and the cross-entropy, where known.

    Args:
        density: u_0, (batch, 1, row, column).
        known: How much a cell counts, of the same shape; 1 where the truth is known.
        truth: v, of the same shape, 0 to 1.
    """
    u, v = density * known, truth * known
    overlap = (2.0 * (u * v).sum(dim=(1, 2, 3)) + 1.0) / ((u.square() + v.square()).sum(dim=(1, 2, 3)) + 1.0)
    cross = functional.binary_cross_entropy(density.clamp(_TINY, 1.0 - _TINY), truth, reduction="none") * known
    return (1.0 - overlap).mean() + (cross.sum(dim=(1, 2, 3)) / known.sum(dim=(1, 2, 3)).clamp(min=1.0)).mean()


def graft_loss(block: TumourModel, density: Tensor, place: Tensor, grafted: Grafted) -> Tensor:
    """The weighted sum of L_loc and, where a front is seen, of L_front and the squared error of log(D / rho).

    Cells of which nothing is known count the less the denser they are answered, by (1 - u_0)²: what the network takes
    for a tumour in a picture with one may be that tumour, and is not held against it.

    Args:
        block: Of the network that answered.
        density: u_0 of the pictures, (batch, 1, row, column).
        place: Of D and rho in their ranges, (batch, 2).
        grafted: What is known of them.
    """
    values = block.parameter.low + block.parameter.span * place
    missed = values[:, :1] - values[:, 1:] - grafted.log_ratio
    seen = (grafted.density.amax(dim=(2, 3)) > _LEAST_PEAK).float()
    certain = (grafted.known == 1).float()
    known = grafted.known * torch.maximum(certain, (1.0 - density.detach()).square())
    located = location_loss(density, known, grafted.density)
    ratio = (missed.square() * seen).sum() / seen.sum().clamp(min=1.0)
    return LOCATION_WEIGHT * located + RATIO_WEIGHT * ratio + FRONT_WEIGHT * front_loss(block, density, grafted, seen)


def front_loss(block: TumourModel, density: Tensor, grafted: Grafted, seen: Tensor) -> Tensor:
    """Squared error of log(D / rho) as the front of u_0 tells it, against the front of the known density.

    Args:
        block: Of the network that answered.
        density: u_0 of the pictures, (batch, 1, row, column).
        grafted: What is known of them.
        seen: 1 where a lesion's front is to be seen, else 0, (batch, 1).
    """
    if block.parameter.mode != "image":  # D and rho of every picture are the same, and nothing reads the front
        return density.new_zeros(())
    counted = (grafted.known == 1).float()
    told, known = (block.parameter.front(u, counted) for u in (density, grafted.density))
    missed: Tensor = 2.0 * (told - known)
    return (missed.square() * seen).sum() / seen.sum().clamp(min=1.0)


def clear_loss(density: Tensor, is_tumour: Tensor) -> Tensor:
    """Cross-entropy of u_0 (batch, 1, row, column) with 0 everywhere in pictures without a tumour."""
    cost = -torch.log1p(-density.clamp(max=1.0 - _TINY)).mean(dim=(1, 2, 3))
    return CLEAR_WEIGHT * torch.where(is_tumour, torch.zeros_like(cost), cost).mean()


def outside_loss(density: Tensor, pictures: Tensor) -> Tensor:
    """What of u_0 (batch, 1, row, column) lies outside of the head or in the scalp, in logarithms as L_mass."""
    outside = outside_of_brain(pictures)
    return OUTSIDE_WEIGHT * torch.log1p((density * outside).mean(dim=(1, 2, 3)) / _MASS_UNIT).mean()


def mass_loss(mass: Tensor, is_tumour: Tensor) -> Tensor:
    """L_mass of masses (batch,), as shares of the slice."""
    empty = torch.log1p(mass / _MASS_UNIT)
    bounded = torch.relu(torch.log(LEAST_TUMOUR_MASS / (mass + _TINY))) + torch.relu(
        torch.log((mass + _TINY) / MOST_TUMOUR_MASS)
    )
    return torch.where(is_tumour, bounded, empty).mean()


def region_loss(density: Tensor, is_tumour: Tensor) -> Tensor:
    """L_region of densities (batch, row, column), in logarithms as L_mass."""
    seen = density.square().sum(dim=(1, 2)) / (density.sum(dim=(1, 2)) + _TINY)
    missing = torch.relu(torch.log(LEAST_CONCENTRATION / (seen + _TINY)))
    return torch.where(is_tumour, missing, torch.zeros_like(missing)).mean()


def smooth_loss(density: Tensor) -> Tensor:
    """L_smooth of (batch, 1, row, column)."""
    down, across = density.diff(dim=2).abs().mean(), density.diff(dim=3).abs().mean()
    return down + across


def prior_loss(block: TumourModel, diffusivity: Tensor, growth: Tensor) -> Tensor:
    """L_prior of D and rho (batch, 1)."""
    values = torch.cat([diffusivity, growth], dim=1).log()
    place = (values - block.parameter.low) / block.parameter.span
    return (2.0 * place - 1.0).square().mean()
