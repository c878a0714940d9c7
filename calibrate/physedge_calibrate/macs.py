"""How many multiply-accumulates a graph does, and which share of them runs in INT8."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from physedge_runtime.errors import BuildError

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Shapes = Mapping[str, tuple[int, ...]]

COUNTED_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, slots=True, kw_only=True)
class MacCount:
    """The multiply-accumulates of one node, for a batch of one.

    Attributes:
        node: Name of the node.
        operator: Its operator.
        macs: Multiply-accumulates.
        int8: It takes and gives quantised values.
        depthwise: A convolution with one input channel a group.
    """

    node: str
    operator: str
    macs: int
    int8: bool
    depthwise: bool


def mac_share(model: bytes, *, closed: bool = True) -> float:
    """The fraction of the multiply-accumulates that runs in INT8, 0 to 1.

    Args:
        model: A serialised ONNX model, with or without Q/DQ nodes.
        closed: As in `mac_counts`.

    Raises:
        BuildError: PE-CALIB-003, a shape in the graph could not be inferred.
    """
    counts = mac_counts(model, closed=closed)
    total = sum(count.macs for count in counts)
    return sum(count.macs for count in counts if count.int8) / total if total else 0.0


def mac_counts(model: bytes, *, closed: bool = True) -> tuple[MacCount, ...]:
    """The multiply-accumulates of every convolution and matrix product, in the order of the graph.

    Args:
        model: A serialised ONNX model, with or without Q/DQ nodes.
        closed: A node counts as INT8 only where, besides its inputs coming out of DequantizeLinear, its result goes
            into QuantizeLinear, directly or through a Relu or Clip. ONNX Runtime takes an integer kernel only then;
            OpenVINO and TensorRT ask for the inputs alone.

    Raises:
        BuildError: PE-CALIB-003, a shape in the graph could not be inferred.
    """
    import onnx

    graph_model = onnx.shape_inference.infer_shapes(onnx.load_from_string(model), data_prop=True)
    shapes = _shapes(graph_model)
    nodes = list(graph_model.graph.node)
    producers = {output: node.op_type for node in nodes for output in node.output}
    consumers: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            consumers.setdefault(name, []).append(node)
    return tuple(
        MacCount(
            node=node.name,
            operator=node.op_type,
            macs=_macs(node, shapes),
            int8=all(producers.get(name) == "DequantizeLinear" for name in node.input[:2])
            and (not closed or _is_quantised(node.output[0], consumers)),
            depthwise=_is_depthwise(node, shapes),
        )
        for node in nodes
        if node.op_type in COUNTED_OPERATORS
    )


def _is_quantised(name: str, consumers: Mapping[str, list[NodeProto]]) -> bool:
    following = consumers.get(name, [])
    if len(following) == 1 and following[0].op_type in ("Relu", "Clip"):
        following = consumers.get(following[0].output[0], [])
    return bool(following) and all(node.op_type == "QuantizeLinear" for node in following)


def _is_depthwise(node: NodeProto, shapes: Shapes) -> bool:
    if node.op_type != "Conv":
        return False
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    return groups > 1 and _shape(shapes, node.input[1], node)[1] == 1


def _macs(node: NodeProto, shapes: Shapes) -> int:
    output = _shape(shapes, node.output[0], node)
    weight = _shape(shapes, node.input[1], node)
    if node.op_type == "Conv":
        return math.prod(output[1:]) * math.prod(weight[1:])
    source = _shape(shapes, node.input[0], node)
    if node.op_type == "ConvTranspose":
        return math.prod(source[1:]) * math.prod(weight[1:])
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    inner = source[0] if transposed else source[-1]
    # A leading axis of a product of two tensors may be the batch; it is 1 here.
    return math.prod(output) * inner


def _shape(shapes: Shapes, name: str, node: NodeProto) -> tuple[int, ...]:
    if name not in shapes:
        raise BuildError(
            "PE-CALIB-003",
            found=f"the shape of '{name}' at node '{node.name}' is not known",
            expected="a graph whose shapes follow from its input, but for the batch",
            next_step="export the network with a fixed height and width",
        )
    return shapes[name]


def _shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes by name with a batch of one; names whose other axes are not numbers are left out."""
    graph = model.graph
    found = {initializer.name: tuple(initializer.dims) for initializer in graph.initializer}
    for value in (*graph.value_info, *graph.input, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        sides = [
            dimension.dim_value if dimension.HasField("dim_value") else (1 if axis == 0 else None)
            for axis, dimension in enumerate(dimensions)
        ]
        known = [side for side in sides if side is not None]
        if value.type.tensor_type.HasField("shape") and len(known) == len(sides):
            found.setdefault(value.name, tuple(known))
    return found
