"""Take out nodes that do nothing.

Cases:
    Identity, and Dropout in a deployed graph
    Cast to the type that the value has
    Mul or Div by one, Add or Sub of zero, where the constant does not widen the shape
    Transpose by the identity permutation
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physedge_export.passes.base import PassResult
from physedge_export.passes.view import GraphView, attribute

if TYPE_CHECKING:
    import onnx


class RemoveIdleNodes:
    """Fewer nodes, the same bits."""

    name = "remove_idle_nodes"

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Rewrite a graph in place."""
        import onnx

        inferred = onnx.shape_inference.infer_shapes(model)
        values = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
        types = {value.name: value.type.tensor_type for value in values}
        view = GraphView(model)

        def take_out(node: onnx.NodeProto) -> bool:
            source = _idle_source(node, view, types)
            return source is not None and view.bypass(node, source)

        return PassResult(model, view.rewrite(take_out))


def _idle_source(node: onnx.NodeProto, view: GraphView, types: dict[str, onnx.TypeProto.Tensor]) -> str | None:
    """The input that the node hands on unchanged."""
    if node.op_type in ("Identity", "Dropout") and len(node.output) == 1:
        return str(node.input[0])
    if node.op_type == "Cast" and node.input[0] in types:
        same = types[node.input[0]].elem_type == attribute(node, "to", 0)
        return str(node.input[0]) if same else None
    if node.op_type == "Transpose":
        order = attribute(node, "perm", [])
        return str(node.input[0]) if list(order) == list(range(len(order))) and order else None
    neutral = {"Mul": 1.0, "Div": 1.0, "Add": 0.0, "Sub": 0.0}.get(node.op_type)
    if neutral is None:
        return None
    sides = ((0, 1), (1, 0)) if node.op_type in ("Mul", "Add") else ((0, 1),)
    for data, other in sides:
        values = view.constant(node.input[other])
        if values is not None and bool(np.all(values == neutral)) and _same_shape(node, data, types):
            return str(node.input[data])
    return None


def _same_shape(node: onnx.NodeProto, data: int, types: dict[str, onnx.TypeProto.Tensor]) -> bool:
    given, made = types.get(node.input[data]), types.get(node.output[0])
    return given is not None and made is not None and given.shape == made.shape and given.elem_type == made.elem_type
