"""GREIT's figures of images that are known, and the score of the Kuopio challenge."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge_calibrate.metrics.greit import greit_figures, sweep_summary
from physedge_calibrate.metrics.ktc import ktc_of_images, ktc_score, segment


def disk(x0: float, y0: float, radius: float, side: int = 64) -> NDArray[np.float64]:
    at = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(at, -at)
    return (np.hypot(x - x0, y - y0) <= radius).astype(np.float64)


def test_a_perfect_image_has_perfect_figures() -> None:
    found = greit_figures(-0.5 * disk(0.4, 0.2, 0.2), centre=(0.4, 0.2), radius=0.2, amplitude=-0.5)
    assert found.amplitude_response == pytest.approx(1, rel=0.05)
    assert found.position_error == pytest.approx(0, abs=0.01)
    assert found.resolution == pytest.approx(0.2, rel=0.03)
    assert found.shape_deformation < 0.05
    assert found.ringing == 0


def test_a_displaced_target_is_an_error_of_position() -> None:
    found = greit_figures(disk(0.3, 0.0, 0.1), centre=(0.5, 0.0), radius=0.1, amplitude=1.0)
    assert found.position_error == pytest.approx(0.2, abs=0.02)


def test_two_lobes_are_a_deformation_and_a_shadow_is_ringing() -> None:
    lobes = disk(0.0, 0.22, 0.15) + disk(0.0, -0.22, 0.15) - 0.3 * disk(0.6, 0.0, 0.2)
    found = greit_figures(lobes, centre=(0.0, 0.0), radius=0.15, amplitude=1.0)
    assert found.shape_deformation > 0.25
    assert found.ringing > 0
    mean, deviation = sweep_summary([found, found])
    assert mean.ringing == found.ringing
    assert deviation.ringing == 0


def test_an_image_without_the_target_has_no_figures() -> None:
    with pytest.raises(ValueError, match="nothing of the target's sign"):
        greit_figures(np.zeros((64, 64)), centre=(0, 0), radius=0.1, amplitude=1.0)


def test_the_challenge_score_of_a_segmentation() -> None:
    truth = (disk(0.3, 0.3, 0.3, 256) + 2 * disk(-0.4, -0.3, 0.2, 256)).astype(np.int64)
    assert ktc_score(truth, truth) == pytest.approx(1)
    near, far, empty = (
        ktc_score(p, truth) for p in (np.roll(truth, 8, 0), np.roll(truth, 60, 0), np.zeros_like(truth))
    )
    assert 1 > near > far > empty
    swapped = np.where(truth == 1, 2, np.where(truth == 2, 1, 0))
    assert ktc_score(swapped, truth) < near
    with pytest.raises(ValueError, match="256x256"):
        ktc_score(truth[:64], truth[:64])


def test_images_are_parted_into_water_resistive_and_conductive() -> None:
    image = -1.2 * disk(0.3, 0.3, 0.3) + 0.8 * disk(-0.4, -0.3, 0.2)
    image += np.random.default_rng(0).normal(size=image.shape) * 0.03
    truth = (disk(0.3, 0.3, 0.3, 256) + 2 * disk(-0.4, -0.3, 0.2, 256)).astype(np.int64)
    assert (segment(image) == truth).mean() > 0.98
    only = segment(-1.0 * disk(0.0, 0.0, 0.3))
    assert set(np.unique(only)) == {0, 1}


def test_the_score_of_images_hardly_depends_on_their_resolution() -> None:
    at = (np.arange(256) + 0.5) / 128 - 1
    x, y = np.meshgrid(at, -at)
    truth = np.where(np.hypot(x - 0.4, y) < 0.3, 1.0, 0.0) - np.where(np.hypot(x + 0.3, y - 0.2) < 0.25, 1.0, 0.0)
    found = np.where(np.hypot(x - 0.45, y) < 0.35, 0.8, 0.0) - np.where(np.hypot(x + 0.3, y - 0.3) < 0.2, 0.7, 0.0)
    small_truth, small_found = (image.reshape(64, 4, 64, 4).mean(axis=(1, 3)) for image in (truth, found))
    official = ktc_score(segment(found), segment(truth))
    assert ktc_of_images(found, truth) == pytest.approx(official, abs=1e-12)
    assert ktc_of_images(small_found, small_truth) == pytest.approx(official, abs=0.03)
    assert ktc_of_images(small_truth, small_truth) == pytest.approx(1)
    assert ktc_of_images(-small_found, small_truth) < 0.3


def test_a_candidate_that_loses_the_small_things_is_refused() -> None:
    from physedge_calibrate.evaluate_reconstruction import ReconstructionEvaluation, hold_reconstruction
    from physedge_calibrate.tolerance import Tolerance

    at = (np.arange(64) + 0.5) / 32 - 1
    x, y = np.meshgrid(at, -at)
    truths = np.stack([(np.hypot(x - 0.1 * k, y) < 0.3).astype(np.float32) for k in range(6)])
    names = tuple(str(k) for k in range(6))

    def evaluation(images: np.ndarray) -> ReconstructionEvaluation:
        return ReconstructionEvaluation(names=names, groups=names, strata=("",) * 6, images=images, truths=truths)

    (kept,), _ = hold_reconstruction(evaluation(truths), evaluation(truths), 0)
    assert kept.refusals(Tolerance()) == []
    (lost,), _ = hold_reconstruction(evaluation(truths), evaluation(np.roll(truths, 20, axis=2)), 0)
    assert lost.refusals(Tolerance())
