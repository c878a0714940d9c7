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
    "no engine was built or run: that is done on the device, where it must reproduce the golden frames before its "
    "first live one; nothing is claimed about its speed or accuracy"
)


def half_graph(module: nn.Module, spec: ModelSpec) -> Graph:
    """The half-precision graph, physics in float32, held against the float32 module in ONNX Runtime.

    Raises:
        BuildError: It cannot be traced, or deviates by more than half precision allows.
    """
    from physedge.deploy.golden import golden_frames
    from physedge_export.parity import check_parity
    from physedge_export.targets.tensorrt import HALF_ENTRY
    from physedge_export.trace import trace

    traced = trace(module, spec, half=True)
    check_parity(module, spec, traced.model, golden_frames(spec)[:1], precision="fp16")
    return Graph(entry=HALF_ENTRY, precision="fp16", data=traced.model)


def signed_graph(traced: TracedGraph, calibration: Calibration) -> tuple[Graph, QuantizedModel]:
    """The symmetric Q/DQ graph and how it was made."""
    from physedge_calibrate.quantize import quantize_signed
    from physedge_export.targets.tensorrt import SIGNED_ENTRY

    quantised = quantize_signed(traced.model, calibration.inputs, input_name="frame", float_nodes=traced.float_nodes)
    return Graph(entry=SIGNED_ENTRY, precision="int8", data=quantised.model), quantised
