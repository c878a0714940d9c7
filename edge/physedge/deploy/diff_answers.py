"""How two answers to one frame differ, task by task: a task is one function and one line in the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.metrics.segmentation import dice
from physedge_calibrate.regression_answers import VISIBLE_FRACTION
from physedge_runtime.frame_mask import labels_on_frame
from physedge_runtime.net import Net
from physedge_runtime.results import Classification, Reconstruction, Result, Segmentation
from physedge_runtime.spec import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameChange:
    """How the answers to one frame differ.

    Attributes:
        name: Of the frame.
        changed_fraction: Share of its pixels that belong to another class or moved visibly; for a classifier 1 where it
            names another class, else 0.
        largest: Largest difference of any single probability or value.
        said_before: The answer in a word, where it has one.
        said_after: The same.
        score_before: Against the truth; None where there is none.
        score_after: The same.
    """

    name: str
    changed_fraction: float
    largest: float = 0.0
    said_before: str = ""
    said_after: str = ""
    score_before: float | None = None
    score_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstFrame:
    """A frame whose answers differ most: uint8 picture (height, width, 3), and both masks (height, width)."""

    change: FrameChange
    picture: NDArray[np.uint8] = field(repr=False)
    before: NDArray[np.uint8] = field(repr=False)
    after: NDArray[np.uint8] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One frame, both answers held against each other, and what there is to look at."""

    change: FrameChange
    shown: WorstFrame | None = None


def _segmentation(name: str, frame: NDArray[Any], nets: tuple[Net, Net], sample: Any) -> Compared:
    results = [net.infer(frame) for net in nets]
    before, after = (_mask(result, net) for result, net in zip(results, nets, strict=True))
    probabilities = [result.probability for result in results if isinstance(result, Segmentation)]
    same_grid = probabilities[0].shape == probabilities[1].shape
    truth = sample.labels() if sample is not None else None
    change = FrameChange(
        name=name,
        changed_fraction=float((before != after).mean()),
        largest=float(np.abs(probabilities[0] - probabilities[1]).max()) if same_grid else 1.0,
        score_before=None if truth is None else dice(before > 0, truth > 0),
        score_after=None if truth is None else dice(after > 0, truth > 0),
    )
    return Compared(change=change, shown=WorstFrame(change=change, picture=frame, before=before, after=after))


def _mask(result: Result, net: Net) -> NDArray[np.uint8]:
    assert isinstance(result, Segmentation)
    assert net.spec.frame is not None
    return labels_on_frame(result, net.spec.frame)


def _classification(name: str, frame: NDArray[Any], nets: tuple[Net, Net], sample: Any) -> Compared:
    before, after = (net.infer(frame) for net in nets)
    assert isinstance(before, Classification)
    assert isinstance(after, Classification)
    truth = before.classes[sample.label] if sample is not None else None
    change = FrameChange(
        name=name,
        changed_fraction=float(before.label != after.label),
        largest=float(np.abs(before.probability - after.probability).max()),
        said_before=before.label,
        said_after=after.label,
        score_before=None if truth is None else float(before.label == truth),
        score_after=None if truth is None else float(after.label == truth),
    )
    return Compared(change=change)


def _reconstruction(name: str, frame: NDArray[Any], nets: tuple[Net, Net], sample: Any) -> Compared:
    del sample  # images are compared with each other; the truth of a tank is the gate's matter
    before, after = (net.infer(frame) for net in nets)
    assert isinstance(before, Reconstruction)
    assert isinstance(after, Reconstruction)
    difference = np.abs(before.image - after.image)
    visible = VISIBLE_FRACTION * float(np.ptp(before.image))
    change = FrameChange(
        name=name,
        changed_fraction=float((difference > visible).mean()),
        largest=float(difference.max()),
        said_before=_range(before),
        said_after=_range(after),
    )
    return Compared(change=change)


def _range(result: Reconstruction) -> str:
    return f"{result.image.min():.4g} to {result.image.max():.4g} {result.unit}"


Compare = Callable[[str, NDArray[Any], tuple[Net, Net], Any], Compared]

ANSWERS: Mapping[Task, tuple[str, Compare]] = MappingProxyType(
    {
        Task.SEGMENTATION: ("Dice", _segmentation),
        Task.CLASSIFICATION: ("accuracy", _classification),
        Task.RECONSTRUCTION: ("", _reconstruction),
    }
)
"""Task to the name of its score against the truth, and to what compares two answers."""
