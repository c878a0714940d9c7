"""Fold what follows a convolution into its weights, formed in float64.

Cases:
    Conv -> BatchNormalization
    Conv -> Mul by a constant, one or one a channel
    Conv -> Add or Sub of a constant, one or one a channel
    Mul by one constant -> Conv (zero padding stays zero)

Engines do this themselves when they load a graph, but quantisation comes before that: a normalisation left outside
would be computed in float between two integer convolutions, with a scale of its own.
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


class FoldAffineIntoConvolutions:
    """Scale and shift after a convolution, or a scale before it, become part of it."""

    name = "fold_affine_into_convolutions"

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Rewrite a graph in place."""
        view = GraphView(model)
        return PassResult(model, view.rewrite(lambda node: _fold_after(node, view) or _fold_before(node, view)))


def _fold_after(node: onnx.NodeProto, view: GraphView) -> bool:
    """Conv -> (scale, shift): the convolution takes both over."""
    if node.op_type != "Conv" or view.constant(node.input[1]) is None:
        return False
    following = view.only_user(node.output[0])
    if following is None:
        return False
    weight = view.constant(node.input[1])
    assert weight is not None
    pair = _scale_and_shift(following, node.output[0], view, channels=weight.shape[0])
    if pair is None:
        return False
    scale, shift = pair
    bias = view.constant(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(weight.shape[0])
    if bias is None:
        return False
    wide = weight.astype(np.float64) * scale.reshape(-1, *([1] * (weight.ndim - 1)))
    _set_weights(node, view, wide, bias.astype(np.float64) * scale + shift, weight.dtype)
    if is_float(following):
        mark_float(node)
    node.output[0] = following.output[0]
    view.replace(following, [])
    return True


def _fold_before(node: onnx.NodeProto, view: GraphView) -> bool:
    """Mul by a number -> Conv: the kernel takes it over."""
    if node.op_type != "Mul":
        return False
    following = view.only_user(node.output[0])
    if following is None or following.op_type != "Conv" or following.input[0] != node.output[0]:
        return False
    weight = view.constant(following.input[1])
    for data, other in ((0, 1), (1, 0)):
        factor = view.constant(node.input[other])
        if weight is not None and factor is not None and factor.size == 1 and factor.ndim <= weight.ndim:
            scaled = (weight.astype(np.float64) * float(factor.item())).astype(weight.dtype)
            following.input[1] = view.add_weight(f"{following.input[1]}_scaled", scaled)
            following.input[0] = node.input[data]
            view.replace(node, [])
            return True
    return False


def _scale_and_shift(
    node: onnx.NodeProto, value: str, view: GraphView, *, channels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    ones, zeros = np.ones(channels), np.zeros(channels)
    if node.op_type == "BatchNormalization":
        parts = [view.constant(name) for name in node.input[1:5]]
        if any(part is None for part in parts) or attribute(node, "training_mode", 0) or len(node.output) > 1:
            return None
        gamma, beta, mean, variance = (np.asarray(part, np.float64) for part in parts)
        scale = gamma / np.sqrt(variance + float(attribute(node, "epsilon", 1e-5)))
        return scale, beta - scale * mean
    if node.op_type not in ("Mul", "Add", "Sub") or len(node.input) != 2:
        return None
    first = node.input[0] == value
    constant = _per_channel(view.constant(node.input[1 if first else 0]), channels)
    if constant is None:
        return None
    if node.op_type == "Mul":
        return constant, zeros
    if node.op_type == "Add":
        return ones, constant
    return (ones, -constant) if first else (-ones, constant)


def _per_channel(values: NDArray[Any] | None, channels: int) -> NDArray[np.float64] | None:
    """A constant that is one number, or one a channel: shapes (), (1,), (1, channel, 1, 1) and (channel, 1, 1)."""
    if values is None or values.dtype.kind != "f":
        return None
    exact = values.astype(np.float64)
    if values.size == 1 and values.ndim <= 4:
        return np.full(channels, exact.item())
    fits = values.size == channels and values.ndim in (3, 4) and values.shape[-3] == channels
    return exact.reshape(channels) if fits else None


def _set_weights(
    node: onnx.NodeProto, view: GraphView, weight: NDArray[np.float64], bias: NDArray[np.float64], kind: np.dtype[Any]
) -> None:
    name = view.add_weight(f"{node.input[1]}_folded", weight.astype(kind))
    bias_name = view.add_weight(f"{node.input[1]}_folded_bias", bias.astype(kind))
    data = node.input[0]
    del node.input[:]
    node.input.extend([data, name, bias_name])
