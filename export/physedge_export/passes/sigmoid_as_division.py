"""Write a large sigmoid out as 1 / (1 + exp(-x)), the minus inside the convolution before it.

Case: Conv -> Sigmoid over at least `LEAST_VALUES` values, the convolution used by nothing else. Its weights and bias
change sign, so that Exp takes its answer as it is. Where exp overflows to infinity the quotient is zero, as it should.

OpenVINO compiles the three steps into one loop with whatever elementwise step follows, and its exponential is cheap;
its sigmoid is computed apart, inside the convolution. ONNX Runtime computes every step on its own and loses: the pass
is in OpenVINO's list only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physedge_export.passes.base import PassResult
from physedge_export.passes.view import GraphView

if TYPE_CHECKING:
    import onnx

LEAST_VALUES = 65536
"""Below, the sigmoid costs too little to be worth three nodes."""


class SigmoidAsDivision:
    """The same sigmoid in three operators that compile well."""

    name = "sigmoid_as_division"

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Rewrite a graph in place."""
        import onnx

        inferred = onnx.shape_inference.infer_shapes(model)
        sizes = {
            value.name: int(np.prod([axis.dim_value for axis in value.type.tensor_type.shape.dim]))
            for value in inferred.graph.value_info
        }
        view = GraphView(model)

        def large(node: onnx.NodeProto) -> bool:
            return node.op_type == "Sigmoid" and sizes.get(node.input[0], 0) >= LEAST_VALUES

        return PassResult(model, view.rewrite(lambda node: large(node) and _write_out(node, view)))


def _write_out(node: onnx.NodeProto, view: GraphView) -> bool:
    (given,), (answer,) = node.input, node.output
    convolution = view.maker.get(given)
    if convolution is None or convolution.op_type != "Conv" or view.only_user(given) is None:
        return False
    parameters = [view.constant(name) for name in convolution.input[1:] if name]
    if any(values is None for values in parameters):
        return False
    for index, values in enumerate(parameters, start=1):
        assert values is not None
        convolution.input[index] = view.add_weight(f"{convolution.input[index]}_negative", -values)
    one = view.add_weight("one", np.ones((), np.float32))
    exponential, sum_ = view.new_value(f"{answer}_exp"), view.new_value(f"{answer}_sum")
    view.replace(
        node,
        [
            view.new_node("Exp", [given], exponential, like=node),
            view.new_node("Add", [exponential, one], sum_, like=node),
            view.new_node("Div", [one, sum_], answer, like=node),
        ],
    )
    return True
