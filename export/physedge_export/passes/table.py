"""Which passes run for which target: chosen by measurement, a new pass is one file and one line.

On pmrnet_e at 256x256, one thread of an AVX2 processor, CPU time, `sigmoid_as_division` brings OpenVINO from 67.5 to
63.7 ms in float32 and from 56.1 to 55.2 ms in INT8 (medians of 21 interleaved rounds), and ONNX Runtime from 69.6 to
81.8 ms. `magnitude_in_convolution` and `softmax_in_steps` spare ONNX Runtime copies of the map and transposes.
Writing Conv(Concat) as a sum of convolutions was slower in OpenVINO (0.93x), and so was giving one wide convolution
all of a coupling's terms (0.86x): neither is here. `benchmarks/passes.py` prints what each step gains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from physedge_export.graph import Progress, TracedGraph
from physedge_export.marks import float_nodes, module_of
from physedge_export.passes.affine_convolutions import FoldAffineIntoConvolutions
from physedge_export.passes.base import GraphPass, PassReport, run_passes
from physedge_export.passes.convolution_sums import SumConvolutions
from physedge_export.passes.folded_pixels import FoldPixelsIntoConvolution
from physedge_export.passes.idle_nodes import RemoveIdleNodes
from physedge_export.passes.input_scale import FoldInputScale
from physedge_export.passes.magnitude_in_convolution import MagnitudeInConvolution
from physedge_export.passes.sigmoid_as_division import SigmoidAsDivision
from physedge_export.passes.sigmoid_as_polynomial import SigmoidAsPolynomial
from physedge_export.passes.softmax_in_steps import SoftmaxInSteps

if TYPE_CHECKING:
    import onnx

_CONVOLUTIONS: tuple[Callable[[], GraphPass], ...] = (
    RemoveIdleNodes,
    FoldPixelsIntoConvolution,
    SumConvolutions,
    FoldAffineIntoConvolutions,
)
_EVERYWHERE: tuple[Callable[[], GraphPass], ...] = (*_CONVOLUTIONS, FoldInputScale)
PASSES: dict[str, tuple[Callable[[], GraphPass], ...]] = {
    "onnxruntime": (*_EVERYWHERE, MagnitudeInConvolution, SoftmaxInSteps),
    "openvino": (*_EVERYWHERE, SigmoidAsDivision),
    # The half-precision graph keeps the picture's scaling in float32 and apart, or 255 would meet half weights.
    "tensorrt": _CONVOLUTIONS,
}

APPROXIMATIONS: dict[str, tuple[Callable[[], GraphPass], ...]] = {"openvino": (SigmoidAsPolynomial,)}
"""What besides helps a graph that is quantised afterwards: coarser than float32, finer than INT8. The gate judges it
with the rest."""
LARGEST_APPROXIMATION = 0.02
"""Of an output on random inputs, as a fraction of its largest value; above, the graph is quantised as it is."""


def approximate(traced: TracedGraph, target: str) -> TracedGraph:
    """The graph that is quantised for a target; the given one where nothing helps, or where it would go too far."""
    passes = [make() for make in APPROXIMATIONS.get(target, ())]
    data, report = run_passes(traced.model, passes, most_deviation=float("inf"))
    return _described(traced, data) if report.deviation <= LARGEST_APPROXIMATION else traced


def apply_passes(
    traced: TracedGraph, target: str, *, progress: Progress | None = None
) -> tuple[TracedGraph, PassReport]:
    """The graph as a target likes it best, with the same function.

    Args:
        traced: In float32.
        target: `onnxruntime`, `openvino` or `tensorrt`.
        progress: Told what is done next.

    Raises:
        BuildError: A pass broke the graph (`PE-TRACE-030`).
    """
    data, report = run_passes(traced.model, [make() for make in PASSES[target]], progress=progress)
    return _described(traced, data), report


def _described(traced: TracedGraph, data: bytes) -> TracedGraph:
    import onnx

    model: onnx.ModelProto = onnx.load_from_string(data)
    modules = {node.name: module_of(node.name) for node in model.graph.node}
    return replace(traced, model=data, float_nodes=float_nodes(model), module_of_node=modules)
