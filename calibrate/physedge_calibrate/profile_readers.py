"""The counters of the engines, read into one form; a new engine is one class and one line in `READERS`."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from numpy.typing import NDArray

from physedge_runtime.engines import EngineRequest
from physedge_runtime.engines.onnxruntime import OnnxRuntimeEngine
from physedge_runtime.engines.openvino import OpenVinoEngine

POINTWISE, DEPTHWISE, DENSE = "pointwise convolution", "depthwise convolution", "dense convolution"
ELEMENTWISE, QUANTISE, LAYOUT = "element-wise", "quantise", "layout"
CONCAT, RESIZE, REDUCE, OTHER = "concat", "resize", "reduce", "other"
KINDS = (POINTWISE, DENSE, DEPTHWISE, ELEMENTWISE, QUANTISE, CONCAT, RESIZE, REDUCE, LAYOUT, OTHER)
"""Kinds of work, as tables and pictures order them."""

_KIND_OF_OPERATOR = {
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear", "FakeQuantize", "Convert"), QUANTISE),
    **dict.fromkeys(("Concat", "Concatenation", "QLinearConcat"), CONCAT),
    **dict.fromkeys(("Resize", "Interpolate", "Upsample"), RESIZE),
    **dict.fromkeys(
        ("ReduceMean", "ReduceSum", "ReduceMax", "Reduce", "GlobalAveragePool", "AveragePool", "MaxPool", "Pooling"),
        REDUCE,
    ),
    **dict.fromkeys(("Reorder", "ReorderInput", "ReorderOutput", "Transpose", "Reshape", "Cast"), LAYOUT),
    **dict.fromkeys(
        ("Subgraph", "Eltwise", "Add", "Sub", "Mul", "Div", "Exp", "Log", "Sigmoid", "Tanh", "Relu", "Clip", "Abs",
         "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu", "QuickGelu", "Softmax", "LogSoftmax",
         "Math", "Multiply", "Subtract"),
        ELEMENTWISE,
    ),
}  # fmt: skip
_NOT_RUN = ("Input", "Parameter", "Const", "Constant", "Result", "Output")
_CONVOLUTIONS = ("Conv", "FusedConv", "QLinearConv", "Convolution", "GroupConvolution", "NhwcFusedConv", "ConvInteger")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOperator:
    """One operator in one inference, as the engine tells it.

    Attributes:
        name: Unique in the engine's graph.
        kind: One of `KINDS`.
        kernel: By the engine's own name.
        nodes: Names of the graph's nodes or values that it computes, the chief one first.
        milliseconds: Wall time.
    """

    name: str
    kind: str
    kernel: str
    nodes: tuple[str, ...]
    milliseconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRun:
    """One inference.

    Attributes:
        operators: In the order in which they ran.
        wall_ms: Wall time of the whole inference, with the counters on.
    """

    operators: tuple[EngineOperator, ...]
    wall_ms: float


class Reader(Protocol):
    """An engine with its counters on."""

    def infer(self, inputs: NDArray[Any]) -> object:
        """Run once."""
        ...

    def runs(self) -> list[EngineRun]:
        """Every inference so far; none may follow."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def kind_of(operator: str, *, weight: tuple[int, ...] = (), groups: int = 1) -> str:
    """The kind of work of an operator.

    Args:
        operator: ONNX's, ONNX Runtime's or OpenVINO's name.
        weight: Of a convolution, (output, input of a group, height, width); empty where not known.
        groups: Of a convolution.
    """
    if operator in _CONVOLUTIONS:
        if groups > 1:
            return DEPTHWISE
        return POINTWISE if weight[-2:] == (1, 1) else DENSE
    return _KIND_OF_OPERATOR.get(operator, OTHER)


