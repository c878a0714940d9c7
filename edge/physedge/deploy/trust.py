"""The trust station: what the signals are on clean frames, and the limits that follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge.deploy.judge import REFERENCE_ENGINE, Advance, Court, Graph, open_graph
from physedge_calibrate.evaluate import Infer
from physedge_calibrate.trust_limits import FEWEST_SAMPLES, fit_limits, input_reference
from physedge_runtime.input_statistics import input_statistics
from physedge_runtime.manifest import InputReference, Metric, TrustRecord
from physedge_runtime.spec import ModelSpec, SignalSpec, Task
from physedge_runtime.stream.steadiness import AREA, AREA_LIMIT
from physedge_runtime.trust import INPUT, PREFIX, is_signal, signals_of

FALSE_ALARM_RATE = 0.01
_INPUT_REASON = "the input is unlike those of the calibration set"
_OF_THE_DEVICE = frozenset({"reciprocity"})
"""Signals that no patient moves."""


@dataclass(slots=True)
class SignalWatch:
    """Takes down, frame by frame, what a graph says of its answers and what went in.

    Attributes:
        spec: The declaration of the network.
        signals: Of every frame, by name.
        statistics: Of every frame's input, by name.
    """

    spec: ModelSpec
    signals: list[dict[str, float]] = field(default_factory=list)
    statistics: list[dict[str, float]] = field(default_factory=list)

    def fresh(self) -> SignalWatch:
        """One that has seen nothing."""
        return SignalWatch(self.spec)

    def extend(self, later: SignalWatch) -> None:
        """Take over what another one saw, after what this one saw."""
        self.signals += later.signals
        self.statistics += later.statistics

    def around(self, infer: Infer) -> Infer:
        """The same engine call, watched."""

        def watched(inputs: NDArray[Any]) -> Mapping[str, NDArray[np.float32]]:
            outputs = infer(inputs)
            self.signals.append(signals_of(outputs))
            self.statistics.append(input_statistics(inputs[0], self.spec.frame))
            return outputs

        return watched


def watch_inputs(
    court: Court, graph: Graph, inputs: Sequence[NDArray[Any]], advance: Advance = lambda: None
) -> SignalWatch:
    """What a graph says of its answers to prepared inputs, on the reference engine."""
    watch = SignalWatch(court.spec)
    with open_graph(court, graph, REFERENCE_ENGINE) as engine:
        infer = watch.around(engine.infer)
        for prepared in inputs:
            infer(prepared[np.newaxis])
            advance()
    return watch


@dataclass(frozen=True, slots=True)
class CleanFrames:
    """What the limits are fitted to.

    Attributes:
        watch: The graph that ships, over clean frames.
        groups: Patient or film of each; each its own where None.
        usual: Inputs that say what is usual, uint8 (height, width, channel) each: the calibration set; the clean frames
            themselves where empty.
        described: What the clean frames are, in words.
    """

    watch: SignalWatch
    groups: Sequence[str] | None
    usual: Sequence[NDArray[Any]]
    described: str


def fit_trust(
    spec: ModelSpec,
    offered: Sequence[str],
    declared: Mapping[str, SignalSpec],
    clean: CleanFrames | None,
    rate: float = FALSE_ALARM_RATE,
) -> TrustRecord:
    """The signals of a network with their limits.

    Args:
        spec: The declaration of the network; what it says of a signal goes before what the network says.
        offered: Names of the graph's outputs.
        declared: What the network says of its signals.
        clean: Frames to fit to; None where there are none, or too few. Fixed limits hold all the same.
        rate: Share of clean frames that may be called doubtful.
    """
    known = {output.removeprefix(PREFIX): SignalSpec() for output in offered if is_signal(output)}
    known[INPUT] = SignalSpec(reason=_INPUT_REASON)
    if spec.task is Task.SEGMENTATION:
        known[AREA] = SignalSpec(reason="the area left its running median", doubtful_above=AREA_LIMIT)
    signals = {name: _merged(name, blank, declared, spec.trust) for name, blank in known.items()}
    if clean is None or len(clean.watch.signals) < FEWEST_SAMPLES:
        return TrustRecord(signals=signals)
    usual = [input_statistics(inputs, spec.frame) for inputs in clean.usual] or clean.watch.statistics
    middle, spread = input_reference(usual)
    reference = InputReference(middle=middle, spread=spread)
    free = [name for name, signal in signals.items() if signal.doubtful_above is None]
    rows = [
        {name: value for name, value in {**values, INPUT: _distance(statistics, reference)}.items() if name in free}
        for values, statistics in zip(clean.watch.signals, clean.watch.statistics, strict=True)
    ]
    groups = clean.groups or [str(index) for index in range(len(rows))]
    fitted = fit_limits(rows, groups, rate, apart=_OF_THE_DEVICE)
    return TrustRecord(
        signals={
            name: signal.model_copy(update={"doubtful_above": fitted.limits[name]}) if name in fitted.limits else signal
            for name, signal in signals.items()
        },
        input=reference,
        false_alarm_rate=rate,
        measured=Metric(value=fitted.alarm_rate, low=fitted.low, high=fitted.high),
        samples=fitted.samples,
        fitted_on=f"{fitted.samples} {clean.described} of {fitted.groups} groups, widened by {fitted.widened:.2f}",
    )


def trust_sentence(record: TrustRecord) -> str:
    """What was fitted, in words."""
    names = ", ".join(record.signals)
    if record.measured is None:
        return f"trust signals {names}: without fitted limits, which need --data DIR or --calib DIR"
    return (
        f"trust signals {names}: limits for {record.false_alarm_rate:.1%} false alarms, fitted on {record.fitted_on}; "
        f"on frames that they have not seen {record.measured.value:.1%} "
        f"[{record.measured.low:.1%}, {record.measured.high:.1%}]"
    )


def signal_limits(declared: Mapping[str, SignalSpec], overriding: Mapping[str, SignalSpec]) -> dict[str, SignalSpec]:
    """What is known of each signal before anything is fitted; what the specification says goes before the network."""
    return {name: _merged(name, SignalSpec(), declared, overriding) for name in sorted({*declared, *overriding})}


def _distance(statistics: Mapping[str, float], reference: InputReference) -> float:
    return max(abs(value - reference.middle[name]) / reference.spread[name] for name, value in statistics.items())


def _merged(
    name: str, blank: SignalSpec, declared: Mapping[str, SignalSpec], overriding: Mapping[str, SignalSpec]
) -> SignalSpec:
    said = {
        **blank.model_dump(exclude_defaults=True),
        **declared.get(name, blank).model_dump(exclude_defaults=True),
        **overriding.get(name, blank).model_dump(exclude_defaults=True),
    }
    return SignalSpec(**said)
