"""Write the magnitude of a convolution as an activation that ONNX Runtime computes inside the convolution.

Case: Conv -> Abs, the convolution used by nothing else. |x| is the leaky rectifier with a slope of -1 below zero.

ONNX Runtime takes a leaky rectifier into the convolution before it, but no Abs: between two convolutions it leaves its
blocked layout for the Abs alone and returns to it, two copies of the map. OpenVINO takes the Abs in as it is: the pass
is in ONNX Runtime's list only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from physedge_export.passes.base import PassResult
from physedge_export.passes.view import GraphView

if TYPE_CHECKING:
    import onnx

SLOPE_OF_MAGNITUDE = -1.0


class MagnitudeInConvolution:
    """The same magnitude, without a step of its own."""

    name = "magnitude_in_convolution"

    def apply(self, model: onnx.ModelProto) -> PassResult:
        """Rewrite a graph in place."""
        view = GraphView(model)
        return PassResult(model, view.rewrite(lambda node: _rewrite(node, view)))


def _rewrite(node: onnx.NodeProto, view: GraphView) -> bool:
    import onnx

    if node.op_type != "Abs":
        return False
    (given,), (answer,) = node.input, node.output
    convolution = view.maker.get(given)
    if convolution is None or convolution.op_type != "Conv" or view.only_user(given) is None:
        return False
    magnitude = view.new_node("LeakyRelu", [given], answer, like=node)
    magnitude.attribute.append(onnx.helper.make_attribute("alpha", SLOPE_OF_MAGNITUDE))
    view.replace(node, [magnitude])
    return True
