"""Lesions whose density is known, set into training pictures: what u_0 is learned from where there are no masks.

    DIR/truth/train/KIND/s00003.npz     as `physedge synth tumour` writes it: u, D, rho and the side of a cell

A density that the growth equation made is turned, scaled and moved, and drawn into a picture of the training set as
contrast agent shows a tumour: a bright rim or a solid body, a dead core or none, oedema around it. Picture and density
belong together then, whatever the anatomy, the sequence and the source of the picture are. Every one of these is
drawn at random, far beyond what is usual, so that none of them is what the network learns (Billot et al. 2023 argue so
for contrasts).

What is known of a picture that lesions were set into: in one without a tumour every cell; in one with a tumour the
cells of the lesion, and that nothing grows outside of the head or in the scalp. Its other cells are its own tumour in
a few hundredths and sound in all others: they count as sound, but little.
"""

from __future__ import annotations

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from physedge.train.augment import Strength, affine
from physedge_runtime.errors import UsageError
from physedge_runtime.growth import GrowthSpec

SHARE = 0.5
"""Of the pictures of a batch, a lesion is set into so many."""
UNKNOWN = 0.25
"""How much a cell counts of which it is not known whether a tumour is there."""

_PLACED = Strength(flip_across=0.5, flip_down=0.5, rotation_deg=180.0, scale=1.4, shear=0.15, shift=0.16)
_HEAD_ABOVE = 0.10
# Of the side of the picture: scalp and skull are about 10 of 250 mm.
_SCALP_SHARE = 0.036
_LEAST_DENSITY = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Grafted:
    """Pictures with a lesion of known density.

    Attributes:
        pictures: float32 (batch, channel, height, width), 0 to 1.
        density: float32 (batch, 1, row, column) on the grid of the tumour model.
        known: float32 of the same shape, 1 where the density is known, else `UNKNOWN`.
        log_ratio: float32 (batch, 1), the logarithm of D / rho in mm² at the assumed field of view.
    """

    pictures: Tensor
    density: Tensor
    known: Tensor
    log_ratio: Tensor


class Lesions:
    """Densities of a folder that `physedge synth tumour` wrote.

    Args:
        folder: Of the set.
        spec: Of the growth that learns from it.
        split: `train` or `val`.

    Raises:
        UsageError: It is no such set (`PE-TRAIN-012`).
    """

    def __init__(self, folder: Path, spec: GrowthSpec, *, split: str = "train") -> None:
        densities, ratios = [], []
        side = 4 * spec.cells
        for path in sorted((folder / "truth" / split).glob("*/*.npz")):
            u, diffusivity, growth, cell_mm = _read(path)
            if growth <= 0:
                continue
            field_of_view_mm = cell_mm * u.shape[0]
            # Seen at the assumed field of view, the same picture has lengths in this proportion.
            ratios.append(math.log(diffusivity / growth) + 2.0 * math.log(spec.field_of_view_mm / field_of_view_mm))
            plane = torch.from_numpy(u)[None, None]
            smaller = functional.interpolate(plane, (side, side), mode="bilinear", antialias=True)
            densities.append((smaller[0] * 255.0).round().to(torch.uint8))
        if not densities:
            raise _refused(f"{folder} has no density in truth/{split}")
        self._densities = torch.stack(densities)
        self._log_ratios = torch.tensor(ratios)
        self._cells = spec.cells

    def __len__(self) -> int:
        return len(self._densities)

    def set_into(self, pictures: Tensor, is_tumour: Tensor, generator: torch.Generator) -> Grafted:
        """Set one lesion into every picture.

        Args:
            pictures: float32 (batch, channel, side, side), 0 to 1.
            is_tumour: bool (batch,), whether the picture has a tumour of its own.
            generator: On the processor.
        """
        count, device = len(pictures), pictures.device
        chosen = torch.randint(len(self), (count,), generator=generator)
        theta = affine(count, _PLACED, generator)
        planes = (self._densities[chosen].float() / 255.0).to(device)
        grid = functional.affine_grid(theta.to(device), list(planes.shape), align_corners=False)
        placed = functional.grid_sample(planes, grid, mode="bilinear", align_corners=False)
        head = inside_head(pictures, 0.5 * _SCALP_SHARE)
        u = placed * head
        drawn = draw_lesions(pictures, u, generator)
        density = functional.avg_pool2d(u, 4)
        known = torch.maximum((density > _LEAST_DENSITY).float(), outside_of_brain(pictures))
        known = torch.where(is_tumour.view(-1, 1, 1, 1), known.clamp(min=UNKNOWN), torch.ones_like(known))
        # theta maps output to input: an area of the lesion becomes 1 / det times as large.
        larger = -torch.log(torch.linalg.det(theta[:, :, :2]).abs())
        return Grafted(
            pictures=drawn,
            density=density,
            known=known,
            log_ratio=(self._log_ratios[chosen] + larger)[:, None].to(device),
        )


