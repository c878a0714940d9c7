"""Write a large sigmoid as a clipped polynomial of degree seven: an approximation, for graphs that become INT8 only.

    sigmoid(x) ~ 1/2 + t (a + t^2 (b + t^2 (c + t^2 d))),   t = x clipped to +-4.875,   error at most 0.0041

That is one step of an 8-bit value in [0, 1], and what follows is rounded to steps as wide. The coefficients are the
best in the largest error, found by linear programming over 2,000 points (the tests find them again).

Cases, over at least `LEAST_VALUES` values and not in a float island:
    Sigmoid(x)
    Div(1, Add(Exp(x), 1)) = sigmoid(-x), as `sigmoid_as_division` leaves it

OpenVINO compiles the steps into one loop with the sum after them. An exponential and a division take twice as long
there as this polynomial: 2.29 and 1.24 ms for 2.1 million values of `pmrnet_e` on one AVX2 core.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physedge_export.marks import is_float
from physedge_export.passes.base import PassResult
from physedge_export.passes.view import GraphView

if TYPE_CHECKING:
    import onnx

LEAST_VALUES = 8192
LIMIT = 4.875
COEFFICIENTS = (2.41453473e-01, -1.44633363e-02, 5.67261286e-04, -8.67047573e-06)
"""Of t, t^3, t^5 and t^7."""


class SigmoidAsPolynomial:
    """Nine cheap operators in place of an exponential and a division."""

    name = "sigmoid_as_polynomial"

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Rewrite a graph in place."""
        import onnx

        inferred = onnx.shape_inference.infer_shapes(model)
        sizes = {
            value.name: int(np.prod([axis.dim_value for axis in value.type.tensor_type.shape.dim]))
            for value in inferred.graph.value_info
        }
        view = GraphView(model)

        def rule(node: onnx.NodeProto) -> bool:
            if node.op_type not in ("Sigmoid", "Div") or is_float(node):
                return False
            found = _sigmoid_of(node, view)
            if found is None or sizes.get(found[0], 0) < LEAST_VALUES:
                return False
            _write_out(node, *found, view)
            return True

        return PassResult(model, view.rewrite(rule))


def _sigmoid_of(node: onnx.NodeProto, view: GraphView) -> tuple[str, float, list[onnx.NodeProto]] | None:
    """X and s where the node gives sigmoid(s x), and the nodes that are used for nothing else."""
    if node.op_type == "Sigmoid":
        return node.input[0], 1.0, []
    total = view.maker.get(node.input[1])
    if not _is_one(node.input[0], view) or total is None or total.op_type != "Add":
        return None
    if view.only_user(total.output[0]) is None:
        return None
    for value, other in ((0, 1), (1, 0)):
        exponential = view.maker.get(total.input[value])
        if exponential is not None and exponential.op_type == "Exp" and _is_one(total.input[other], view):
            alone = view.only_user(exponential.output[0]) is not None
            return (exponential.input[0], -1.0, [total, exponential]) if alone else None
    return None


def _is_one(value: str, view: GraphView) -> bool:
    constant = view.constant(value)
    return constant is not None and constant.size == 1 and float(constant.item()) == 1.0


def _write_out(node: onnx.NodeProto, given: str, sign: float, spent: list[onnx.NodeProto], view: GraphView) -> None:
    def constant(name: str, value: float) -> str:
        return view.add_weight(f"sigmoid.{name}", np.asarray(value, np.float32))

    nodes: list[onnx.NodeProto] = []

    def step(operator: str, *inputs: str, last: bool = False) -> str:
        output = node.output[0] if last else view.new_value(f"{node.output[0]}.{operator}{len(nodes)}")
        nodes.append(view.new_node(operator, list(inputs), output, like=node))
        return output

    clipped = step("Clip", given, constant("low", -LIMIT), constant("high", LIMIT))
    square = step("Mul", clipped, clipped)
    *lower, highest = (sign * value for value in COEFFICIENTS)
    total = step("Mul", square, constant("t7", highest))
    for power, coefficient in reversed(list(enumerate(lower))):
        total = step("Add", total, constant(f"t{2 * power + 1}", coefficient))
        total = step("Mul", total, square if power else clipped)
    step("Add", total, constant("half", 0.5), last=True)
    view.replace(node, nodes)
    for used in spent:
        view.replace(used, [])
