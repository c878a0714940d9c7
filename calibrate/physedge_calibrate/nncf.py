"""INT8 in OpenVINO's own representation, by NNCF: plain, and with layers given back until the accuracy holds.

NNCF quantises more operators than convolutions and corrects biases; the steps of embedded physics are left out as
everywhere. Weights have 7 bits in every layer (its own default guards the first layer only): see `quantize` for why.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import math
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.emulation import with_batch_axis
from physedge_runtime.errors import BuildError, UsageError, missing_extra
from physedge_runtime.telemetry import silence_openvino

if TYPE_CHECKING:
    from types import ModuleType

    import openvino

Score = Callable[[int, Mapping[str, NDArray[np.float32]]], float]

_NO_ARITHMETIC = ("Constant", "Parameter", "Result")
_COUNTED_OPERATORS = ("Convolution", "GroupConvolution", "MatMul")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedIr:
    """A model in OpenVINO's representation.

    Attributes:
        xml: The graph.
        weights: Its constants.
        method: How it was made, in a few words.
        int8_mac_share: Fraction of the multiply-accumulates whose inputs are quantised, 0 to 1.
        calibration_count: Images it was calibrated with.
    """

    xml: bytes
    weights: bytes
    method: str
    int8_mac_share: float
    calibration_count: int


def quantize_ir(
    model: bytes, calibration: Sequence[NDArray[np.generic]], *, float_nodes: Collection[str] = ()
) -> QuantizedIr:
    """The network in OpenVINO's representation, quantised by NNCF.

    Args:
        model: A serialised full-precision ONNX model.
        calibration: Inputs of the graph, with or without a batch axis of 1.
        float_nodes: Names of nodes of the ONNX model that stay in float.

    Raises:
        UsageError: PE-CALIB-001, no calibration inputs.
        EnvironmentFault: PE-ENV-001, NNCF or OpenVINO is not installed.
        BuildError: PE-CALIB-002, the quantiser failed.
    """
    nncf = _nncf()
    source = _read(model, calibration)
    with _quietly(nncf):
        quantised = nncf.quantize(
            source,
            nncf.Dataset([with_batch_axis(image) for image in calibration]),
            subset_size=len(calibration),
            ignored_scope=_ignored(nncf, source, model, float_nodes),
            advanced_parameters=_seven_bit_weights(nncf),
        )
    return _packed(quantised, "NNCF for OpenVINO, 7-bit weights", len(calibration))


def quantize_ir_with_accuracy_control(
    model: bytes,
    calibration: Sequence[NDArray[np.generic]],
    validation: Sequence[NDArray[np.generic]],
    score: Score,
    *,
    max_drop: float,
    float_nodes: Collection[str] = (),
) -> QuantizedIr:
    """The same, with the layers that cost most given back to float until the mean score falls by `max_drop` at most.

    The scores steer the quantiser: they are no verdict, and the images must not be those of the gate.

    Args:
        model: A serialised full-precision ONNX model.
        calibration: Inputs of the graph, with or without a batch axis of 1.
        validation: Further inputs, whose answers are scored.
        score: From the index of a validation input and the outputs by name to its score; higher is better.
        max_drop: Largest fall of the mean score.
        float_nodes: Names of nodes of the ONNX model that stay in float.

    Raises:
        UsageError: PE-CALIB-001, no calibration or validation inputs.
        EnvironmentFault: PE-ENV-001, NNCF or OpenVINO is not installed.
        BuildError: PE-CALIB-002, the quantiser failed.
    """
    nncf = _nncf()
    source = _read(model, calibration if validation else ())
    numbered = [(index, with_batch_axis(image)) for index, image in enumerate(validation)]

    def scored(compiled: Any, items: Any) -> tuple[float, list[float]]:
        # Under all its names: one that only rearranges another value has the names of both.
        names = [name for output in compiled.outputs for name in sorted(output.get_names())]
        scores = []
        for index, image in items:
            answer = compiled(image)
            scores.append(score(index, {name: np.array(answer[name], np.float32) for name in names}))
        return float(np.mean(scores)), scores

    with _quietly(nncf):
        quantised = nncf.quantize_with_accuracy_control(
            source,
            nncf.Dataset([with_batch_axis(image) for image in calibration]),
            nncf.Dataset(numbered, lambda item: item[1]),
            scored,
            max_drop=max_drop,
            drop_type=nncf.DropType.ABSOLUTE,
            subset_size=len(calibration),
            ignored_scope=_ignored(nncf, source, model, float_nodes),
            advanced_quantization_parameters=_seven_bit_weights(nncf),
        )
    return _packed(quantised, "NNCF with accuracy control for OpenVINO, 7-bit weights", len(calibration))


def _nncf() -> ModuleType:
    silence_openvino()
    try:
        return importlib.import_module("nncf")
    except ImportError as error:
        raise missing_extra("nncf", "export") from error


def _read(model: bytes, calibration: Sequence[NDArray[np.generic]]) -> openvino.Model:
    """The model with the shape of one calibration input."""
    if not calibration:
        raise UsageError(
            "PE-CALIB-001",
            found="no calibration images",
            expected="at least one image of the kind that the device will see",
            next_step="name a folder of training images with --calib DIR",
        )
    import openvino

    read: Any = openvino.Core().read_model(model)
    read.reshape(list(with_batch_axis(calibration[0]).shape))
    return cast("openvino.Model", read)


def _ignored(nncf: ModuleType, read: openvino.Model, model: bytes, float_nodes: Collection[str]) -> Any:
    """The scope of all operations that stay in float."""
    return nncf.IgnoredScope(names=sorted(_float_operations(read, model, float_nodes)), validate=False)


def _float_operations(read: openvino.Model, model: bytes, float_nodes: Collection[str]) -> set[str]:
    """Names of the operations that came from nodes which stay in float.

    OpenVINO folds nodes away while it reads, names what gives an output by that output, and makes several operations of
    one node, of which the last alone has its name. The others belong to the island if all around them does.
    """
    import onnx

    known: dict[str, bool] = {}
    for node in onnx.load_from_string(model).graph.node:
        known |= dict.fromkeys((node.name, *node.output), node.name in float_nodes)
    operations = [one for one in read.get_ops() if one.get_type_name() not in _NO_ARITHMETIC]
    around: dict[str, set[str]] = {one.get_friendly_name(): set() for one in operations}
    for one in operations:
        for value in one.input_values():
            before = value.get_node().get_friendly_name()
            if before in around:
                around[before].add(one.get_friendly_name())
                around[one.get_friendly_name()].add(before)
    unknown = set(around) - set(known)
    while unknown:
        settled = {name for name in unknown if around[name] & set(known)}
        if not settled:
            break
        known |= {name: all(known[other] for other in around[name] if other in known) for name in settled}
        unknown -= settled
    return {name for name in around if known.get(name, False)}


def _seven_bit_weights(nncf: ModuleType) -> Any:
    return nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)


@contextlib.contextmanager
def _quietly(nncf: ModuleType) -> Iterator[None]:
    """No progress bars on stdout, which belongs to the caller; a failure becomes one of ours."""
    import logging

    nncf.set_log_level(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise BuildError(
            "PE-CALIB-002",
            found=f"NNCF stopped ({lines[0][:200] if lines else type(error).__name__})",
            expected="a graph and calibration images that it can run",
            next_step="choose another candidate, or export the network with --precision fp32",
        ) from error


def _packed(model: openvino.Model, method: str, calibration_count: int) -> QuantizedIr:
    import openvino

    with tempfile.TemporaryDirectory(prefix="physedge-") as folder:
        path = Path(folder) / "model.xml"
        openvino.serialize(model, path)
        return QuantizedIr(
            xml=_stable_names(path.read_text(encoding="utf-8")).encode(),
            weights=path.with_suffix(".bin").read_bytes(),
            method=method,
            int8_mac_share=_mac_share(model),
            calibration_count=calibration_count,
        )


def _mac_share(model: openvino.Model) -> float:
    total = quantised = 0
    for operation in model.get_ops():
        if operation.get_type_name() not in _COUNTED_OPERATORS:
            continue
        macs = _macs(operation)
        total += macs
        quantised += macs * all(_is_quantised(operation.input_value(index).get_node()) for index in (0, 1))
    return quantised / total if total else 0.0


def _macs(operation: openvino.Node) -> int:
    output = math.prod(operation.get_output_shape(0))
    weight = list(operation.get_input_shape(1))
    if operation.get_type_name() == "MatMul":
        return int(output * operation.get_input_shape(0)[-1])
    # Convolution (output, input, ...), GroupConvolution (group, output, input, ...).
    inner = weight[2:] if operation.get_type_name() == "GroupConvolution" else weight[1:]
    return int(output * math.prod(inner))


def _is_quantised(node: openvino.Node) -> bool:
    """Whether a value comes out of a FakeQuantize, or is an integer constant with a scale."""
    while node.get_type_name() in ("Reshape", "Transpose", "Convert", "Multiply", "Subtract") and node.inputs():
        node = node.input_value(0).get_node()
    if node.get_type_name() == "Constant":
        return str(node.get_output_element_type(0).get_type_name()) in ("i8", "u8")
    return bool(node.get_type_name() == "FakeQuantize")


def _stable_names(xml: str) -> str:
    """The graph with the names that OpenVINO makes up numbered in order: its own counter runs on for the process."""
    invented: dict[str, str] = {}
    for name in re.findall(r'<layer id="\d+" name="([A-Z]\w*_\d+)"', xml):
        invented.setdefault(name, f"{name.rpartition('_')[0]}_{len(invented)}")
    return re.sub(r"\b[A-Z]\w*_\d+\b", lambda match: invented.get(match.group(), match.group()), xml)
