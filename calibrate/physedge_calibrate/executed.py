"""Which multiply-accumulates OpenVINO really does in INT8 here, by its own account of the compiled graph."""

from __future__ import annotations

from collections.abc import Mapping

from physedge_runtime.ir import is_ir, unpack_ir
from physedge_runtime.telemetry import silence_openvino

_INTEGERS = ("i8", "u8")


def executed_int8_share(graph: bytes, macs: Mapping[str, int]) -> float:
    """The fraction of the multiply-accumulates whose kernels compute on 8-bit integers, 0 to 1.

    Args:
        graph: The ONNX file, or the entry in OpenVINO's representation.
        macs: Multiply-accumulates by the name of the node in the full-precision graph; the quantisers keep these names.
    """
    silence_openvino()
    import openvino

    core = openvino.Core()
    if is_ir(graph):
        xml, weights = unpack_ir(graph)
        model = core.read_model(model=xml, weights=weights)
    else:
        model = core.read_model(model=graph)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1})
    done = 0
    for operation in compiled.get_runtime_model().get_ops():
        notes = operation.get_rt_info()
        if str(_text(notes, "runtimePrecision")).lower() in _INTEGERS:
            names = _text(notes, "originalLayersNames").split(",")
            done += sum(macs.get(name, 0) for name in names)
    total = sum(macs.values())
    return done / total if total else 0.0


def _text(notes: Mapping[str, object], key: str) -> str:
    if key not in notes:
        return ""
    value = notes[key]
    return str(getattr(value, "value", value))
