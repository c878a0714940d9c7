"""Outputs that must be refused before any score is computed."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge_calibrate.outputs import OutputFault, check_outputs

Output = NDArray[np.float32]


def probabilities(count: int = 6) -> list[Output]:
    generator = np.random.default_rng(0)
    return [generator.random((1, 8, 8), dtype=np.float32) for _ in range(count)]


def faults(outputs: list[Output], reference: list[Output] | None = None) -> set[OutputFault]:
    return {finding.fault for finding in check_outputs(outputs, reference=reference)}


def test_plain_outputs_have_no_fault() -> None:
    assert check_outputs(probabilities()) == ()
    assert check_outputs([]) == ()
    assert check_outputs([(output > 0.5).astype(np.uint8) for output in probabilities()]) == ()


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_one_number_that_is_not_finite_is_found(broken: float) -> None:
    outputs = probabilities()
    outputs[2][0, 3, 3] = broken
    (finding,) = check_outputs(outputs)
    assert finding.fault is OutputFault.NOT_FINITE
    assert finding.reason == "1 of 6 outputs hold NaN or infinity"


def test_black_masks_are_constant_and_empty() -> None:
    black = [np.zeros((1, 8, 8), np.float32)] * 6
    assert faults(black, probabilities()) == {OutputFault.CONSTANT, OutputFault.SAME, OutputFault.EMPTY}


def test_white_masks_are_constant_but_not_empty() -> None:
    assert faults([np.ones((1, 8, 8), np.float32)] * 6) == {OutputFault.CONSTANT, OutputFault.SAME}


def test_low_probabilities_are_empty_where_full_precision_finds_something() -> None:
    dim = [output * 0.4 for output in probabilities()]
    (finding,) = check_outputs(dim, reference=probabilities())
    assert finding.fault is OutputFault.EMPTY
    assert finding.reason == "each of 6 outputs is empty, while full precision finds something in 6"
    assert check_outputs(dim, reference=dim) == ()


def test_one_answer_for_every_frame_is_found() -> None:
    assert faults([probabilities()[0]] * 6) == {OutputFault.SAME}
    assert faults([probabilities()[0]]) == set()


def test_frames_without_a_lesion_are_no_fault_where_others_have_one() -> None:
    outputs = probabilities()
    outputs[0][:] = 0.0
    assert check_outputs(outputs) == ()


def test_a_reference_of_another_length_is_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="expected 6 reference outputs, got 2"):
        check_outputs(probabilities(), reference=probabilities(2))
