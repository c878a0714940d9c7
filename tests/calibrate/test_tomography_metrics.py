"""GREIT's figures of images that are known, and the score of the Kuopio challenge."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge_calibrate.metrics.greit import greit_figures, sweep_summary
from physedge_calibrate.metrics.ktc import ktc_score, segment


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