class OpenVinoReader:
    """Counts after each inference; what was fused is told by the compiled graph.

    The counters are means over all inferences since the graph was compiled, in whole microseconds. What one inference
    added is worked out from two of them, and after some inferences the graph is compiled anew, before the rounding of
    the mean weighs.
    """

    _INFERENCES_A_GRAPH = 8

    def __init__(self, request: EngineRequest) -> None:
        self._request = replace(request, threads=1, options={**request.options, "profile": True})
        self._engine = OpenVinoEngine(self._request)
        self._runs: list[EngineRun] = []
        self._about: dict[str, tuple[str, tuple[str, ...]]] = {}
        self._count = 0
        self._totals_ms: dict[str, float] = {}

    def infer(self, inputs: NDArray[Any]) -> object:
        """Run once."""
        if self._count == self._INFERENCES_A_GRAPH:
            self._engine.close()
            self._open(OpenVinoEngine(self._request))
        started = time.perf_counter()
        answer = self._engine.infer(inputs)
        wall_ms = (time.perf_counter() - started) * 1e3
        self._count += 1
        # The mean is rounded down: half of a microsecond of each inference is missing in the middle.
        missing_ms = 0.5e-3 * (self._count - 1)
        run = []
        for entry in self._engine.profiling_info():
            if entry.node_type in _NOT_RUN:
                continue
            mean_ms = entry.real_time.total_seconds() * 1e3
            name, total_ms = entry.node_name, mean_ms * self._count + (missing_ms if mean_ms else 0.0)
            kind, nodes = self._about.get(name, (kind_of(entry.node_type), ()))
            run.append(
                EngineOperator(
                    name=name,
                    kind=kind,
                    kernel=f"{entry.node_type} {entry.exec_type}",
                    nodes=(*nodes, name),
                    milliseconds=max(total_ms - self._totals_ms.get(name, 0.0), 0.0),
                )
            )
            self._totals_ms[name] = total_ms
        self._runs.append(EngineRun(operators=tuple(run), wall_ms=wall_ms))
        return answer

    def runs(self) -> list[EngineRun]:
        """Every inference."""
        return self._runs

    def __enter__(self) -> Self:
        self._open(self._engine)
        return self

    def _open(self, engine: OpenVinoEngine) -> None:
        """Take a newly compiled graph; the names that OpenVINO makes up are others each time."""
        self._engine = engine.open()
        self._count, self._totals_ms, self._about = 0, {}, {}
        for node in engine.compiled_graph().get_ordered_ops():
            told = {key: str(getattr(value, "value", value)) for key, value in node.get_rt_info().items()}
            shapes = [tuple(value.get_shape()) for value in node.input_values() if value.get_partial_shape().is_static]
            kind = _openvino_kind(told.get("layerType", ""), told.get("primitiveType", ""), shapes)
            nodes = tuple(name for name in told.get("originalLayersNames", "").split(",") if name)
            self._about[node.get_friendly_name()] = (kind, nodes)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.close()


def _openvino_kind(layer: str, kernel: str, inputs: list[tuple[int, ...]]) -> str:
    """Groups are told by the weights, which have five axes then; weights inside the kernel are not told at all."""
    if layer not in _CONVOLUTIONS:
        return kind_of(layer)
    weight = inputs[1] if len(inputs) > 1 else ()
    if len(weight) == 5 or layer == "GroupConvolution" or "_dw_" in kernel:
        return DEPTHWISE
    if weight:
        return kind_of(layer, weight=weight)
    return POINTWISE if "1x1" in kernel else DENSE


class OnnxRuntimeReader:
    """Writes a profile of all inferences when it is closed; kinds come from the graph that it made of the graph."""

    def __init__(self, request: EngineRequest) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="physedge-")
        self._optimised = Path(self._folder.name) / "optimised.onnx"
        options = {
            **request.options,
            "profile": Path(self._folder.name) / "profile",
            "optimised_graph": self._optimised,
        }
        self._engine = OnnxRuntimeEngine(replace(request, threads=1, options=options))

    def infer(self, inputs: NDArray[Any]) -> object:
        """Run once."""
        return self._engine.infer(inputs)

    def runs(self) -> list[EngineRun]:
        """Every inference; closes the engine, which writes its profile only then."""
        self._engine.close()
        events = json.loads(Path(self._engine.profile_path).read_text(encoding="utf-8"))
        about = _optimised_nodes(self._optimised)
        runs: list[EngineRun] = []
        operators: list[EngineOperator] = []
        # Events are in the order of their ends: a run's operators stand before the run itself.
        for event in sorted(events, key=lambda event: event["ts"] + event["dur"]):
            if event["name"] == "model_run":
                runs.append(EngineRun(operators=tuple(operators), wall_ms=event["dur"] / 1e3))
                operators = []
            elif event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
                name = event["name"].removesuffix("_kernel_time")
                kind, nodes = about.get(name, (kind_of(event["args"]["op_name"]), ()))
                operators.append(
                    EngineOperator(
                        name=name,
                        kind=kind,
                        kernel=event["args"]["op_name"],
                        nodes=(name, *nodes),
                        milliseconds=event["dur"] / 1e3,
                    )
                )
        return runs

    def __enter__(self) -> Self:
        self._engine.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.close()
        self._folder.cleanup()


def _optimised_nodes(path: Path) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Node of the optimised graph to its kind and the values that it makes."""
    import onnx

    graph = onnx.load(path).graph
    shapes = {weight.name: tuple(weight.dims) for weight in graph.initializer}
    about = {}
    for node in graph.node:
        groups = next((item.i for item in node.attribute if item.name == "group"), 1)
        weight = shapes.get(node.input[3 if node.op_type == "QLinearConv" else 1], ()) if len(node.input) > 1 else ()
        about[node.name] = (kind_of(node.op_type, weight=weight, groups=groups), tuple(node.output))
    return about


READERS: dict[str, Callable[[EngineRequest], Reader]] = {
    "onnxruntime": OnnxRuntimeReader,
    "openvino": OpenVinoReader,
}
