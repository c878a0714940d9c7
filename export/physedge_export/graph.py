"""A graph that ships, described: the one value that tracing, passes, quantisation and targets hand on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from physedge_export.marks import float_nodes, module_of
from physedge_export.scrub import checked_bytes
from physedge_export.shipped import check_shape
from physedge_runtime.spec import ModelSpec

if TYPE_CHECKING:
    import onnx

Progress = Callable[[str], None]
"""Told in a few words what is done next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphOutput:
    """One output of a graph.

    Attributes:
        name: In the graph.
        shape: With the batch axis; -1 where an axis is free.
        dtype: numpy's name, for example `float32`.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedGraph:
    """A graph that ships, and what must be known of it to quantise, audit and judge it.

    Attributes:
        model: ONNX, nothing outside, no source path in it.
        float_nodes: Names of the nodes that must stay in floating point.
        module_of_node: Node name to the path of its module in the network.
        outputs: In the graph's order; the first is `probability` or `image`.
        opset: Of the default domain.
        torch_version: That traced it; empty where the network came as ONNX.
    """

    model: bytes = field(repr=False)
    float_nodes: frozenset[str] = field(repr=False)
    module_of_node: dict[str, str] = field(repr=False)
    outputs: tuple[GraphOutput, ...]
    opset: int
    torch_version: str = ""


def graph_from_model(
    model: onnx.ModelProto, spec: ModelSpec, *, batch: int | None = 1, torch_version: str = ""
) -> TracedGraph:
    """Check a finished graph and describe it.

    Raises:
        BuildError: The main answer has another shape than declared (`PE-TRACE-005`), the graph is random
            (`PE-TRACE-006`), or ONNX's checker refuses it (`PE-TRACE-008`).
    """
    outputs = graph_outputs(model)
    check_shape(outputs[0].shape, spec, batch or -1)
    return TracedGraph(
        model=checked_bytes(model),
        float_nodes=float_nodes(model),
        module_of_node={node.name: module_of(node.name) for node in model.graph.node},
        outputs=outputs,
        opset=default_opset(model),
        torch_version=torch_version,
    )


def graph_outputs(model: onnx.ModelProto) -> tuple[GraphOutput, ...]:
    """The outputs that a graph declares."""
    import onnx

    return tuple(
        GraphOutput(
            name=value.name,
            shape=tuple(axis.dim_value or -1 for axis in value.type.tensor_type.shape.dim),
            dtype=str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
        )
        for value in model.graph.output
    )


def default_opset(model: onnx.ModelProto) -> int:
    """Version of the default operator set."""
    return next(int(item.version) for item in model.opset_import if item.domain in ("", "ai.onnx"))


def silent(_: str) -> None:
    """A `Progress` that nobody listens to."""
