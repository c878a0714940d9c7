"""A value that is no number is found wherever it stands in an answer, whatever the task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from physedge_runtime.results import Classification, Reconstruction, Segmentation, StageTimes
from physedge_runtime.stream.safety import is_finite

HEAD: dict[str, Any] = {"frame_id": 0, "captured_ns": 0, "age_ms": 0.0, "stages": StageTimes()}


def answers(values: np.ndarray) -> list[Any]:
    """An answer of each task with these four values."""
    mask = np.zeros((2, 2), np.uint8)
    planes = values.reshape(1, 2, 2)
    two = ("background", "lesion")
    return [
        Segmentation(mask=mask, probability=planes, classes=two, frame_shape=(8, 8), **HEAD),
        Classification(probability=values, classes=("a", "b", "c", "d"), label="a", **HEAD),
        Reconstruction(image=planes[0], unit="S/m", **HEAD),
    ]


@pytest.mark.parametrize("where", [0, 1, -1])
@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_single_value_that_is_no_number_is_found_wherever_it_stands(where: int, wrong: float) -> None:
    values = np.full(4, 0.5, np.float32)
    assert [is_finite(answer) for answer in answers(values)] == [True, True, True]
    values[where] = wrong
    assert [is_finite(answer) for answer in answers(values)] == [False, False, False]
