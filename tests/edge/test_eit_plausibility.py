"""Laws of an image that need no truth: sign, the full forward model, and electrodes counted from another one on."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from physedge.physics.eit.linear import linearise, noser
from physedge.physics.eit.phantoms import draw_phantom
from physedge.physics.eit.plausibility import ForwardCheck, renumbering, renumbering_error, true_image, turned
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
    matrix = noser(BODY).reconstruction()
    for by in (1, 2):
        place, factor = renumbering(PROTOCOL, by)
        frame = CHECK.answer(truth)
        image, again = (matrix(values).reshape(64, 64) for values in (frame, frame[place] * factor))
        # Linear images of a coarse mesh without that symmetry.
        assert renumbering_error(image, again, 45.0 * by) < 0.05
        assert renumbering_error(image, image, 45.0 * by) > 0.3
    once = np.array(np.nonzero(turned(np.pad([[1.0]], ((10, 53), (32, 31))), 90.0)))
    assert once[1] < 12  # what stood at the top stands at the left


@functools.cache
def bodies(turn_deg: float) -> list[tuple[np.ndarray, np.ndarray]]:
    """True images of bodies, a fifth of them with a single small target, and of the same bodies turned."""
    found = []
    for number in range(12):
        phantom = draw_phantom(np.random.default_rng(number), small_share=0.2)
        found.append((true_image(phantom), true_image(phantom, turn_deg)))
    return found


@pytest.mark.parametrize(("turn_deg", "left"), [(22.5, 0.01), (45.0, 0.01), (67.5, 0.01), (90.0, 1e-3), (270.0, 1e-3)])
def test_a_turn_of_true_images_leaves_less_than_a_per_cent(turn_deg: float, left: float) -> None:
    assert np.mean([renumbering_error(image, there, turn_deg) for image, there in bodies(turn_deg)]) < left


@pytest.mark.parametrize("turn_deg", [22.5, 90.0])
def test_what_is_not_a_turn_is_seen(turn_deg: float) -> None:
    spoilt: dict[str, list[float]] = {"brighter": [], "lopsided": [], "shifted": [], "blurred": [], "other way": []}
    for image, there in bodies(turn_deg):
        changed = {
            "brighter": 1.1 * there,
            "lopsided": there * np.linspace(0.9, 1.1, 64),
            "shifted": np.roll(there, 1, axis=1),
            "blurred": gaussian_filter(there, 2.0),
            "other way": turned(image, -turn_deg),
        }
        for name, wrong in changed.items():
            spoilt[name].append(renumbering_error(image, wrong, turn_deg))
    mean = {name: float(np.mean(values)) for name, values in spoilt.items()}
    assert mean["brighter"] == pytest.approx(0.1, abs=0.01)
    assert mean["lopsided"] > 0.03
    assert mean["shifted"] > 0.15
    assert mean["blurred"] > 0.15
    assert mean["other way"] > 0.5


def test_a_small_artefact_at_one_electrode_is_seen() -> None:
    errors = []
    for image, there in bodies(22.5):
        wrong = there.copy()
        wrong[2:6, 30:34] += 0.3 * np.abs(there).max()
        errors.append(renumbering_error(image, wrong, 22.5))
    assert np.mean(errors) > 0.05
