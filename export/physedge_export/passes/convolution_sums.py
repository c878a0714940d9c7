"""Make one convolution of the sum of two convolutions of the same value; kernels are added in float64.

Case: Conv(x) + Conv(x) -> Conv(x), each used by the sum alone, with the same strides, groups and no dilation. A smaller
kernel is centred in the larger one, where both leave the map the same size.

This is how networks trained with parallel kernels become plain ones; exporters do not do it, and a normalisation after
the sum is folded only once there is one convolution before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_export.marks import is_float, mark_float
from physedge_export.passes.base import PassResult
from physedge_export.passes.view import GraphView, attribute

if TYPE_CHECKING:
    import onnx

_SAME = (("strides", [1, 1]), ("group", 1), ("auto_pad", b"NOTSET"))


class SumConvolutions:
    """One kernel where two were applied to the same value."""

    name = "sum_convolutions"

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Rewrite a graph in place."""
        view = GraphView(model)
        return PassResult(model, view.rewrite(lambda node: node.op_type == "Add" and _join(node, view)))


def _join(add: onnx.NodeProto, view: GraphView) -> bool:
    pair = [view.maker.get(value) for value in add.input]
    first, second = pair[0], pair[1] if len(pair) == 2 else None
    if first is None or second is None or first.name == second.name or not _alike(first, second):
        return False
    if view.only_user(first.output[0]) is None or view.only_user(second.output[0]) is None:
        return False
    parts = [_kernel_and_bias(node, view) for node in (first, second)]
    if parts[0] is None or parts[1] is None:
        return False
    if parts[0][0].shape[2:] < parts[1][0].shape[2:]:
        first, second, parts = second, first, [parts[1], parts[0]]
    large, small = parts
    assert large is not None and small is not None
    margin = _margin(large[0], small[0], _pads(first), _pads(second))
    if margin is None:
        return False
    weight = large[0] + np.pad(small[0], ((0, 0), (0, 0), *margin))
    kind = np.float32
    first.input[1] = view.add_weight(f"{first.input[1]}_sum", weight.astype(kind))
    del first.input[2:]
    if large[1] is not None or small[1] is not None:
        bias = sum(part for part in (large[1], small[1]) if part is not None)
        first.input.append(view.add_weight(f"{first.input[1]}_bias", np.asarray(bias).astype(kind)))
    for item in first.attribute:
        if item.name == "kernel_shape":
            del item.ints[:]
            item.ints.extend(weight.shape[2:])
    if is_float(add) or is_float(second):
        mark_float(first)
    first.output[0] = add.output[0]
    view.replace(second, [])
    view.replace(add, [])
    return True


def _alike(first: onnx.NodeProto, second: onnx.NodeProto) -> bool:
    if first.op_type != "Conv" or second.op_type != "Conv" or first.input[0] != second.input[0]:
        return False
    dilated = any(step != 1 for node in (first, second) for step in attribute(node, "dilations", [1]))
    same = all(attribute(first, name, usual) == attribute(second, name, usual) for name, usual in _SAME)
    return same and not dilated and attribute(first, "auto_pad", b"NOTSET") == b"NOTSET"


def _kernel_and_bias(
    node: onnx.NodeProto, view: GraphView
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None] | None:
    weight = view.constant(node.input[1])
    has_bias = len(node.input) > 2 and bool(node.input[2])
    bias = view.constant(node.input[2]) if has_bias else None
    if weight is None or weight.dtype != np.float32 or weight.ndim != 4 or (has_bias and bias is None):
        return None
    return weight.astype(np.float64), None if bias is None else bias.astype(np.float64)


def _pads(node: onnx.NodeProto) -> list[int]:
    return list(attribute(node, "pads", [0, 0, 0, 0]))


def _margin(
    large: NDArray[Any], small: NDArray[Any], large_pads: list[int], small_pads: list[int]
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Rows and columns to put around the small kernel; None where the two maps would not lie on each other."""
    if large.shape[:2] != small.shape[:2]:
        return None
    before = [wide - narrow for wide, narrow in zip(large_pads[:2], small_pads[:2], strict=True)]
    after = [wide - narrow for wide, narrow in zip(large_pads[2:], small_pads[2:], strict=True)]
    rows = [b + a for b, a in zip(before, after, strict=True)]
    sizes = [wide - narrow for wide, narrow in zip(large.shape[2:], small.shape[2:], strict=True)]
    if min(*before, *after) < 0 or rows != sizes:
        return None
    return (before[0], after[0]), (before[1], after[1])
