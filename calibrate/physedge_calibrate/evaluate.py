"""Labelled samples of every task: how they are read, and how a network is scored on them.

A task is one file that reads and scores, and one line in the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from physedge_calibrate.class_folders import read_class_folders
from physedge_calibrate.dataset import read_labelled
from physedge_calibrate.evaluate_classification import (
    ClassificationEvaluation,
    evaluate_classification,
    hold_classification,
)
from physedge_calibrate.evaluate_reconstruction import evaluate_reconstruction, hold_reconstruction
from physedge_calibrate.evaluate_segmentation import evaluate_segmentation, hold_segmentation
from physedge_calibrate.gate import SetLoss
from physedge_calibrate.laws.growth import DENSITY, DIFFUSIVITY, GROWTH, check_growth_answers
from physedge_calibrate.laws.law import LawCheck
from physedge_calibrate.samples import Advance, Evaluation, Infer, Sample
from physedge_calibrate.voltage_frames import read_voltage_samples
from physedge_runtime.spec import ModelSpec, Task

__all__ = ["TASKS", "Evaluation", "Infer", "Sample", "TaskDoor", "evaluate", "read_samples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDoor:
    """What the house must know of a task to judge its networks.

    Attributes:
        read: Every labelled sample of a folder; no frame is read yet.
        evaluate: Scores a network on such samples.
        hold: What a candidate lost in further figures, and remarks; of full precision, candidate and seed.
        laws: What holds for every answer of a network of this declaration, whatever its precision.
    """

    read: Callable[[Path, ModelSpec], Sequence[Sample]]
    evaluate: Callable[[Infer, Sequence[Any], ModelSpec, Advance], Evaluation]
    hold: Callable[[Any, Any, int], tuple[tuple[SetLoss, ...], tuple[str, ...]]] = lambda *_: ((), ())
    laws: Callable[[Any, ModelSpec], tuple[LawCheck, ...]] = lambda *_: ()


def _read_reconstruction(folder: Path, spec: ModelSpec) -> Sequence[Sample]:
    assert spec.voltages is not None
    return read_voltage_samples(folder, spec.voltages)


def _growth_laws(evaluation: ClassificationEvaluation, spec: ModelSpec) -> tuple[LawCheck, ...]:
    if spec.growth is None or not {DENSITY, DIFFUSIVITY, GROWTH}.issubset(evaluation.outputs):
        return ()
    return check_growth_answers(evaluation.outputs, spec.growth)


TASKS: Mapping[Task, TaskDoor] = MappingProxyType(
    {
        Task.SEGMENTATION: TaskDoor(
            read=lambda folder, spec: read_labelled(folder, len(spec.classes) - 1),
            evaluate=evaluate_segmentation,
            hold=hold_segmentation,
        ),
        Task.CLASSIFICATION: TaskDoor(
            read=lambda folder, spec: read_class_folders(folder, spec.classes),
            evaluate=evaluate_classification,
            hold=hold_classification,
            laws=_growth_laws,
        ),
        Task.RECONSTRUCTION: TaskDoor(
            read=_read_reconstruction, evaluate=evaluate_reconstruction, hold=hold_reconstruction
        ),
    }
)


def read_samples(folder: Path, spec: ModelSpec) -> Sequence[Sample]:
    """The labelled samples of a folder, of the kind that the network's task asks for.

    Raises:
        UsageError: The folder cannot be used (area DATA).
    """
    return _door(spec).read(folder, spec)


def evaluate(
    infer: Infer, samples: Sequence[Sample], spec: ModelSpec, *, advance: Advance = lambda: None
) -> Evaluation:
    """Score a network.

    Args:
        infer: From a prepared input to the outputs by name: an engine's `infer`.
        samples: From `read_samples`, in the order of the scores; the same for all networks that are compared.
        spec: The declaration of the network.
        advance: Called after every sample.
    """
    return _door(spec).evaluate(infer, samples, spec, advance)


def _door(spec: ModelSpec) -> TaskDoor:
    return TASKS[spec.task]
