"""From an engine's outputs to a task's result; what belongs to trust alone (`trust_...`) is left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import Frame
from physedge_runtime.growth_reading import DENSITY, read_growth
from physedge_runtime.results import Classification, Reconstruction, Result, Segmentation, StageTimes, Trust
from physedge_runtime.spec import ModelSpec, Task
from physedge_runtime.trust import is_signal

Outputs = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What every result carries besides its answer."""

    frame: Frame
    stages: StageTimes
    age_ms: float
    engine: str
    trust: Trust = field(default_factory=Trust)


def decode(outputs: Outputs, spec: ModelSpec, head: Head) -> Result:
    """The task's result.

    Args:
        outputs: Output name to float32 array with a batch axis of 1.
        spec: The declaration of the network.
        head: What every result carries besides its answer.
    """
    return _DECODERS[spec.task](outputs, spec, head)


def foreground(probability: NDArray[np.float32], threshold: float) -> NDArray[np.uint8]:
    """Class of every pixel: uint8 (height, width) from float32 (class, height, width).

    One plane means two classes: 1 from `threshold` on. More planes mean the most probable.
    """
    if probability.shape[0] == 1:
        mask: NDArray[np.uint8] = (probability[0] >= threshold).view(np.uint8)
        return mask
    labels: NDArray[np.uint8] = probability.argmax(axis=0).astype(np.uint8)
    return labels


def _segmentation(outputs: Outputs, spec: ModelSpec, head: Head) -> Segmentation:
    probability = outputs["probability"][0]
    return Segmentation(
        frame_id=head.frame.frame_id,
        captured_ns=head.frame.captured_ns,
        source_stamp_ns=head.frame.source_stamp_ns,
        position_ns=head.frame.position_ns,
        age_ms=head.age_ms,
        stages=head.stages,
        trust=head.trust,
        engine=head.engine,
        mask=foreground(probability, spec.threshold),
        probability=probability,
        classes=spec.classes,
        frame_shape=(head.frame.pixels.shape[0], head.frame.pixels.shape[1]),
        threshold=spec.threshold,
    )


def _classification(outputs: Outputs, spec: ModelSpec, head: Head) -> Classification:
    probability = outputs["probability"][0]
    others = {name: values[0] for name, values in outputs.items() if name != "probability" and not is_signal(name)}
    maps = {name: values for name, values in others.items() if values.ndim >= 2}
    parameters = {name: float(values.reshape(-1)[0]) for name, values in others.items() if values.size == 1}
    note, times_days = "", tuple[float, ...]()
    if spec.growth is not None and spec.frame is not None:
        reading = read_growth(parameters, maps.get(DENSITY), spec.growth, spec.frame, head.frame)
        parameters, note, times_days = reading.parameters, reading.note, reading.times_days
    return Classification(
        frame_id=head.frame.frame_id,
        captured_ns=head.frame.captured_ns,
        source_stamp_ns=head.frame.source_stamp_ns,
        position_ns=head.frame.position_ns,
        age_ms=head.age_ms,
        stages=head.stages,
        trust=head.trust,
        engine=head.engine,
        label=spec.classes[int(probability.argmax())],
        probability=probability,
        classes=spec.classes,
        maps=maps,
        parameters=parameters,
        note=note,
        times_days=times_days,
    )


def _reconstruction(outputs: Outputs, spec: ModelSpec, head: Head) -> Reconstruction:
    return Reconstruction(
        frame_id=head.frame.frame_id,
        captured_ns=head.frame.captured_ns,
        source_stamp_ns=head.frame.source_stamp_ns,
        position_ns=head.frame.position_ns,
        age_ms=head.age_ms,
        stages=head.stages,
        trust=head.trust,
        engine=head.engine,
        image=outputs["image"][0],
        unit=spec.unit,
        maps={
            name: values[0]
            for name, values in outputs.items()
            if name != "image" and values.ndim >= 3 and not is_signal(name)
        },
    )


_DECODERS: dict[Task, Callable[[Outputs, ModelSpec, Head], Result]] = {
    Task.SEGMENTATION: _segmentation,
    Task.CLASSIFICATION: _classification,
    Task.RECONSTRUCTION: _reconstruction,
}
