"""How far one answer may be believed: the network's own signals and the look of its input, against fitted limits.

A signal is a number that rises as the answer becomes less credible. A graph offers any number of them as outputs called
`trust_NAME`; one more, `input`, says how unlike the calibration set the input is. What the names mean and where the
limits lie is data, and stands in the manifest (`physedge_runtime.manifest.TrustRecord`).

    not a number anywhere             void
    a signal above its `void_above`   void
    above its `doubtful_above`        doubtful
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.input_statistics import input_statistics
from physedge_runtime.results import Trust, TrustState

if TYPE_CHECKING:
    from physedge_runtime.frame import FrameSpec
    from physedge_runtime.manifest import InputReference, TrustRecord
    from physedge_runtime.spec import SignalSpec

PREFIX = "trust_"
INPUT = "input"
_MOST_SHOWN_REASONS = 3

Outputs = Mapping[str, NDArray[np.float32]]


def is_signal(output: str) -> bool:
    """Whether an output of a graph is a trust signal rather than an answer."""
    return output.startswith(PREFIX)


def signals_of(outputs: Outputs) -> dict[str, float]:
    """Every signal of a graph by its name; of several values the largest.

    Args:
        outputs: Output name to float32 array with a batch axis of 1.
    """
    return {name.removeprefix(PREFIX): float(np.max(values)) for name, values in outputs.items() if is_signal(name)}


def input_distance(inputs: NDArray[Any], spec: FrameSpec | None, reference: InputReference) -> tuple[float, str]:
    """How far an input lies outside what is usual, and by which statistic.

    Args:
        inputs: uint8 (height, width, channel) or float32 (voltage,), prepared.
        spec: The declared form of the picture; None for voltages.
        reference: What is usual.

    Returns:
        The largest |value - median| over the spread, and the statistic's name.
    """
    distances = {
        name: abs(value - reference.middle[name]) / reference.spread[name]
        for name, value in input_statistics(inputs, spec).items()
        if name in reference.middle
    }
    name = max(distances, key=distances.__getitem__)
    return distances[name], name


class TrustJudge:
    """Judges the answers of one network, each by itself; several threads may ask at once.

    Args:
        record: The signals and their limits.
        spec: The declared form of the picture; None for voltages.
    """

    def __init__(self, record: TrustRecord, spec: FrameSpec | None) -> None:
        self._signals = record.signals
        self._reference = record.input
        self._spec = spec

    def distance(self, inputs: NDArray[Any]) -> tuple[float, str] | None:
        """How unlike the calibration set an input is (`input_distance`); None where nothing is known of the set."""
        return None if self._reference is None else input_distance(inputs, self._spec, self._reference)

    def judge(self, outputs: Outputs, inputs: NDArray[Any], distance: tuple[float, str] | None = None) -> Trust:
        """Trust in one answer.

        Args:
            outputs: Of the graph, output name to float32 array with a batch axis of 1.
            inputs: What went in, without the batch axis.
            distance: What `distance` gave for these inputs; asked here where None.
        """
        values = signals_of(outputs)
        for name, answer in outputs.items():
            if not np.isfinite(answer).all():
                return Trust(state=TrustState.VOID, reason=f"{name} is not finite", signals=values)
        places = {name: place for name in values if (place := _place(outputs[PREFIX + name])) is not None}
        details = {name: f"{self._each(name)} {place}: " for name, place in places.items()}
        if (distance := distance or self.distance(inputs)) is not None:
            values[INPUT], statistic = distance
            details[INPUT] = f"{statistic}: "
        return judge_signals(values, self._signals, details, places)

    def _each(self, name: str) -> str:
        spec = self._signals.get(name)
        return (spec.each if spec else "") or "value"


def _place(values: NDArray[np.float32]) -> int | None:
    """Of a signal with several values, the one that counts: counted from 1, as electrodes are."""
    return None if values.size == 1 else int(np.argmax(values)) + 1


def judge_signals(
    values: Mapping[str, float],
    limits: Mapping[str, SignalSpec],
    details: Mapping[str, str] | None = None,
    places: Mapping[str, int] | None = None,
) -> Trust:
    """Hold signals against their limits.

    Args:
        values: Signal by name.
        limits: Their limits by name; a signal without any is reported and decides nothing.
        details: What stands before a signal's reason.
        places: Of signals with several values, the one that counts.
    """
    found: dict[TrustState, list[tuple[str, str]]] = {TrustState.VOID: [], TrustState.DOUBTFUL: []}
    for name, value in values.items():
        spec = limits.get(name)
        if spec is None:
            continue
        for state, limit in ((TrustState.VOID, spec.void_above), (TrustState.DOUBTFUL, spec.doubtful_above)):
            if limit is not None and not value <= limit:  # written so that NaN fails
                words = spec.reason or name.replace("_", " ")
                before = (details or {}).get(name, "")
                found[state].append((name, f"{before}{words} ({name} {value:.3g} above {limit:.3g})"))
                break
    for state, reasons in found.items():
        if reasons:
            return Trust(
                state=state,
                reason="; ".join(reason for _, reason in reasons[:_MOST_SHOWN_REASONS]),
                signals=dict(values),
                places={name: (places or {})[name] for name, _ in reasons if name in (places or {})},
            )
    return Trust(signals=dict(values))
