"""What float islands hand to each other in a quantised graph is not rounded on the way.

The quantiser rounds a value for all its readers as soon as one of them is quantised. A linear image that goes into a
convolution and, past it, into the sum with what the convolutions found would reach the sum in steps of a 255th, and
everything smaller than a step would be lost from the answer.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_ROUNDING = ("QuantizeLinear", "DequantizeLinear")


def unrounded_islands(
    model: onnx.ModelProto, float_nodes: Collection[str], quantised_operators: Collection[str]
) -> None:
    """Let nodes that quantise nothing read what a float node computed as it was computed, in place.

    Args:
        model: With Q/DQ nodes.
        float_nodes: Names of the nodes that stay in float.
        quantised_operators: Types of the nodes that are quantised unless they are among these.
    """
    makers = {output: node for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.op_type in _ROUNDING or (node.op_type in quantised_operators and node.name not in float_nodes):
            continue
        for place, value in enumerate(node.input):
            rounded = makers.get(value)
            if rounded is None or rounded.op_type != "DequantizeLinear":
                continue
            rounding = makers.get(rounded.input[0])
            if rounding is None or rounding.op_type != "QuantizeLinear":
                continue
            maker = makers.get(rounding.input[0])
            if maker is None or maker.name in float_nodes:
                node.input[place] = rounding.input[0]
