"""The contract of a graph pass: another graph with the same function, cheaper for one engine.

A pass changes operators, never answers: it says so by being run through `run_passes`, which holds the graph after it
against the graph before it. Nodes of float islands must leave nodes of float islands behind.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from physedge_export.canonical import canonical
from physedge_export.graph import Progress, silent
from physedge_export.marks import float_nodes, is_float
from physedge_runtime.errors import BuildError

if TYPE_CHECKING:
    import onnx

LARGEST_DEVIATION = 2e-4
"""Of an output after all passes, as a fraction of its largest value: the rounding of float32 over some tens of layers,
far below the tolerance against torch."""

_ROUNDING_ROOM = 4.0
"""How many times as far as the graph is from itself, summed in another order, a pass may bring an output."""


@dataclass(frozen=True, slots=True)
class PassResult:
    """What a pass left.

    Attributes:
        model: The graph; the same object that was given, changed in place.
        changed: Places that were rewritten; 0 where the pass found nothing.
    """

    model: onnx.ModelProto
    changed: int


class GraphPass(Protocol):
    """One rewriting that preserves the function."""

    @property
    def name(self) -> str:
        """In words with underscores, as reports show it."""
        ...

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Rewrite a graph in place. Node names, float marks and the graph's inputs and outputs stay."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PassReport:
    """What a run of passes did.

    Attributes:
        changed: Pass to places that it rewrote.
        nodes_before, nodes_after: Of the whole graph.
        deviation: Largest deviation of an output on random inputs, as a fraction of its largest value.
    """

    changed: dict[str, int]
    nodes_before: int
    nodes_after: int
    deviation: float


def run_passes(
    model: bytes,
    passes: Sequence[GraphPass],
    *,
    most_deviation: float = LARGEST_DEVIATION,
    progress: Progress | None = None,
) -> tuple[bytes, PassReport]:
    """Run passes one after the other and hold the result against what was given.

    Args:
        model: ONNX, float, static shapes.
        passes: In the order in which they run.
        most_deviation: Of an output on random inputs, as a fraction of its largest value.
        progress: Told what is done next.

    Returns:
        The new graph and what was done; the given bytes where nothing changed, or where the graph has loops or
        branches.

    Raises:
        BuildError: A pass left an invalid graph, lost a float mark, or changed the answers (`PE-TRACE-030`).
    """
    import onnx

    say = progress or silent
    work = onnx.load_from_string(model)
    before, marked = len(work.graph.node), _float_values(work)
    changed: dict[str, int] = {}
    # A loop or a branch may use any value around it, unseen by who looks at one level only.
    nested = any(item.HasField("g") or item.graphs for node in work.graph.node for item in node.attribute)
    for graph_pass in () if nested else passes:
        say(graph_pass.name.replace("_", " "))
        result = graph_pass.apply(work)
        changed[graph_pass.name] = result.changed
        if result.changed:
            _drop_unused_weights(work)
            _require_sound(work, marked, graph_pass.name)
    if not any(changed.values()):
        return model, PassReport(changed=changed, nodes_before=before, nodes_after=before, deviation=0.0)
    del work.graph.value_info[:]
    work = onnx.shape_inference.infer_shapes(work, strict_mode=True, data_prop=True)
    data = canonical(work.SerializeToString(deterministic=True))
    deviation = largest_deviation(model, data)
    if not deviation <= most_deviation:
        raise _broken(", ".join(name for name, count in changed.items() if count), f"answers differ by {deviation:.1e}")
    return data, PassReport(changed=changed, nodes_before=before, nodes_after=len(work.graph.node), deviation=deviation)


def largest_deviation(before: bytes, after: bytes) -> float:
    """How far two graphs are apart on random inputs, as a fraction of the largest value of each output.

    Where that is more than rounding in some tens of layers should be, what rounding is in this very graph is taken off:
    an output may be next to nothing on such inputs (a density that a sigmoid holds at 1e-4), and a fraction of it
    says nothing then.
    """
    import onnxruntime

    plain, unfused = onnxruntime.SessionOptions(), onnxruntime.SessionOptions()
    plain.log_severity_level = unfused.log_severity_level = 3
    unfused.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL

    def answers(model: bytes, options: onnxruntime.SessionOptions) -> list[NDArray[np.float64]]:
        """Of every output, (input, value)."""
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        generator, found = np.random.default_rng(20), []
        for _ in range(2):
            given = {value.name: _random_input(value.type, value.shape, generator) for value in session.get_inputs()}
            found.append([np.asarray(answer, np.float64).ravel() for answer in session.run(None, given)])
        return [np.stack(rows) for rows in zip(*found, strict=True)]

    expected = answers(before, plain)
    apart = [_distance(got, own) for got, own in zip(answers(after, plain), expected, strict=True)]
    scales = [np.maximum(np.nan_to_num(np.abs(own)).max(axis=1, initial=0.0), 1e-12) for own in expected]
    worst = _largest(apart, scales)
    if not worst > LARGEST_DEVIATION:
        return worst
    rounding = [_distance(got, own).max() for got, own in zip(answers(before, unfused), expected, strict=True)]
    beyond = [np.maximum(gap - _ROUNDING_ROOM * noise, 0.0) for gap, noise in zip(apart, rounding, strict=True)]
    return _largest(beyond, scales)


def _distance(got: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
    """(input,) largest difference; none where both are the same infinity or no number."""
    same = (got == own) | (np.isnan(got) & np.isnan(own))
    with np.errstate(invalid="ignore"):
        difference: NDArray[np.float64] = np.where(same, 0.0, np.abs(got - own)).max(axis=1, initial=0.0)
    return difference


def _largest(gaps: Sequence[NDArray[np.float64]], scales: Sequence[NDArray[np.float64]]) -> float:
    """NaN where one of them is: nothing compares with it."""
    return float(np.max([gap / scale for gap, scale in zip(gaps, scales, strict=True)], initial=0.0))


def _random_input(kind: str, shape: Sequence[int | str], generator: np.random.Generator) -> NDArray[np.generic]:
    """Smooth noise: independent pixels would leave most of a network's range unvisited."""
    lengths = [axis if isinstance(axis, int) else 1 for axis in shape]
    if kind != "tensor(uint8)":
        return generator.normal(size=lengths).astype(np.float32)
    values = generator.normal(size=lengths).cumsum(axis=1)
    values = values - values.min()
    pixels: NDArray[np.uint8] = (255.0 * values / max(float(values.max()), 1e-12)).astype(np.uint8)
    return pixels


def _float_values(model: onnx.ModelProto) -> set[str]:
    return {value for node in model.graph.node if is_float(node) for value in node.output}


def _require_sound(model: onnx.ModelProto, marked: set[str], name: str) -> None:
    import onnx

    names = [node.name for node in model.graph.node]
    if len(set(names)) != len(names) or not all(names):
        raise _broken(name, "nodes without a name of their own")
    kept = float_nodes(model)
    for node in model.graph.node:
        if node.name not in kept and marked.intersection(node.output):
            raise _broken(name, f"{node.name} lost its float mark")
    try:
        onnx.checker.check_model(model)
    except Exception as error:
        raise _broken(name, str(error).strip().splitlines()[0][:200]) from error


def _drop_unused_weights(model: onnx.ModelProto) -> None:
    graph = model.graph
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    if len(kept) != len(graph.initializer):
        del graph.initializer[:]
        graph.initializer.extend(kept)


def _broken(name: str, what: str) -> BuildError:
    return BuildError(
        "PE-TRACE-030",
        found=f"the graph pass {name} broke the graph ({what})",
        expected="the same function after it",
        next_step="report this with the network; --no-passes exports the graph as it was traced",
    )
