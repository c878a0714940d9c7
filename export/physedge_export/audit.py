"""Which operators a graph has, and whether a target takes them: asked of the target's own reader where it is installed.

onnxruntime   a session is opened
openvino      the graph is read, and the CPU plug-in asked what it runs
tensorrt      TensorRT-RTX's parser reads it (no GPU is needed); else a list that was measured with it

An unsupported node is named with its module in the network and what to do.
"""

from __future__ import annotations

import importlib
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from physedge_export.marks import module_of
from physedge_runtime.errors import BuildError, UsageError
from physedge_runtime.telemetry import silence_openvino

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsupported:
    """One node that a target does not take.

    Attributes:
        node: Its name.
        operator: Its kind.
        module: Path of the module it came from; empty where it is not known.
        reason: The reader's own words.
        advice: What to do, without a full stop.
    """

    node: str
    operator: str
    module: str
    reason: str
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What a target says of a graph before anything is built.

    Attributes:
        target: `onnxruntime`, `openvino` or `tensorrt`.
        checked_by: Who said it, with the version.
        asked_the_reader: False where only a list was looked at.
        operators: Kind to count, the most frequent first.
        unsupported: Empty where the target takes the whole graph.
    """

    target: str
    checked_by: str
    asked_the_reader: bool
    operators: dict[str, int]
    unsupported: tuple[Unsupported, ...]

    @property
    def passed(self) -> bool:
        """Whether the target takes the whole graph."""
        return not self.unsupported

    def require(self) -> AuditReport:
        """This report.

        Raises:
            BuildError: The target does not take the graph (`PE-AUDIT-001`); the first node is named, with its module.
        """
        if self.unsupported:
            first = self.unsupported[0]
            more = f" and {len(self.unsupported) - 1} more" if len(self.unsupported) > 1 else ""
            raise BuildError(
                "PE-AUDIT-001",
                found=f"{self.target} does not take {first.operator} in module '{first.module}'{more} ({first.reason})",
                expected=f"operators that {self.checked_by} takes",
                next_step=first.advice,
            )
        return self


def audit(model: bytes, target: str) -> AuditReport:
    """Ask a target whether it takes a graph.

    Args:
        model: ONNX.
        target: `onnxruntime`, `openvino` or `tensorrt`.

    Raises:
        UsageError: There is no such target (`PE-AUDIT-002`).
    """
    import onnx

    if target not in _READERS:
        raise UsageError(
            "PE-AUDIT-002",
            found=f"the target {target!r}",
            expected=f"one of {', '.join(_READERS)}",
            next_step="name one of these with --target",
        )
    graph = onnx.load_from_string(model).graph
    try:
        reader, asked, refused = _READERS[target](model, list(graph.node))
    except ImportError:
        reader, asked, refused = f"nobody ({target} is not installed here)", False, {}
    unsupported = tuple(
        Unsupported(
            node=node.name,
            operator=node.op_type,
            module=module_of(node.name),
            reason=refused[node.name],
            advice=_advice(node.op_type),
        )
        for node in graph.node
        if node.name in refused
    )
    if _WHOLE_GRAPH in refused:
        whole = Unsupported(
            node="", operator="the graph", module="", reason=refused[_WHOLE_GRAPH], advice="see the reader's words"
        )
        unsupported = (*unsupported, whole)
    return AuditReport(
        target=target,
        checked_by=reader,
        asked_the_reader=asked,
        operators=dict(Counter(_kind(node) for node in graph.node).most_common()),
        unsupported=unsupported,
    )


_WHOLE_GRAPH = "\0graph"
_Answer = tuple[str, bool, dict[str, str]]
"""Who answered, whether it was the reader itself, and node name to reason for what is refused."""


def _ask_onnxruntime(model: bytes, nodes: list[onnx.NodeProto]) -> _Answer:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    reader = f"ONNX Runtime {onnxruntime.__version__}"
    try:
        onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        return reader, True, _named_in(str(error), nodes)
    return reader, True, {}


def _ask_openvino(model: bytes, nodes: list[onnx.NodeProto]) -> _Answer:
    silence_openvino()
    import openvino

    reader = f"OpenVINO {openvino.__version__.partition('-')[0]}"
    core = openvino.Core()
    try:
        read = core.read_model(model=model)
        runs = core.query_model(read, "CPU")
    except Exception as error:
        return reader, True, _named_in(str(error), nodes)
    names = {node.name for node in nodes}
    left = [op.get_friendly_name() for op in read.get_ops() if op.get_friendly_name() not in runs]
    return reader, True, {name if name in names else _WHOLE_GRAPH: f"no CPU kernel for {name}" for name in left}


def _ask_tensorrt(model: bytes, nodes: list[onnx.NodeProto]) -> _Answer:
    try:
        trt: Any = importlib.import_module("tensorrt_rtx_bindings")
    except ImportError:
        return _MEASURED_WITH, False, _by_list(nodes)
    logger = trt.Logger(trt.Logger.INTERNAL_ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    reader = f"TensorRT-RTX {trt.__version__}"
    if parser.supports_model_v2(model):
        return reader, True, {}
    refused: dict[str, str] = {}
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        # What follows the first line is the missing GPU's noise.
        reason = _first_line(error.desc().replace(f"Invalid Node - {error.node_name()}", ""))
        refused[error.node_name() or _WHOLE_GRAPH] = "no such operator" if "Plugin not found" in reason else reason
    return reader, True, refused or {_WHOLE_GRAPH: "the parser gave no reason"}


_READERS: dict[str, Callable[[bytes, list[Any]], _Answer]] = {
    "onnxruntime": _ask_onnxruntime,
    "openvino": _ask_openvino,
    "tensorrt": _ask_tensorrt,
}

_MEASURED_WITH = "a list measured with TensorRT-RTX 1.7.1"
_TENSORRT_REFUSES = frozenset(
    {
        *("AffineGrid", "Bernoulli", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"),
        *("CausalConvWithState", "CenterCropPad", "Col2Im", "Compress", "ConvInteger", "CumProd", "DFT", "DeformConv"),
        *("Det", "DynamicQuantizeLinear", "ImageDecoder", "LinearAttention", "MatMulInteger", "MaxUnpool"),
        *("MelWeightMatrix", "NegativeLogLikelihoodLoss", "OptionalGetElement", "OptionalHasElement", "QLinearConv"),
        *("QLinearMatMul", "RegexFullMatch", "SequenceInsert", "SequenceMap", "SoftmaxCrossEntropyLoss"),
        *("SplitToSequence", "StringConcat", "StringNormalizer", "StringSplit", "SwiGLU", "TfIdfVectorizer", "Unique"),
    }
)
"""Operators whose every node test of onnx 1.23.2 the parser of TensorRT-RTX 1.7.1 refused, without LayerNormalization,
NonZero and RoiAlign, whose tests use optional outputs or indices that a network here would not."""


def _by_list(nodes: Iterable[onnx.NodeProto]) -> dict[str, str]:
    return {
        node.name: f"not taken by {_MEASURED_WITH.removeprefix('a list measured with ')}"
        for node in nodes
        if node.op_type in _TENSORRT_REFUSES or node.domain not in ("", "ai.onnx")
    }


def _named_in(message: str, nodes: Iterable[onnx.NodeProto]) -> dict[str, str]:
    """The nodes whose name, or else whose kind, stands in a reader's message."""
    reason = next((line.strip("- ") for line in message.splitlines() if "No conversion rule" in line), "")
    reason = reason or _first_line(message.rpartition("[ONNXRuntimeError]")[2])
    by_name = {node.name: reason for node in nodes if node.name and f"'{node.name}'" in message}
    words = set(re.findall(r"[A-Za-z0-9_]+", message))
    by_kind = {node.name: reason for node in nodes if node.op_type in words}
    return by_name or by_kind or {_WHOLE_GRAPH: reason}


def _kind(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def _first_line(message: str) -> str:
    lines = [line.strip(" :") for line in message.splitlines() if line.strip(" :")]
    return (lines or ["no reason given"])[0][:300]


_ADVICE = {
    "DFT": "write the transform as a product with a fixed matrix, or the filter as a convolution",
    "STFT": "write the transform as a convolution with fixed kernels",
    "NonZero": "work with masks of a fixed shape instead of lists of indices",
    "Compress": "work with masks of a fixed shape instead of lists of indices",
    "Unique": "work with masks of a fixed shape instead of lists of indices",
    "Det": "write the determinant out for the fixed size",
    "Loop": "unroll the steps: their number is part of the trained network",
    "Scan": "unroll the steps: their number is part of the trained network",
    "DeformConv": "use ordinary convolutions, or export for onnxruntime",
}


def _advice(operator: str) -> str:
    return _ADVICE.get(operator, "replace it in that module by other operators, or choose another target")
