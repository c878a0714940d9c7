"""Trust signals of a quantised graph judge the values that were computed, not their rounding to 8 bits.

The quantiser hands every reader of a value its rounded form, those that quantise nothing as well. A signal that asks
whether a law holds to one part in a thousand would then report the rounding: one part in 255.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from physedge_runtime.trust import is_signal

if TYPE_CHECKING:
    import onnx


def unrounded_signals(model: onnx.ModelProto) -> None:
    """Let the nodes that only signals need read in full precision, in place."""
    graph = model.graph
    makers = {output: node for node in graph.node for output in node.output}
    for node in _signal_nodes(graph):
        for place, value in enumerate(node.input):
            rounded = makers.get(value)
            if rounded is None or rounded.op_type != "DequantizeLinear":
                continue
            rounding = makers.get(rounded.input[0])
            if rounding is not None and rounding.op_type == "QuantizeLinear":
                node.input[place] = rounding.input[0]


def _signal_nodes(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The nodes from which every way leads to a signal; the graph is in topological order, as ONNX demands."""
    needed_elsewhere = {output.name for output in graph.output if not is_signal(output.name)}
    signals = {output.name for output in graph.output if is_signal(output.name)}
    found = []
    for node in reversed(graph.node):
        outputs = set(node.output)
        if outputs & signals and not outputs & needed_elsewhere:
            found.append(node)
            signals.update(node.input)
        else:
            needed_elsewhere.update(node.input)
    return found
