"""Pictures changed while training: flips, one affine warp, colour; a whole batch at once, on its device.

Everything random comes from the generator that is handed in, so that a step sees the same pictures however often
and wherever it is run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from physedge.train.options import Augmentation


@dataclass(frozen=True, slots=True, kw_only=True)
class Strength:
    """How far a picture may be changed; every value is drawn evenly from its range.

    Attributes:
        flip_across: Chance of left-right.
        flip_down: Chance of top-bottom.
        rotation_deg: Either way.
        scale: Either way, as a factor: 1.3 means 1/1.3 to 1.3, evenly in the logarithm.
        shear: Either way, as a tangent.
        shift: Either way, as a share of the side.
        brightness: Either way, of the white level.
        contrast: Either way, as a factor.
        saturation: Either way, as a factor.
        tint: Either way, as a factor for each channel.
        noise: Standard deviation, of the white level; drawn from 0 to this.
        grey: All channels get the same noise, as a grey picture in three channels has.
    """

    flip_across: float = 0.0
    flip_down: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 1.0
    shear: float = 0.0
    shift: float = 0.0
    brightness: float = 0.0
    contrast: float = 1.0
    saturation: float = 1.0
    tint: float = 1.0
    noise: float = 0.0
    grey: bool = False


STRENGTHS: dict[Augmentation, Strength] = {
    # An endoscope has no up; lamps and white balances differ.
    "strong": Strength(
        flip_across=0.5,
        flip_down=0.5,
        rotation_deg=45.0,
        scale=1.4,
        shear=0.15,
        shift=0.12,
        brightness=0.12,
        contrast=1.3,
        saturation=1.5,
        tint=1.12,
        noise=0.03,
    ),
    # Ultrasound is lit from above.
    "mild": Strength(
        flip_across=0.5,
        rotation_deg=12.0,
        scale=1.2,
        shear=0.08,
        shift=0.08,
        brightness=0.08,
        contrast=1.2,
        saturation=1.1,
        tint=1.03,
        noise=0.02,
    ),
    # A slice of a head: left and right are alike, the receiver's gain and its field vary, there are no colours.
    "mri": Strength(
        flip_across=0.5,
        rotation_deg=15.0,
        scale=1.15,
        shear=0.05,
        shift=0.06,
        brightness=0.06,
        contrast=1.25,
        noise=0.03,
        grey=True,
    ),
    "none": Strength(),
}


def augment(
    pictures: Tensor, labels: Tensor, strength: Strength, generator: torch.Generator, size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Change a batch.

    Args:
        pictures: float32 (batch, channel, height, width), 0 to 1.
        labels: uint8 (batch, height, width).
        strength: How far.
        generator: On the processor, whatever the device of the batch.
        size: (height, width) of what comes back; the warp resizes too.

    Returns:
        Pictures float32 (batch, channel, *size), 0 to 1, and labels int64 (batch, *size).
    """
    if strength == Strength() and size == tuple(pictures.shape[2:]):
        return pictures, labels.long()
    grid = _places(pictures, strength, generator, size)
    warped = _warped(pictures, grid)
    planes = labels.unsqueeze(1).to(pictures.dtype)
    moved = functional.grid_sample(planes, grid, mode="nearest", padding_mode="reflection", align_corners=False)
    return recolour(warped, strength, generator), moved.squeeze(1).long()


def augment_pictures(pictures: Tensor, strength: Strength, generator: torch.Generator, size: tuple[int, int]) -> Tensor:
    """Change a batch of pictures that have no masks; see `augment`."""
    if strength == Strength() and size == tuple(pictures.shape[2:]):
        return pictures
    return recolour(_warped(pictures, _places(pictures, strength, generator, size)), strength, generator)


def _places(pictures: Tensor, strength: Strength, generator: torch.Generator, size: tuple[int, int]) -> Tensor:
    theta = affine(pictures.shape[0], strength, generator).to(pictures.device)
    return functional.affine_grid(theta, [pictures.shape[0], 1, *size], align_corners=False)


def _warped(pictures: Tensor, grid: Tensor) -> Tensor:
    # Mirrored at the border, picture and mask alike, so that no black edge is learned.
    return functional.grid_sample(pictures, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def affine(count: int, strength: Strength, generator: torch.Generator) -> Tensor:
    """Maps (batch, 2, 3) from output to input, in coordinates from -1 to 1, rotation and shear about the centre."""
    angle = _even(count, generator) * math.radians(strength.rotation_deg)
    scale = torch.exp(_even(count, generator) * math.log(strength.scale))
    shear = _even(count, generator) * strength.shear
    across, down = (
        1.0 - 2.0 * (torch.rand(count, generator=generator) < chance).float()
        for chance in (strength.flip_across, strength.flip_down)
    )
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = across * cosine
    theta[:, 0, 1] = across * (shear * cosine - sine)
    theta[:, 1, 0] = down * sine
    theta[:, 1, 1] = down * (shear * sine + cosine)
    theta[:, :, 2] = 2.0 * strength.shift * _even((count, 2), generator)
    return theta


def recolour(pictures: Tensor, strength: Strength, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation, tint and noise of (batch, channel, height, width), 0 to 1."""
    count, channels = pictures.shape[:2]

    def factor(limit: float, planes: int = 1) -> Tensor:
        drawn = torch.exp(_even((count, planes, 1, 1), generator) * math.log(limit))
        return drawn.to(pictures.device)

    contrast, saturation, tint = factor(strength.contrast), factor(strength.saturation), factor(strength.tint, channels)
    offset = (_even((count, 1, 1, 1), generator) * strength.brightness).to(pictures.device)
    sigma = torch.rand((count, 1, 1, 1), generator=generator) * strength.noise
    shape = (count, 1, *pictures.shape[2:]) if strength.grey else pictures.shape
    noise = (torch.randn(shape, generator=generator) * sigma).to(pictures.device)
    middle = pictures.mean(dim=(1, 2, 3), keepdim=True)
    changed = (pictures - middle) * contrast + middle + offset
    if channels > 1:
        grey = changed.mean(dim=1, keepdim=True)
        changed = (changed - grey) * saturation + grey
    return (changed * tint + noise).clamp_(0.0, 1.0)


def _even(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    return 2.0 * torch.rand(shape, generator=generator) - 1.0
