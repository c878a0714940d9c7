"""Which layers cost the accuracy: each quantised layer alone, all others in float, and the error of the output.

The scales are those of one calibration, taken from the quantised graph, so that the sweep calibrates nothing again.
Each layer is emulated in float on quantised values (its input, its weights, its output where that is quantised),
which finds what the rounding costs; what the integer kernels of a processor add to it is the gate's business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.emulation import emulating_session, with_batch_axis
from physedge_calibrate.macs import mac_counts
from physedge_calibrate.quantize import QuantizedModel, prepared
from physedge_runtime.errors import UsageError

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

MOST_IMAGES = 16
_SHOWN_LAYERS = 24

Progress = Callable[[int, int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerSensitivity:
    """What quantising one layer alone does to the output.

    Attributes:
        node: Name of the layer's node.
        operator: Its operator.
        mac_share: Its share of the network's multiply-accumulates, 0 to 1.
        error: Root of the mean squared change of the output over the standard deviation of the output.
    """

    node: str
    operator: str
    mac_share: float
    error: float


@dataclass(frozen=True, slots=True)
class _Rounding:
    """The quantisation of one tensor: an initializer in float again, or a scale and a zero point for Q/DQ."""

    weights: TensorProto | None
    scale: TensorProto | None
    zero_point: TensorProto | None


def layer_sensitivity(
    model: bytes,
    quantised: QuantizedModel,
    images: Iterable[NDArray[np.generic]],
    *,
    input_name: str,
    threads: int = 1,
    progress: Progress | None = None,
) -> tuple[LayerSensitivity, ...]:
    """Every quantised layer with the error it causes alone, the largest first.

    Args:
        model: The full-precision model that `quantised` was made from.
        quantised: The quantised graph, whose scales are used.
        images: Inputs of the graph; the first 16 are used.
        input_name: Name of the graph's input.
        threads: Layers that are tried at a time, one thread each.
        progress: Called with the number of layers done and of all layers.

    Raises:
        UsageError: PE-CALIB-001, no images.
    """
    import onnx

    inputs = [with_batch_axis(image) for image, _ in zip(images, range(MOST_IMAGES), strict=False)]
    if not inputs:
        raise UsageError(
            "PE-CALIB-001",
            found="no images for the sensitivity of the layers",
            expected="at least one image of the kind that the device will see",
            next_step="name a folder of training images with --calib DIR",
        )
    whole = prepared(model)
    roundings = _roundings(onnx.load_from_string(quantised.model).graph, set(quantised.quantised_nodes))
    counts = {count.node: count for count in mac_counts(whole)}
    total = sum(count.macs for count in counts.values())
    reference = _outputs(whole, inputs, input_name)
    spread = float(reference.std()) or 1.0

    def alone(node: str) -> LayerSensitivity:
        change = _outputs(_one_quantised(whole, node, roundings[node]), inputs, input_name) - reference
        return LayerSensitivity(
            node=node,
            operator=counts[node].operator,
            mac_share=counts[node].macs / total,
            error=float(np.sqrt(np.mean(np.square(change)))) / spread,
        )

    layers: list[LayerSensitivity] = []
    names = quantised.quantised_nodes
    with ThreadPoolExecutor(max(1, threads)) as pool:
        # Sessions compute without Python's lock: a thread a core sweeps as a process a core would.
        waiting = {pool.submit(alone, name) for name in names}
        for done in as_completed(waiting):
            layers.append(done.result())
            if progress is not None:
                progress(len(layers), len(names))
    return tuple(sorted(layers, key=lambda layer: (-layer.error, layer.node)))


def layers_to_keep_in_float(
    layers: Sequence[LayerSensitivity], *, error_share: float = 0.5, mac_share: float = 0.1
) -> tuple[str, ...]:
    """The layers that a mixed precision leaves in float: those that remove most of the error for few operations.

    Errors of layers add as squares. The most sensitive are taken until they hold `error_share` of the sum; a layer
    that would bring the share of multiply-accumulates in float above `mac_share` is passed over.

    Args:
        layers: As `layer_sensitivity` gives them.
        error_share: Share of the squared error to remove, 0 to 1.
        mac_share: Most multiply-accumulates to leave in float, as a share of the network's.
    """
    whole = sum(layer.error**2 for layer in layers)
    removed = spent = 0.0
    kept = []
    for layer in sorted(layers, key=lambda entry: -entry.error):
        if removed >= error_share * whole:
            break
        if spent + layer.mac_share > mac_share:
            continue
        kept.append(layer.node)
        removed += layer.error**2
        spent += layer.mac_share
    return tuple(kept)


def draw_sensitivity(
    path: Path, layers: Sequence[LayerSensitivity], *, labels: Mapping[str, str] | None = None
) -> None:
    """Write a PNG: the most sensitive layers and their errors.

    Args:
        path: The file.
        layers: The largest error first.
        labels: What to write for a node instead of its name.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = layers[:_SHOWN_LAYERS]
    named = labels or {}
    figure = Figure(figsize=(10, 1.4 + 0.27 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    rows = [float(row) for row in range(len(shown))]
    axis.barh(rows, [layer.error for layer in shown], color="#1763a6")
    for row, layer in zip(rows, shown, strict=True):
        axis.text(layer.error, row, f" {layer.mac_share:.1%} of the operations", va="center", fontsize=7)
    axis.set_yticks(rows, [named.get(layer.node, layer.node) for layer in shown], fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.18)
    axis.set_xlabel("error of the output when this layer alone is quantised, over the output's spread", fontsize=9)
    axis.set_title(f"Sensitivity: {len(shown)} of {len(layers)} quantised layers", fontsize=11)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _outputs(model: bytes, inputs: Sequence[NDArray[np.generic]], input_name: str) -> NDArray[np.float64]:
    """The first output of every input, in one vector, computed on one thread."""
    session = emulating_session(model, threads=1)
    name = session.get_outputs()[0].name
    values = [np.asarray(session.run([name], {input_name: image})[0]) for image in inputs]
    return np.concatenate([value.ravel() for value in values]).astype(np.float64)


def _roundings(graph: GraphProto, names: set[str]) -> dict[str, tuple[_Rounding, ...]]:
    """For each quantised node: the rounding of its two inputs and, where it has one, of its output."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    producers = {output: node for node in graph.node for output in node.output}
    consumers = {name: node for node in graph.node for name in node.input}
    found = {}
    for node in graph.node:
        if node.name not in names:
            continue
        inputs = tuple(_input_rounding(producers[name], tensors) for name in node.input[:2])
        after = consumers.get(node.output[0])
        if after is not None and after.op_type == "QuantizeLinear":
            inputs += (_Rounding(None, tensors[after.input[1]], tensors[after.input[2]]),)
        found[node.name] = inputs
    return found


def _input_rounding(dequantiser: NodeProto, tensors: Mapping[str, TensorProto]) -> _Rounding:
    from onnx import helper, numpy_helper

    source, scale_name, zero_name = dequantiser.input
    if source not in tensors:
        return _Rounding(None, tensors[scale_name], tensors[zero_name])
    values, scale, zero = (
        numpy_helper.to_array(tensors[name]).astype(np.float32) for name in (source, scale_name, zero_name)
    )
    if scale.ndim == 1 and scale.size > 1:
        axis = next((helper.get_attribute_value(a) for a in dequantiser.attribute if a.name == "axis"), 1)
        shape = [-1 if position == axis else 1 for position in range(values.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    rounded = ((values - zero) * scale).astype(np.float32)
    return _Rounding(numpy_helper.from_array(rounded, f"{source}_rounded"), None, None)


def _one_quantised(model: bytes, name: str, roundings: tuple[_Rounding, ...]) -> bytes:
    """The model with Q/DQ around one node."""
    import onnx

    loaded = onnx.load_from_string(model)
    graph = loaded.graph
    nodes = list(graph.node)
    position = next(index for index, node in enumerate(nodes) if node.name == name)
    changed = nodes[position]
    before: list[NodeProto] = []
    extra: list[TensorProto] = []
    for index, rounding in enumerate(roundings[:2]):
        if rounding.weights is not None:
            extra.append(rounding.weights)
            changed.input[index] = rounding.weights.name
        else:
            before += _pair(changed.input[index], f"{name}_input{index}", rounding, extra)
            changed.input[index] = f"{name}_input{index}"
    after: list[NodeProto] = []
    if len(roundings) > 2:
        result = changed.output[0]
        changed.output[0] = f"{name}_float"
        after = _pair(changed.output[0], result, roundings[2], extra)
    ordered = [*nodes[:position], *before, changed, *after, *nodes[position + 1 :]]
    # `extend` copies; what is cleared must not be what is copied from.
    kept = type(graph)(node=ordered)
    del graph.node[:]
    graph.node.extend(kept.node)
    graph.initializer.extend(extra)
    serialised: bytes = loaded.SerializeToString()
    return serialised


def _pair(source: str, result: str, rounding: _Rounding, extra: list[TensorProto]) -> list[NodeProto]:
    """QuantizeLinear and DequantizeLinear from `source` to `result`; their constants go to `extra`."""
    from onnx import helper

    assert rounding.scale is not None
    assert rounding.zero_point is not None
    constants = []
    for suffix, tensor in (("scale", rounding.scale), ("zero_point", rounding.zero_point)):
        own = type(tensor)()
        own.CopyFrom(tensor)
        own.name = f"{result}_{suffix}"
        extra.append(own)
        constants.append(own.name)
    return [
        helper.make_node("QuantizeLinear", [source, *constants], [f"{result}_quantised"], name=f"{result}_q"),
        helper.make_node("DequantizeLinear", [f"{result}_quantised", *constants], [result], name=f"{result}_dq"),
    ]
