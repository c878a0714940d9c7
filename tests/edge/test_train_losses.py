"""The loss against closed forms, and against the definition written out in numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from physedge.models.segmentation import SegmentationOutputs
from physedge.train.losses import (
    AUXILIARY_WEIGHT,
    BOUNDARY_WEIGHT,
    SegmentationLoss,
    boundary_loss,
    boundary_of,
)


def _square(side: int = 16) -> torch.Tensor:
    labels = torch.zeros(2, side, side, dtype=torch.int64)
    labels[0, 4:12, 4:12] = 1
    return labels


def _outputs(logits: torch.Tensor, **more: tuple[torch.Tensor, ...]) -> SegmentationOutputs:
    return SegmentationOutputs(logits=logits, auxiliary=more.get("auxiliary", ()), boundary=more.get("boundary", ()))


def _written_out(logits: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    p = 1 / (1 + np.exp(-logits))
    entropy = -(target * np.log(p) + (1 - target) * np.log(1 - p)).mean()
    axes = (1, 2, 3)
    overlap = (2 * (p * target).sum(axes) + 1) / (p.sum(axes) + target.sum(axes) + 1)
    return float(0.5 * entropy + 0.5 * (1 - overlap).mean())


def test_one_class_is_half_entropy_and_half_dice() -> None:
    logits = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    target = _square().unsqueeze(1).numpy().astype(np.float64)
    expected = _written_out(logits.double().numpy(), target)
    assert float(SegmentationLoss(1)(_outputs(logits), _square())) == pytest.approx(expected, rel=1e-5)


def test_a_perfect_answer_costs_nothing_even_where_there_is_nothing_to_find() -> None:
    logits = (_square().unsqueeze(1).float() - 0.5) * 60
    assert float(SegmentationLoss(1)(_outputs(logits), _square())) < 1e-5


def test_several_classes_leave_the_background_out_of_the_dice() -> None:
    labels = torch.randint(0, 3, (2, 8, 8), generator=torch.Generator().manual_seed(1))
    loss = SegmentationLoss(3)
    right = torch.nn.functional.one_hot(labels, 3).permute(0, 3, 1, 2).float() * 60
    assert float(loss(_outputs(right), labels)) < 1e-5
    uniform = torch.zeros(2, 3, 8, 8)
    overlap = [
        [(2 * n / 3 + 1) / (64 / 3 + n + 1) for n in (int((image == label).sum()) for label in (1, 2))]
        for image in labels
    ]
    expected = 0.5 * math.log(3) + 0.5 * (1 - float(np.mean(overlap)))
    assert float(loss(_outputs(uniform), labels)) == pytest.approx(expected, rel=1e-5)


def test_coarse_stages_see_the_share_of_each_cell() -> None:
    logits, coarse = torch.zeros(2, 1, 16, 16), torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    loss = SegmentationLoss(1)
    plain = float(loss(_outputs(logits), _square()))
    deep = float(loss(_outputs(logits, auxiliary=(coarse,)), _square()))
    shares = _square().double().reshape(2, 1, 4, 4, 4, 4).mean(dim=(3, 5)).numpy()
    assert deep - plain == pytest.approx(AUXILIARY_WEIGHT * _written_out(coarse.double().numpy(), shares), rel=1e-4)


def test_the_boundary_of_a_square_is_its_two_rings_of_pixels() -> None:
    ring = boundary_of(_square())
    assert int(ring[0].sum()) == 10 * 10 - 6 * 6
    assert float(ring[0, 0, 3, 3]) == float(ring[0, 0, 4, 4]) == 1.0
    assert float(ring[0, 0, 5, 5]) == 0.0
    assert float(ring[1].sum()) == 0.0


def test_two_touching_classes_have_a_boundary_too() -> None:
    labels = torch.ones(1, 8, 8, dtype=torch.int64)
    labels[:, :, 4:] = 2
    assert boundary_of(labels)[0, 0, 0].tolist() == [0, 0, 0, 1, 1, 0, 0, 0]


def test_a_thin_boundary_survives_the_pooling_and_weighs_three() -> None:
    truth = torch.zeros(1, 1, 8, 8)
    truth[0, 0, 0, 0] = 1.0
    logits = torch.zeros(1, 1, 2, 2)
    expected = math.log(2) * (3 + 3 * 1) / 4  # one cell of four is boundary
    assert float(boundary_loss((logits,), truth)) == pytest.approx(expected, rel=1e-6)
    total = SegmentationLoss(1)(_outputs(torch.zeros(2, 1, 16, 16), boundary=(torch.zeros(2, 1, 16, 16),)), _square())
    plain = SegmentationLoss(1)(_outputs(torch.zeros(2, 1, 16, 16)), _square())
    ring = float(boundary_of(_square()).mean())
    assert float(total - plain) == pytest.approx(BOUNDARY_WEIGHT * math.log(2) * (1 + 2 * ring), rel=1e-5)
