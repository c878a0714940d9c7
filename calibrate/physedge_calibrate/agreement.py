"""How far a candidate answers as full precision does, without any truth: what steers a quantiser, never a verdict."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.metrics.reconstruction import relative_error
from physedge_calibrate.metrics.segmentation import dice
from physedge_runtime.decode import foreground
from physedge_runtime.spec import ModelSpec, Task

Outputs = Mapping[str, NDArray[np.float32]]


def agreement(spec: ModelSpec, reference: Outputs, candidate: Outputs) -> float:
    """1 for the same answer, 0 for none in common.

    The Dice of both foregrounds (segmentation), whether the most probable class is the same (classification), or 1
    less the relative error of the image (reconstruction).

    Args:
        spec: The declaration of the network.
        reference: Full precision's outputs by name, with the batch axis.
        candidate: The candidate's.
    """
    if spec.task is Task.SEGMENTATION:
        first, second = (foreground(one["probability"][0], spec.threshold) > 0 for one in (reference, candidate))
        return dice(first, second)
    if spec.task is Task.CLASSIFICATION:
        return float(reference["probability"][0].argmax() == candidate["probability"][0].argmax())
    return max(0.0, 1.0 - relative_error(candidate["image"][0], reference["image"][0]))
