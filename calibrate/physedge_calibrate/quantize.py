"""Full-precision graph in, graph with Q/DQ nodes out, one form for each family of targets.

Processors (ONNX Runtime and OpenVINO): unsigned activations and signed weights of 7 bits. With 8 bits the
16-bit accumulators of x86 kernels without VNNI saturate, silently; signed activations are slow in ONNX Runtime
and wrong in OpenVINO behind a Concat.

TensorRT: symmetric signed activations and weights of 8 bits, biases in float, which its parser insists on.
GPUs accumulate in 32 bits, so nothing saturates there.

ONNX Runtime takes an integer kernel only where the result is quantised too, with a Relu in between folded into
the rounding. It has integer kernels for sums, sigmoids, concatenations and enlargements as well, and those pay: what
lies between two convolutions is then never converted (`pmrnet_e` at 256x256, one AVX2 core: 98 ms with convolutions
alone, 77 ms with these, 87 ms in full precision). Its products do not pay and stay in float. OpenVINO and TensorRT take
an integer kernel wherever the inputs are quantised: there the results stay in float for the steps between convolutions,
which costs less time and less accuracy. Each graph gives the same answers in every engine, but is fast in its own only.

Weights are quantised per output channel. The steps of embedded physics stay in float: their increments are smaller than
one quantum of their state and would vanish.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.emulation import with_batch_axis
from physedge_calibrate.island_inputs import unrounded_islands
from physedge_calibrate.macs import MacCount, mac_counts
from physedge_calibrate.signal_inputs import unrounded_signals
from physedge_runtime.errors import BuildError, UsageError

if TYPE_CHECKING:
    from onnxruntime.quantization import CalibrationDataReader

Kinds = Literal["all", "dense"]
Processor = Literal["onnxruntime", "openvino"]
Progress = Callable[[int], object]

QUANTISED_OPERATORS = ("Conv", "Gemm", "MatMul")
# Where results are quantised: folded into the rounding of the convolution before them, or integer between two of them.
_CLOSED_OPERATORS = ("Relu", "Clip", "Add", "Concat", "Resize", "Sigmoid")


@dataclass(frozen=True, slots=True)
class _Form:
    """How Q/DQ nodes are set for a family of engines.

    Attributes:
        method: In a few words.
        signed: Symmetric signed activations, 8-bit weights, float biases; else unsigned ones and 7-bit weights.
        closed: Results are quantised as well as inputs.
    """

    method: str
    signed: bool
    closed: bool


_FORMS = {
    "onnxruntime": _Form("unsigned Q/DQ for ONNX Runtime, 7-bit weights", signed=False, closed=True),
    "openvino": _Form("unsigned Q/DQ for OpenVINO, 7-bit weights", signed=False, closed=False),
    "tensorrt": _Form("symmetric signed 8-bit Q/DQ for TensorRT", signed=True, closed=False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedModel:
    """A graph with Q/DQ nodes, and what of it really runs in INT8.

    Attributes:
        model: The serialised ONNX model; the same inputs give the same bytes.
        method: How it was made, in a few words.
        int8_mac_share: Fraction of the multiply-accumulates that runs in INT8, 0 to 1.
        quantised_nodes: Names of the nodes that do.
        float_nodes: Names of the convolutions and matrix products that do not.
        calibration_count: Images it was calibrated with.
    """

    model: bytes
    method: str
    int8_mac_share: float
    quantised_nodes: tuple[str, ...]
    float_nodes: tuple[str, ...]
    calibration_count: int


def quantize_unsigned(
    model: bytes,
    calibration: Iterable[NDArray[np.generic]],
    *,
    input_name: str,
    float_nodes: Collection[str] = (),
    kinds: Kinds = "all",
    engine: Processor = "onnxruntime",
    ranges: Path | None = None,
    progress: Progress | None = None,
) -> QuantizedModel:
    """The graph for processors: unsigned 8-bit activations, signed 7-bit weights per channel.

    Args:
        model: A serialised full-precision ONNX model.
        calibration: Inputs of the graph, for a picture uint8 (height, width, channel) or with a batch axis of 1.
        input_name: Name of the graph's input.
        float_nodes: Names of nodes that stay in float.
        kinds: "all" convolutions and products, or only the "dense" ones, leaving depthwise convolutions in float.
        engine: The one that the graph is to be fast in.
        ranges: File that keeps the ranges of all tensors: written where it is not there, else read in place of the
            images, so that a second graph of the same network and engine calibrates nothing again.
        progress: Called with the number of images seen so far.

    Raises:
        UsageError: PE-CALIB-001, no calibration inputs.
        BuildError: PE-CALIB-002, the quantiser failed; PE-CALIB-003, an unknown shape; PE-CALIB-004, none of
            `float_nodes` is in the graph.
    """
    return _quantize(
        model,
        calibration,
        input_name=input_name,
        float_nodes=float_nodes,
        kinds=kinds,
        progress=progress,
        form=_FORMS[engine],
        ranges=ranges,
    )


def quantize_signed(
    model: bytes,
    calibration: Iterable[NDArray[np.generic]],
    *,
    input_name: str,
    float_nodes: Collection[str] = (),
    kinds: Kinds = "all",
    progress: Progress | None = None,
) -> QuantizedModel:
    """The graph for TensorRT: symmetric signed 8-bit activations and weights per channel, biases in float.

    Its numbers without a GPU come from `emulation.emulate`, never from the integer kernels of an x86 processor.
    Arguments and errors are those of `quantize_unsigned`.
    """
    return _quantize(
        model,
        calibration,
        input_name=input_name,
        float_nodes=float_nodes,
        kinds=kinds,
        progress=progress,
        form=_FORMS["tensorrt"],
    )


def _quantize(
    model: bytes,
    calibration: Iterable[NDArray[np.generic]],
    *,
    input_name: str,
    float_nodes: Collection[str],
    kinds: Kinds,
    progress: Progress | None,
    form: _Form,
    ranges: Path | None = None,
) -> QuantizedModel:
    excluded = _excluded_nodes(model, float_nodes, kinds)
    images = _Reader(calibration, input_name, progress)
    if ranges is not None and ranges.exists():
        images.skip()
    with tempfile.TemporaryDirectory(prefix="physedge-") as folder:
        quantised = _run_quantiser(model, images, excluded=excluded, form=form, folder=Path(folder), ranges=ranges)
    counts = mac_counts(quantised, closed=form.closed)
    which = "convolutions and products" if kinds == "all" else "dense convolutions and products"
    return QuantizedModel(
        model=quantised,
        method=f"{form.method}, {which}",
        int8_mac_share=_share(counts),
        quantised_nodes=tuple(count.node for count in counts if count.int8),
        float_nodes=tuple(count.node for count in counts if not count.int8),
        calibration_count=images.count,
    )


def _run_quantiser(
    model: bytes, images: _Reader, *, excluded: list[str], form: _Form, folder: Path, ranges: Path | None
) -> bytes:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    source, result = folder / "prepared.onnx", folder / "result.onnx"
    operators = [*QUANTISED_OPERATORS, *(_CLOSED_OPERATORS if form.closed else ())]
    try:
        source.write_bytes(prepared(model))
        quantize_static(
            str(source),
            str(result),
            # The quantiser asks for `get_next` and nothing else.
            cast("CalibrationDataReader", images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=operators,
            nodes_to_exclude=excluded,
            per_channel=True,
            reduce_range=not form.signed,
            activation_type=QuantType.QInt8 if form.signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax,
            extra_options=_extra_options(form),
            calibration_cache_path=ranges,
        )
    except Exception as error:
        if images.failure is not None:
            raise images.failure from None
        if images.count == 0:
            raise _no_images() from error
        raise BuildError(
            "PE-CALIB-002",
            found=f"the quantiser of ONNX Runtime stopped ({_one_line(error)})",
            expected="a graph and calibration images that it can run",
            next_step="run `physedge inspect` on the network, or export it with --precision fp32",
        ) from error
    return _tidied(result.read_bytes(), excluded, operators)


def _extra_options(form: _Form) -> dict[str, object]:
    options: dict[str, object] = {}
    if form.signed:
        options |= {"ActivationSymmetric": True, "QuantizeBias": False}
    if not form.closed:
        options["OpTypesToExcludeOutputQuantization"] = list(QUANTISED_OPERATORS)
    return options


def prepared(model: bytes) -> bytes:
    """The full-precision graph as the quantiser takes it: shapes inferred, constants and neighbours folded.

    Names of convolutions and matrix products stay.
    """
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory(prefix="physedge-") as folder:
        source, result = Path(folder) / "source.onnx", Path(folder) / "result.onnx"
        source.write_bytes(model)
        # The symbolic part of shape inference gives up on a batch of any size.
        quant_pre_process(str(source), str(result), skip_symbolic_shape=True)
        return result.read_bytes()


def _tidied(model: bytes, float_nodes: Collection[str], operators: Collection[str]) -> bytes:
    """The model whose signals and islands read unrounded values, without operator sets that no node uses.

    Parsers may refuse a set that they do not know.
    """
    import onnx

    loaded = onnx.load_from_string(model)
    unrounded_signals(loaded)
    unrounded_islands(loaded, float_nodes, operators)
    used = {node.domain for node in loaded.graph.node} | {""}
    kept = [entry for entry in loaded.opset_import if entry.domain in used]
    del loaded.opset_import[:]
    loaded.opset_import.extend(kept)
    serialised: bytes = loaded.SerializeToString(deterministic=True)
    return serialised


class _Reader:
    """Calibration inputs as the quantiser asks for them, counted; what their source raised is kept for the caller."""

    def __init__(self, images: Iterable[NDArray[np.generic]], input_name: str, progress: Progress | None) -> None:
        self._images = iter(images)
        self._input_name = input_name
        self._progress = progress
        self.count = 0
        self.failure: Exception | None = None

    def skip(self) -> None:
        """Count the inputs that are left, and give none."""
        self.count += sum(1 for _ in self._images)

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        """The next input by name; None after the last."""
        try:
            image = next(self._images, None)
        except Exception as error:
            self.failure = error
            raise
        if image is None:
            return None
        self.count += 1
        if self._progress is not None:
            self._progress(self.count)
        return {self._input_name: with_batch_axis(image)}


def _excluded_nodes(model: bytes, float_nodes: Collection[str], kinds: Kinds) -> list[str]:
    import onnx

    graph = onnx.load_from_string(model).graph
    names = {node.name for node in graph.node}
    excluded = names.intersection(float_nodes)
    if float_nodes and not excluded:
        raise BuildError(
            "PE-CALIB-004",
            found=f"none of {len(float_nodes)} nodes that must stay in float is in the graph",
            expected="the names of the graph that is quantised",
            next_step="trace the network again",
        )
    # An answer in steps of a quantum, where no convolution makes it, would be a loss for nothing.
    promised = {value.name for value in graph.output}
    excluded |= {
        node.name for node in graph.node if node.op_type in _CLOSED_OPERATORS and promised.intersection(node.output)
    }
    if kinds == "dense":
        excluded |= {count.node for count in mac_counts(model) if count.depthwise}
    return sorted(excluded)


def _share(counts: tuple[MacCount, ...]) -> float:
    total = sum(count.macs for count in counts)
    return sum(count.macs for count in counts if count.int8) / total if total else 0.0


def _no_images() -> UsageError:
    return UsageError(
        "PE-CALIB-001",
        found="no calibration images",
        expected="at least one image of the kind that the device will see",
        next_step="name a folder of training images with --calib DIR",
    )


def _one_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
