"""Fold the picture's scale into the convolution that takes it in; the offset stays in front.

    conv(x scale + offset) = conv'(x + offset / scale),  weights' = weights scale

Case: Mul by a constant, one or one a channel -> Add of such a constant -> one Conv without groups.

The offset itself must not be folded: outside the border the convolution sees zeros, and zero is the mean of the
normalised picture, not of the raw one. Where x + offset / scale is zero, so is x scale + offset: the border is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from physedge_export.passes.base import PassResult
from physedge_export.passes.view import GraphView, attribute
from physedge_export.shipped import INPUT_SCOPE

if TYPE_CHECKING:
    import onnx


class FoldInputScale:
    """One elementwise step over the picture less."""

    name = "fold_input_scale"

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Rewrite a graph in place."""
        view = GraphView(model)
        return PassResult(model, view.rewrite(lambda node: _fold(node, view)))


def _fold(scaling: onnx.NodeProto, view: GraphView) -> bool:
    if scaling.op_type != "Mul" or not scaling.name.startswith(f"{INPUT_SCOPE}/"):
        return False
    shifting = view.only_user(scaling.output[0])
    if shifting is None or shifting.op_type != "Add" or shifting.input[0] != scaling.output[0]:
        return False
    convolution = view.only_user(shifting.output[0])
    if convolution is None or convolution.op_type != "Conv" or attribute(convolution, "group", 1) != 1:
        return False
    scale, offset = view.constant(scaling.input[1]), view.constant(shifting.input[1])
    weight = view.constant(convolution.input[1])
    if scale is None or offset is None or weight is None or weight.ndim != 4:
        return False
    exact = scale.astype(np.float64).reshape(1, -1, 1, 1)
    folded = (weight.astype(np.float64) * exact).astype(weight.dtype)
    shift = (offset.astype(np.float64).reshape(1, -1, 1, 1) / exact).astype(offset.dtype)
    convolution.input[1] = view.add_weight(f"{convolution.input[1]}_raw", folded)
    shifting.input[1] = view.add_weight(f"{INPUT_SCOPE}.shift", shift)
    shifting.input[0] = scaling.input[0]
    view.replace(scaling, [])
    return True
