"""The station for TensorRT: what can be delivered without a GPU, and the sentence that says what was not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physedge.deploy.judge import Graph

if TYPE_CHECKING:
    from torch import nn

    from physedge.deploy.calibration import Calibration
    from physedge_calibrate.quantize import QuantizedModel
    from physedge_export.graph import TracedGraph
    from physedge_runtime.spec import ModelSpec

NOT_BUILT = (
    "no engine was run here: it is built on the device (physedge export --build BUNDLE), where it must reproduce the "
    "golden frames before its first live one; nothing is claimed about its speed or accuracy"
)


def half_graph(traced: TracedGraph, module: nn.Module | None, spec: ModelSpec) -> Graph:
    """The half-precision form of a traced graph, physics in float32.

    Where the network is at hand in torch, the graph is held against it in ONNX Runtime.

    Raises:
        BuildError: It leaves the range of float16, or deviates by more than half precision allows.
    """
    from physedge.deploy.golden import golden_frames
    from physedge_export import half
    from physedge_export.canonical import canonical
    from physedge_export.parity import check_parity
    from physedge_export.targets.tensorrt import HALF_ENTRY

    halved = half.half_graph(traced, spec)
    if module is not None:
        check_parity(module, spec, halved.model, golden_frames(spec)[:1], precision="fp16")
    return Graph(entry=HALF_ENTRY, precision="fp16", data=canonical(halved.model))


def signed_graph(traced: TracedGraph, calibration: Calibration) -> tuple[Graph, QuantizedModel]:
    """The symmetric Q/DQ graph and how it was made."""
    from physedge_calibrate.quantize import quantize_signed
    from physedge_export.canonical import canonical
    from physedge_export.targets.tensorrt import SIGNED_ENTRY

    quantised = quantize_signed(traced.model, calibration.inputs, input_name="frame", float_nodes=traced.float_nodes)
    return Graph(entry=SIGNED_ENTRY, precision="int8", data=canonical(quantised.model)), quantised