def inside_head(pictures: Tensor, rim_share: float) -> Tensor:
    """1 inside of the head less a rim, else 0, (batch, 1, height, width).

    Inside is what has something bright on all four sides.

    Args:
        pictures: float32 (batch, channel, height, width), 0 to 1.
        rim_share: Width of the rim as a share of the side.
    """
    bright = (functional.avg_pool2d(pictures.mean(dim=1, keepdim=True), 3, 1, 1) > _HEAD_ABOVE).float()

    def seen(axis: int) -> Tensor:
        forth = bright.cummax(dim=axis).values
        back = bright.flip(axis).cummax(dim=axis).values.flip(axis)
        return forth * back

    head = seen(2) * seen(3)
    rim = round(rim_share * pictures.shape[-1])
    return 1.0 - functional.max_pool2d(1.0 - functional.pad(head, (rim,) * 4), 2 * rim + 1, 1)


def outside_of_brain(pictures: Tensor) -> Tensor:
    """1 where a cell lies wholly outside of the head or in its scalp, else 0, (batch, 1, height / 4, width / 4)."""
    return (1.0 - functional.avg_pool2d(inside_head(pictures, _SCALP_SHARE), 4)).floor()


def draw_lesions(pictures: Tensor, u: Tensor, generator: torch.Generator) -> Tensor:
    """Draw densities u (batch, 1, height, width) into pictures as contrast agent, necrosis and oedema show them."""
    count, device = len(pictures), pictures.device

    def drawn(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand((count, 1, 1, 1), generator=generator)).to(device)

    inside = (pictures > _HEAD_ABOVE).float()
    middle = (pictures * inside).sum(dim=(1, 2, 3), keepdim=True) / inside.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    begins, steepness = drawn(0.1, 0.4), drawn(0.1, 0.3)
    rim = ((u - begins) / steepness).clamp(0.0, 1.0)
    has_core = (torch.rand((count, 1, 1, 1), generator=generator) < 0.5).float().to(device)
    core = ((u - drawn(0.5, 0.95)) / 0.05).clamp(0.0, 1.0) * has_core
    around = ((u - 0.05) / 0.3).clamp(0.0, 1.0) * (1.0 - rim)
    height, width = u.shape[2:]
    coarse = torch.randn((count, 1, max(2, height // 6), max(2, width // 6)), generator=generator).to(device)
    texture = functional.interpolate(coarse, (height, width), mode="bilinear") * drawn(0.0, 0.15)
    body = middle * drawn(1.25, 2.5) * (1.0 + texture)
    lesion = body * (1.0 - core) + middle * drawn(0.3, 0.9) * core
    oedema = pictures * (1.0 - around * drawn(-0.2, 0.35))
    cover = rim * drawn(0.7, 1.0)
    return (oedema * (1.0 - cover) + lesion * cover).clamp(0.0, 1.0)


def _read(path: Path) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float32]], float, float, float]:
    try:
        with np.load(path, allow_pickle=False) as kept:
            u = np.asarray(kept["density"], np.float32)
            numbers = tuple(float(kept[name]) for name in ("D_mm2_per_day", "rho_per_day", "cell_mm"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _refused(f"{path} cannot be read ({error})") from error
    if u.ndim != 3 or u.shape[1] != u.shape[2] or not (np.isfinite(u).all() and 0 <= u.min() and u.max() <= 1 + 1e-6):
        raise _refused(f"{path} holds {u.shape} values from {u.min():g} to {u.max():g}")
    diffusivity, growth, cell_mm = numbers
    return u[0], diffusivity, growth, cell_mm


def _refused(found: str) -> UsageError:
    return UsageError(
        "PE-TRAIN-012",
        found=found,
        expected="a set as physedge synth tumour writes it, with densities from 0 to 1 in truth/",
        next_step="draw one with physedge synth tumour --out DIR, and name it with --densities",
    )
