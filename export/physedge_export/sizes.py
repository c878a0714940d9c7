"""What decides a size becomes a constant: a device takes no graph whose sizes it would have to compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

_MOST_NUMBERS = 64
_ROUNDS = 8
# Operator to the inputs that decide the size of its output.
_DECIDING = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
}


def with_constant_sizes(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with every size that follows from the shape of its input written down.

    What cannot be told is left as it is; a graph whose sizes are constants comes back unchanged.
    """
    for _ in range(_ROUNDS):
        wanted = _computed_sizes(model.graph)
        if not wanted or not _fold(model, wanted):
            break
    return model


def _computed_sizes(graph: onnx.GraphProto) -> set[str]:
    """Values that decide sizes and that nodes compute, with all that they are computed of."""
    givers = {name: node for node in graph.node if node.op_type != "Constant" for name in node.output}
    waiting = [
        node.input[place]
        for node in graph.node
        for place in _DECIDING.get(node.op_type, (1,) if node.op_type.startswith("Reduce") else ())
        if place < len(node.input)
    ]
    wanted = set[str]()
    while waiting:
        name = waiting.pop()
        if name in givers and name not in wanted:
            wanted.add(name)
            if givers[name].op_type != "Shape":
                waiting += [one for one in givers[name].input if one]
    return wanted


def _fold(model: onnx.ModelProto, wanted: set[str]) -> bool:
    """Replace the nodes that give these values and can be computed now; whether there were any."""
    import onnx

    graph = model.graph
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    sides = {value.name: _sides(value) for value in (*inferred.value_info, *inferred.input, *inferred.output)}
    sides |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    values: dict[str, NDArray[Any]] = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if int(np.prod(tensor.dims)) <= _MOST_NUMBERS
    }
    answers = {value.name for value in graph.output}
    folded = list[int]()
    for index, node in enumerate(graph.node):
        if node.op_type == "Constant" or (
            set(node.output) <= wanted and not set(node.output) & answers and len(node.output) == 1
        ):
            found = _computed(model, node, sides, values)
            if found is None:
                continue
            values[node.output[0]] = found
            if node.op_type != "Constant":
                folded.append(index)
    for index in reversed(folded):
        name = graph.node[index].output[0]
        graph.initializer.append(onnx.numpy_helper.from_array(values[name], name))
        del graph.node[index]
    return bool(folded)


def _sides(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    kind = value.type.tensor_type
    if not kind.HasField("shape") or not all(axis.HasField("dim_value") for axis in kind.shape.dim):
        return None
    return tuple(axis.dim_value for axis in kind.shape.dim)


def _computed(
    model: onnx.ModelProto,
    node: onnx.NodeProto,
    sides: dict[str, tuple[int, ...] | None],
    values: dict[str, NDArray[Any]],
) -> NDArray[Any] | None:
    """What a node gives, where that is known and small."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    if node.op_type == "Shape":
        shape = sides.get(node.input[0])
        if shape is None:
            return None
        attributes = {one.name: one.i for one in node.attribute}
        return np.array(shape[attributes.get("start", 0) : attributes.get("end", len(shape))], np.int64)
    if not all(one in values for one in node.input if one):
        return None
    body = onnx.helper.make_graph([node], "size", [], [onnx.ValueInfoProto(name=node.output[0])])
    for name in {one for one in node.input if one}:
        body.initializer.append(onnx.numpy_helper.from_array(values[name], name))
    part = onnx.helper.make_model(body, opset_imports=model.opset_import, ir_version=model.ir_version)
    try:
        (found,) = ReferenceEvaluator(part).run(None, {})
    except Exception:  # the evaluator has its own limits; what it cannot compute stays as it is
        return None
    return np.asarray(found) if np.asarray(found).size <= _MOST_NUMBERS else None
