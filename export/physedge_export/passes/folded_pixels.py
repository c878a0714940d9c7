"""Make one strided convolution of pixels folded into channels and the pointwise convolution that takes them in.

Cases, with blocks of b x b pixels and a 1x1 convolution without groups after them:
    SpaceToDepth -> Conv                                    channels ordered (row, column, channel)
    Reshape -> Transpose(0, 1, 3, 5, 2, 4) -> Reshape -> Conv   channels ordered (channel, row, column), as torch does

The map is never rearranged in memory: both are the same linear map as a convolution of size b with stride b.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physedge_export.marks import is_float, mark_float
from physedge_export.passes.base import PassResult
from physedge_export.passes.view import GraphView, attribute

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

_UNSHUFFLE = [0, 1, 3, 5, 2, 4]


class FoldPixelsIntoConvolution:
    """Three nodes that move memory less."""

    name = "fold_pixels_into_convolution"

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Rewrite a graph in place."""
        view = GraphView(model)
        return PassResult(model, view.rewrite(lambda node: node.op_type == "Conv" and _fold(node, view)))


def _fold(convolution: onnx.NodeProto, view: GraphView) -> bool:
    weight = view.constant(convolution.input[1])
    if weight is None or weight.shape[2:] != (1, 1) or attribute(convolution, "group", 1) != 1:
        return False
    if any(attribute(convolution, "pads", [0])) or any(step != 1 for step in attribute(convolution, "strides", [1])):
        return False
    folded = _folding(convolution.input[0], view)
    if folded is None:
        return False
    source, block, nodes, torch_order = folded
    outputs, inputs = weight.shape[0], weight.shape[1] // block**2
    strided: NDArray[np.float32] = (
        weight.reshape(outputs, inputs, block, block)
        if torch_order
        else weight.reshape(outputs, block, block, inputs).transpose(0, 3, 1, 2)
    )
    convolution.input[0] = source
    convolution.input[1] = view.add_weight(f"{convolution.input[1]}_strided", strided)
    _set(convolution, "kernel_shape", [block, block])
    _set(convolution, "strides", [block, block])
    if any(is_float(node) for node in nodes):
        mark_float(convolution)
    for node in nodes:
        view.replace(node, [])
    return True


def _folding(value: str, view: GraphView) -> tuple[str, int, list[onnx.NodeProto], bool] | None:
    """What was folded, the side of a block, the nodes that fold, and whether channels come first in their order."""
    last = view.maker.get(value)
    if last is None or view.only_user(value) is None:
        return None
    if last.op_type == "SpaceToDepth":
        return last.input[0], int(attribute(last, "blocksize", 1)), [last], False
    turned = view.maker.get(last.input[0]) if last.op_type == "Reshape" else None
    if turned is None or turned.op_type != "Transpose" or list(attribute(turned, "perm", [])) != _UNSHUFFLE:
        return None
    first = view.maker.get(turned.input[0])
    if first is None or first.op_type != "Reshape":
        return None
    before, after = view.constant(first.input[1]), view.constant(last.input[1])
    if before is None or after is None:
        return None
    if view.only_user(turned.output[0]) is None or view.only_user(first.output[0]) is None:
        return None
    six, four = before.tolist(), after.tolist()
    fits = len(six) == 6 and len(four) == 4 and six[3] == six[5] and four[1:] == [six[1] * six[3] ** 2, six[2], six[4]]
    return (first.input[0], six[3], [last, turned, first], True) if fits else None


def _set(node: onnx.NodeProto, name: str, values: list[int]) -> None:
    import onnx

    kept = [item for item in node.attribute if item.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, values)])
