"""Segmentation metrics against closed forms, a brute-force implementation and MONAI's."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge_calibrate.metrics import (
    asd,
    boundary_ring_dice,
    dice,
    hd95,
    headline_metric,
    iou,
    metric_for,
    score_segmentation,
)
from physedge_calibrate.metrics.segmentation import SegmentationScores, contour_distances
from physedge_runtime.errors import UsageError

Mask = NDArray[np.bool_]


def square(top: int, left: int, side: int, *, size: int = 64) -> Mask:
    mask = np.zeros((size, size), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


def disk(radius: float, *, size: int = 101) -> Mask:
    y, x = np.mgrid[:size, :size] - size // 2
    return y * y + x * x <= radius * radius


def blobs(generator: np.random.Generator, *, size: int = 24) -> Mask:
    field = generator.normal(size=(size + 4, size + 4))
    smooth = sum(field[dy : dy + size, dx : dx + size] for dy, dx in product(range(5), repeat=2))
    return np.asarray(smooth) > 4


@pytest.mark.parametrize("shift", [0, 1, 5, 20])
def test_overlap_of_a_shifted_square_is_that_of_its_areas(shift: int) -> None:
    first, second = square(10, 10, 20), square(10, 10 + shift, 20)
    common = 20 * (20 - shift)
    assert dice(first, second) == pytest.approx(2 * common / 800)
    assert iou(first, second) == pytest.approx(common / (800 - common))


def test_hd95_of_distant_parallel_bars_is_their_distance() -> None:
    # One pixel thick, so every contour point is exactly 7 px from the other bar.
    first, second = np.zeros((2, 40, 40), dtype=bool)
    first[:, 10], second[:, 17] = True, True
    assert hd95(first, second) == 7.0
    assert asd(first, second) == 7.0
    assert hd95(first, second, spacing=(1.0, 0.5)) == 3.5


@pytest.mark.parametrize(("inner", "outer"), [(10, 14), (20, 23), (30, 45)])
def test_distance_of_concentric_disks_is_the_difference_of_their_radii(inner: int, outer: int) -> None:
    assert asd(disk(inner), disk(outer)) == pytest.approx(outer - inner, abs=0.6)
    assert hd95(disk(inner), disk(outer)) == pytest.approx(outer - inner, abs=0.8)


def test_one_far_speck_moves_hd95_less_than_the_greatest_distance() -> None:
    truth = square(20, 20, 20)
    speck = truth.copy()
    speck[60, 60] = True
    assert contour_distances(speck, truth).max() > 25
    assert hd95(speck, truth) == 0.0


def test_two_empty_masks_agree() -> None:
    empty = np.zeros((30, 40), dtype=bool)
    assert (dice(empty, empty), iou(empty, empty), boundary_ring_dice(empty, empty)) == (1, 1, 1)
    assert (hd95(empty, empty), asd(empty, empty)) == (0, 0)


@pytest.mark.parametrize("swap", [False, True])
def test_one_empty_mask_is_a_miss_as_far_as_the_diagonal(swap: bool) -> None:
    full, empty = np.ones((30, 40), dtype=bool), np.zeros((30, 40), dtype=bool)
    pair = (empty, full) if swap else (full, empty)
    assert (dice(*pair), iou(*pair), boundary_ring_dice(*pair)) == (0, 0, 0)
    assert hd95(*pair) == 50.0
    assert asd(*pair, spacing=(2.0, 2.0)) == 100.0


def test_ring_dice_sees_a_contour_that_dice_overlooks() -> None:
    large, shifted = disk(40), np.roll(disk(40), 4, axis=1)
    assert dice(large, shifted) > 0.93
    assert boundary_ring_dice(large, shifted) < 0.65
    assert boundary_ring_dice(large, large) == 1.0


def test_ring_reaches_exactly_its_width() -> None:
    bar, moved = np.zeros((2, 5, 60), dtype=bool)
    bar[:, 20], moved[:, 26] = True, True
    # Rings of 7 columns, 6 apart: one column of 7 in common.
    assert boundary_ring_dice(bar, moved, width_px=3) == pytest.approx(2 * 1 / 14)


@pytest.mark.parametrize("seed", range(8))
def test_distances_agree_with_brute_force(seed: int) -> None:
    generator = np.random.default_rng(seed)
    first, second = blobs(generator), blobs(generator)
    spacing = (0.7, 1.3)
    forward, backward = (
        [min(math.hypot((y - v) * 0.7, (x - u) * 1.3) for v, u in others) for y, x in points]
        for points, others in [(edge(first), edge(second)), (edge(second), edge(first))]
    )
    assert asd(first, second, spacing=spacing) == pytest.approx(np.mean(forward + backward))
    assert hd95(first, second, spacing=spacing) == pytest.approx(np.percentile(forward + backward, 95))


def edge(mask: Mask) -> list[tuple[int, int]]:
    def inside(y: int, x: int) -> bool:
        return 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1] and bool(mask[y, x])

    return [
        (y, x)
        for y, x in product(*map(range, mask.shape))
        if mask[y, x] and not all(inside(y + dy, x + dx) for dy, dx in [(1, 0), (-1, 0), (0, 1), (0, -1)])
    ]


@pytest.mark.filterwarnings("ignore")
def test_metrics_agree_with_monai() -> None:
    torch = pytest.importorskip("torch")
    monai = pytest.importorskip("monai.metrics")
    utils = pytest.importorskip("monai.metrics.utils")
    generator = np.random.default_rng(3)
    pairs = [(blobs(generator, size=48), blobs(generator, size=48)) for _ in range(12)]
    first, second = (np.stack(masks)[:, None].astype(np.float32) for masks in zip(*pairs, strict=True))
    scores = score_segmentation(first[:, 0], second[:, 0])
    a, b = torch.from_numpy(first), torch.from_numpy(second)

    np.testing.assert_allclose(scores.dice, monai.compute_dice(a, b)[:, 0], rtol=1e-6)
    np.testing.assert_allclose(scores.iou, monai.compute_iou(a, b)[:, 0], rtol=1e-6)
    distance = monai.compute_average_surface_distance(a, b, symmetric=True)
    np.testing.assert_allclose(scores.asd_px, distance[:, 0], rtol=1e-5)
    for index, (p, t) in enumerate(pairs):
        edges = utils.get_mask_edges(p, t)
        both = [utils.get_surface_distance(x, y) for x, y in [edges[:2], edges[1::-1]]]
        assert scores.hd95_px[index] == pytest.approx(np.percentile(np.concatenate(both), 95), rel=1e-5)


def test_several_classes_are_averaged_over_the_foreground() -> None:
    truth, prediction = np.zeros((2, 40, 40), dtype=np.uint8)
    truth[5:15, 5:15], truth[20:30, 20:30] = 1, 2
    prediction[5:15, 5:15], prediction[20:30, 25:35] = 1, 2
    scores = score_segmentation([prediction], [truth], class_count=2)
    assert scores.dice[0] == pytest.approx((1.0 + 0.5) / 2)
    assert scores.iou[0] == pytest.approx((1.0 + 50 / 150) / 2)
    assert scores.empty_count == 0


def test_a_class_missing_in_one_map_is_counted() -> None:
    truth = np.zeros((30, 40), dtype=np.uint8)
    truth[:5, :5] = 1
    prediction = truth.copy()
    prediction[20:, 20:] = 2
    scores = score_segmentation([prediction, truth], [truth, truth], class_count=2)
    assert scores.one_empty.tolist() == [True, False]
    assert scores.hd95_px.tolist() == [25.0, 0.0]
    assert scores.dice.tolist() == [0.5, 1.0]


def test_per_image_dice_and_iou_are_bound_to_each_other() -> None:
    generator = np.random.default_rng(5)
    pairs = [(blobs(generator), blobs(generator)) for _ in range(20)]
    scores = score_segmentation([p for p, _ in pairs], [t for _, t in pairs])
    np.testing.assert_allclose(scores.dice, 2 * scores.iou / (1 + scores.iou))
    assert scores.dice.mean() <= 2 * scores.iou.mean() / (1 + scores.iou.mean())


def test_no_samples_give_empty_scores() -> None:
    assert len(score_segmentation([], [])) == 0


def test_shapes_that_differ_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="one shape"):
        dice(np.zeros((3, 4)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="zip"):
        score_segmentation([np.zeros((3, 4))], [])
    one, two = np.zeros(1), np.zeros(2)
    with pytest.raises(ValueError, match="same number of samples"):
        SegmentationScores(dice=one, iou=one, hd95_px=two, asd_px=one, ring_dice=one, one_empty=np.zeros(1, dtype=bool))


def test_the_headline_of_segmentation_is_dice() -> None:
    assert headline_metric("segmentation").name == "dice"
    assert metric_for("hd95", task="segmentation").higher_is_better is False


def test_a_metric_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UsageError, match=r"PE-METRIC-001.*'dice', a metric for segmentation"):
        metric_for("dice", task="reconstruction")
    with pytest.raises(UsageError, match=r"PE-METRIC-001.*unknown metric"):
        metric_for("dise", task="segmentation")
    with pytest.raises(UsageError, match=r"PE-METRIC-002.*'guessing'"):
        headline_metric("guessing")
