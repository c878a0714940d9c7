"""What is kept of an answer in a golden file, and how two are compared: a task is one function each and one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.metrics.segmentation import dice
from physedge_calibrate.samples import Evaluation
from physedge_runtime.decode import foreground
from physedge_runtime.spec import ModelSpec, Task

VISIBLE_FRACTION = 0.01
"""A reconstructed value has changed where it moved by more than this share of the earlier image's range."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerKind:
    """How answers of one task are kept.

    Attributes:
        noun: What they are called, in the plural.
        kept: From an evaluation to an array (frame, ...).
        changed: Share of one frame's answer that differs, 0 to 1; of the earlier and the later.
        described: The difference of one frame in words; of both, and the names of the classes.
    """

    noun: str
    kept: Callable[[Evaluation, ModelSpec], NDArray[Any]]
    changed: Callable[[NDArray[Any], NDArray[Any]], float]
    described: Callable[[NDArray[Any], NDArray[Any], tuple[str, ...]], str]


def _masks(evaluation: Evaluation, spec: ModelSpec) -> NDArray[np.uint8]:
    return np.stack([foreground(one.astype(np.float32), spec.threshold) for one in evaluation.answers])


def _pixels(then: NDArray[Any], now: NDArray[Any]) -> float:
    return float((then != now).mean())


def _overlap(then: NDArray[Any], now: NDArray[Any], classes: tuple[str, ...]) -> str:
    del classes
    return f"{_pixels(then, now):.4%} of the pixels, Dice {dice(now > 0, then > 0):.4f} between both"


def _labels(evaluation: Evaluation, spec: ModelSpec) -> NDArray[np.uint8]:
    del spec
    return np.array([int(one.argmax()) for one in evaluation.answers], np.uint8)


def _names(then: NDArray[Any], now: NDArray[Any], classes: tuple[str, ...]) -> str:
    return f"{classes[int(then)]} before, {classes[int(now)]} now"


def _images(evaluation: Evaluation, spec: ModelSpec) -> NDArray[np.float32]:
    del spec
    return np.stack([one.astype(np.float32) for one in evaluation.answers])


def _moved(then: NDArray[Any], now: NDArray[Any]) -> float:
    return float((np.abs(now - then) > VISIBLE_FRACTION * np.ptp(then)).mean())


def _farthest(then: NDArray[Any], now: NDArray[Any], classes: tuple[str, ...]) -> str:
    del classes
    return f"{_moved(then, now):.4%} of the values visibly, the farthest by {np.abs(now - then).max():.4g}"


KINDS: Mapping[Task, AnswerKind] = MappingProxyType(
    {
        Task.SEGMENTATION: AnswerKind(noun="masks", kept=_masks, changed=_pixels, described=_overlap),
        Task.CLASSIFICATION: AnswerKind(noun="labels", kept=_labels, changed=_pixels, described=_names),
        Task.RECONSTRUCTION: AnswerKind(noun="images", kept=_images, changed=_moved, described=_farthest),
    }
)
