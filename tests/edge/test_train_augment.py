"""Changed pictures: the same for the same seed, in range, and always with their masks."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
import torch

from physedge.train.augment import STRENGTHS, Strength, affine, augment, recolour
from physedge.train.module import RateSchedule, training_size
from physedge.train.options import TrainOptions


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _blobs(count: int = 6, side: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures that are their masks: a smooth blob, off the centre."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    mask = ((rows - 24) ** 2 / 100 + (columns - 36) ** 2 / 220 < 1).to(torch.uint8)
    labels = mask.repeat(count, 1, 1)
    return labels.unsqueeze(1).float().repeat(1, 3, 1, 1), labels


def test_none_leaves_everything_as_it_is() -> None:
    pictures, labels = _blobs()
    changed, moved = augment(pictures, labels, STRENGTHS["none"], _generator(), (64, 64))
    assert torch.equal(changed, pictures)
    assert torch.equal(moved, labels.long())


@pytest.mark.parametrize(("strength", "axis"), [(Strength(flip_across=1.0), 3), (Strength(flip_down=1.0), 2)])
def test_flips_are_exact(strength: Strength, axis: int) -> None:
    pictures = torch.rand(2, 3, 16, 16, generator=_generator())
    labels = torch.randint(0, 3, (2, 16, 16), generator=_generator()).to(torch.uint8)
    changed, moved = augment(pictures, labels, strength, _generator(), (16, 16))
    torch.testing.assert_close(changed, pictures.flip(axis), atol=1e-5, rtol=0)
    assert torch.equal(moved, labels.flip(axis - 1).long())


def test_picture_and_mask_move_together() -> None:
    geometry = Strength(flip_across=0.5, flip_down=0.5, rotation_deg=45.0, scale=1.4, shear=0.15, shift=0.12)
    pictures, labels = _blobs()
    changed, moved = augment(pictures, labels, geometry, _generator(3), (48, 48))
    assert changed.shape == (6, 3, 48, 48)
    seen = changed[:, 0] > 0.5
    overlap = 2 * (seen & (moved > 0)).sum() / (seen.sum() + (moved > 0).sum())
    assert float(overlap) > 0.98
    areas = (moved > 0).float().mean(dim=(1, 2))
    assert float(areas.max() / areas.min()) > 1.2  # they were really changed


def test_the_map_turns_and_scales_as_it_says() -> None:
    theta = affine(500, Strength(rotation_deg=30.0, scale=1.5), _generator())
    scale = torch.linalg.det(theta[:, :, :2]).sqrt()
    angle = torch.atan2(theta[:, 1, 0], theta[:, 0, 0])
    assert 1 / 1.5 <= float(scale.min()) < 0.7
    assert 1.45 < float(scale.max()) <= 1.5
    assert math.radians(29) < float(angle.abs().max()) <= math.radians(30)


def test_colours_stay_in_range_and_grey_stays_one_channel() -> None:
    for channels in (1, 3):
        pictures = torch.rand(4, channels, 16, 16, generator=_generator())
        changed = recolour(pictures, STRENGTHS["strong"], _generator(1))
        assert changed.shape == pictures.shape
        assert 0.0 <= float(changed.min()) < float(changed.max()) <= 1.0
        assert float((changed - pictures).abs().mean()) > 0.01


def test_the_generator_alone_decides() -> None:
    pictures, labels = _blobs()
    first, second, other = (
        augment(pictures, labels, STRENGTHS["strong"], _generator(seed), (64, 64))[0] for seed in (5, 5, 6)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_rate_climbs_and_falls() -> None:
    schedule = RateSchedule(200)
    factors = [schedule(step) for step in range(201)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == factors[10] == 1.0
    assert factors[105] == pytest.approx(0.505, abs=1e-6)  # the middle of the cosine
    assert factors[200] == pytest.approx(0.01)
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors[10:]))
    assert RateSchedule(1)(0) == 1.0


def test_progressive_sizes_are_what_the_network_takes() -> None:
    options = TrainOptions(
        model="m", data=(Path(),), output=Path(), height_px=224, width_px=320, epochs=10, progressive=True
    )
    sizes = [training_size(options, epoch, 16) for epoch in range(10)]
    assert sizes == [(160, 224)] * 5 + [(224, 320)] * 5
