"""Write a softmax over channels, or its logarithm, out as reductions.

Cases: Softmax and LogSoftmax along any axis but the last. With m the largest value along the axis, s = x - m and
t = sum(exp(s)), they are exp(s) / t and s - log(t): the same arithmetic, as stable as before.

ONNX Runtime transposes the whole map in front of such a softmax and back behind it, and computes on rows in between;
its reductions take the map as it lies. OpenVINO has a kernel for the axis: the pass is in ONNX Runtime's list only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physedge_export.passes.base import PassResult
from physedge_export.passes.view import GraphView, attribute

if TYPE_CHECKING:
    import onnx

AXES_ARE_INPUTS = 18
"""Version of the operators from which every reduction takes its axes as an input."""


class SoftmaxInSteps:
    """The same probabilities, or their logarithms, without transposing. The graph's own answer stays as it is."""

    name = "softmax_in_steps"

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Rewrite a graph in place."""
        import onnx

        version = max((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), default=0)
        if version < AXES_ARE_INPUTS:
            return PassResult(model, 0)
        inferred = onnx.shape_inference.infer_shapes(model)
        values = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
        ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in values}
        view = GraphView(model)
        return PassResult(model, view.rewrite(lambda node: _rewrite(node, view, ranks)))


def _rewrite(node: onnx.NodeProto, view: GraphView, ranks: dict[str, int]) -> bool:
    if node.op_type not in ("Softmax", "LogSoftmax") or node.output[0] in view.promised:
        return False
    (given,), (answer,) = node.input, node.output
    rank = ranks.get(given, 0)
    axis = attribute(node, "axis", -1)
    if rank == 0 or axis % rank == rank - 1:
        return False
    axes = view.add_weight("axes", np.array([axis], np.int64))
    largest, shifted, exponential, total = (
        view.new_value(f"{answer}_{step}") for step in ("largest", "shifted", "exp", "sum")
    )
    steps = [
        view.new_node("ReduceMax", [given, axes], largest, like=node),
        view.new_node("Sub", [given, largest], shifted, like=node),
        view.new_node("Exp", [shifted], exponential, like=node),
        view.new_node("ReduceSum", [exponential, axes], total, like=node),
    ]
    if node.op_type == "Softmax":
        steps += [view.new_node("Div", [exponential, total], answer, like=node)]
    else:
        level = view.new_value(f"{answer}_log")
        steps += [
            view.new_node("Log", [total], level, like=node),
            view.new_node("Sub", [shifted, level], answer, like=node),
        ]
    view.replace(node, steps)
    return True
