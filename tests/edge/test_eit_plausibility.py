"""Laws of an image that need no truth: sign, the full forward model, and electrodes counted from another one on."""

from __future__ import annotations

import numpy as np
import pytest

from physedge.physics.eit.linear import linearise, noser
from physedge.physics.eit.phantoms import draw_phantom
from physedge.physics.eit.plausibility import ForwardCheck, renumbering, renumbering_error, turned
from physedge.physics.eit.simulate import Scenario, Simulator
from physedge.physics.eit.tank import Tank
from physedge_runtime.voltage_protocol import find_protocol

TANK = Tank(electrodes=8)
PROTOCOL = find_protocol("adjacent", 8)
BODY = linearise(TANK, PROTOCOL)
CHECK = ForwardCheck(tank=TANK, protocol=PROTOCOL)


def difference_of(number: int) -> tuple[np.ndarray, np.ndarray]:
    scenario = Scenario(errors=(), small_share=0.0)
    sample = Simulator(tank=TANK, protocol=PROTOCOL, scenario=scenario, seed=4).sample(number)
    reference, frame = sample.voltages
    return (frame - reference) * BODY.frame / reference, sample.phantom.image()


@pytest.mark.parametrize("number", [0, 4, 8])
def test_the_true_image_answers_the_voltages_and_a_mirrored_one_does_not(number: int) -> None:
    difference, truth = difference_of(number)
    right = CHECK.residual(truth, difference)
    # What is left are pixels, another mesh, and a background with texture.
    assert right < 0.12
    assert CHECK.residual(truth[:, ::-1], difference) > 3 * right
    assert CHECK.residual(0 * truth, difference) == pytest.approx(1.0, abs=1e-9)


def test_linear_images_answer_the_voltages_better_than_no_image() -> None:
    matrix = noser(BODY).reconstruction()
    residuals = []
    for number in range(0, 24, 4):
        difference, _ = difference_of(number)
        residuals.append(CHECK.residual(matrix(difference).reshape(64, 64), difference))
    assert np.median(residuals) < 0.6


def test_an_even_change_keeps_its_sign() -> None:
    matrix = noser(BODY).reconstruction()
    for log_ratio in (-0.5, 0.5):
        image = np.full((64, 64), log_ratio)
        difference = CHECK.answer(image)
        assert np.sign(matrix(difference).sum()) == np.sign(log_ratio)


def test_renumbered_electrodes_turn_the_image() -> None:
    phantom = draw_phantom(np.random.default_rng(3))
    truth = phantom.image()
    place, factor = renumbering(PROTOCOL)
    matrix = noser(BODY).reconstruction()
    frame = CHECK.answer(truth)
    image, again = (matrix(values).reshape(64, 64) for values in (frame, frame[place] * factor))
    # Linear images of a coarse mesh without that symmetry, on square pixels.
    assert renumbering_error(image, again, 45.0) < 0.05
    assert renumbering_error(image, image, 45.0) > 0.3
    once = np.array(np.nonzero(turned(np.pad([[1.0]], ((10, 53), (32, 31))), 90.0)))
    assert once[1] < 12  # what stood at the top stands at the left
