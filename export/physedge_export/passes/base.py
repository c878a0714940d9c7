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

from physedge_export.graph import Progress, silent
from physedge_export.marks import float_nodes, is_float
from physedge_runtime.errors import BuildError

if TYPE_CHECKING:
    import onnx

LARGEST_DEVIATION = 2e-4
"""Of an output after all passes, as a fraction of its largest value: the rounding of float32 over some tens of layers,
far below the tolerance against torch."""


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
    data: bytes = work.SerializeToString(deterministic=True)
    deviation = largest_deviation(model, data)
    if not deviation <= most_deviation:
        raise _broken(", ".join(name for name, count in changed.items() if count), f"answers differ by {deviation:.1e}")
    return data, PassReport(changed=changed, nodes_before=before, nodes_after=len(work.graph.node), deviation=deviation)


def largest_deviation(before: bytes, after: bytes) -> float:
    """How far two graphs are apart on random inputs, as a fraction of the largest value of each output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    first, second = (
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"]) for model in (before, after)
    )
    generator = np.random.default_rng(20)
    worst = 0.0
    for _ in range(2):
        given = {value.name: _random_input(value.type, value.shape, generator) for value in first.get_inputs()}
        for answers in zip(first.run(None, given), second.run(None, given), strict=True):
            expected, got = (np.asarray(answer) for answer in answers)
            scale = max(float(np.abs(expected).max(initial=0.0)), 1e-12)
            worst = max(worst, float(np.abs(got - expected).max(initial=0.0)) / scale)
    return worst


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
