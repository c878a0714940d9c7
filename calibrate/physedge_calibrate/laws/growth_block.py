"""The growth block cut out of a graph that ships, as a graph of its own that the same engine opens.

Its one input (1, cells² + 2) is u row by row, then D and rho; its output is `density`. Nothing of the block itself is
changed: where the input's parts go in stood the network.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physedge_calibrate.laws.growth import DENSITY, DIFFUSIVITY, GROWTH, Block
from physedge_calibrate.laws.growth_equation import Density
from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.growth import SNAPSHOTS, GrowthSpec
from physedge_runtime.ir import is_ir, pack_ir, unpack_ir

if TYPE_CHECKING:
    import onnx
    import openvino

_INPUT = "state"
_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


class NotCutOut(Exception):
    """The block is not separate from the network; says why."""


@contextmanager
def open_growth_block(graph: bytes, spec: GrowthSpec, engine: str, request: EngineRequest) -> Iterator[Block]:
    """The block of a graph, open on an engine.

    Args:
        graph: ONNX, or OpenVINO's representation as one entry.
        spec: Of the growth.
        engine: A name of `physedge_runtime.engines.ENGINES`.
        request: What the whole graph is opened with: threads and options are taken from it.

    Raises:
        NotCutOut: The block hangs together with the rest otherwise than by u, D and rho.
    """
    cells = spec.cells
    part = cut_from_ir(graph, cells) if is_ir(graph) else cut_from_onnx(graph, cells)
    own = EngineRequest(
        graph=part,
        graph_sha256="",
        input_shape=(1, cells * cells + 2),
        outputs={DENSITY: (1, SNAPSHOTS, cells, cells)},
        threads=request.threads,
        options=request.options,
    )
    with open_engine(engine, own) as opened:

        def block(density: Density, diffusivity: float, growth: float) -> Any:
            state = np.concatenate([density.ravel(), [diffusivity, growth]])[np.newaxis]
            return opened.infer(np.ascontiguousarray(state, np.float32))[DENSITY][0]

        yield block


def cut_from_onnx(graph: bytes, cells: int) -> bytes:
    """The block of an ONNX graph.

    Raises:
        NotCutOut: See `open_growth_block`; or the package `onnx` is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise NotCutOut("the package onnx is not installed") from error
    model = onnx.load_from_string(graph)
    producers = {output: node for node in model.graph.node for output in node.output}
    joined = producers.get(_float_source(DENSITY, producers))
    if joined is None or joined.op_type != "Concat":
        raise NotCutOut(f"{DENSITY} does not begin with the density that it evolved from")
    begin = _float_source(joined.input[0], producers)
    ends = {begin: (1, 1, cells, cells), DIFFUSIVITY: (1, 1), GROWTH: (1, 1)}
    needed = _needed_nodes(model.graph, DENSITY, set(ends), producers)
    constants = {name for node in needed for name in node.input}
    parts = _input_parts(ends, cells)
    part = onnx.helper.make_graph(
        [*parts.node, *needed],
        "growth",
        [onnx.helper.make_tensor_value_info(_INPUT, onnx.TensorProto.FLOAT, (1, cells * cells + 2))],
        [onnx.helper.make_tensor_value_info(DENSITY, onnx.TensorProto.FLOAT, (1, SNAPSHOTS, cells, cells))],
        [*parts.initializer, *(one for one in model.graph.initializer if one.name in constants)],
    )
    own = onnx.helper.make_model(part, opset_imports=model.opset_import, ir_version=model.ir_version)
    serialised: bytes = own.SerializeToString(deterministic=True)
    return serialised


def _float_source(name: str, producers: dict[str, onnx.NodeProto]) -> str:
    """The tensor before its quantisation, if there is one."""
    while (node := producers.get(name)) is not None and node.op_type in _QUANTISERS:
        name = node.input[0]
    return name


def _needed_nodes(
    graph: onnx.GraphProto, output: str, ends: set[str], producers: dict[str, onnx.NodeProto]
) -> list[onnx.NodeProto]:
    """What `output` is made of, back to `ends`, in the order of the graph."""
    inputs = {value.name for value in graph.input} - {one.name for one in graph.initializer}
    waiting, seen, kept = [output], set(ends), set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in inputs:
            raise NotCutOut("it depends on the picture by more than u, D and rho")
        node = producers.get(name)
        if node is not None:
            kept.add(id(node))
            waiting += [one for one in node.input if one]
    return [node for node in graph.node if id(node) in kept]


def _input_parts(ends: dict[str, tuple[int, ...]], cells: int) -> onnx.GraphProto:
    """The nodes that take u, D and rho out of the one input, with their constants."""
    import onnx
    from onnx import numpy_helper

    graph, start = onnx.GraphProto(), 0
    for index, (name, shape) in enumerate(ends.items()):
        size = int(np.prod(shape))
        values = {"start": [start], "end": [start + size], "axis": [1], "shape": list(shape)}
        for key, numbers in values.items():
            graph.initializer.append(numpy_helper.from_array(np.array(numbers, np.int64), f"state_{index}_{key}"))
        place = [f"state_{index}_{key}" for key in ("start", "end", "axis")]
        graph.node.append(onnx.helper.make_node("Slice", [_INPUT, *place], [f"state_{index}"], name=f"take_{index}"))
        graph.node.append(
            onnx.helper.make_node("Reshape", [f"state_{index}", f"state_{index}_shape"], [name], name=f"shape_{index}")
        )
        start += size
    assert start == cells * cells + 2
    return graph


def cut_from_ir(graph: bytes, cells: int) -> bytes:
    """The block of a graph in OpenVINO's representation, in the same.

    Raises:
        NotCutOut: See `open_growth_block`.
    """
    import openvino
    from openvino import opset13 as ops

    xml, weights = unpack_ir(graph)
    model = openvino.Core().read_model(model=xml, weights=weights)
    density = model.output(DENSITY).get_node().input_value(0)
    joined = _ir_float_source(density).get_node()
    if joined.get_type_name() != "Concat":
        raise NotCutOut(f"{DENSITY} does not begin with the density that it evolved from")
    begin = _ir_float_source(joined.input_value(0))
    state = ops.parameter([1, cells * cells + 2], np.float32, name=_INPUT)
    start = 0
    for source, shape in (
        (begin, (1, 1, cells, cells)),
        *((model.output(name).get_node().input_value(0), (1, 1)) for name in (DIFFUSIVITY, GROWTH)),
    ):
        size = int(np.prod(shape))
        taken = ops.reshape(ops.slice(state, [start], [start + size], [1], [1]), list(shape), special_zero=False)
        for user in list(source.get_target_inputs()):
            if user.get_node().get_type_name() != "Result":
                user.replace_source_output(taken.output(0))
        start += size
    result = ops.result(density)
    density.get_tensor().set_names({DENSITY})
    build: Any = openvino.Model  # its stub binds another class
    try:
        part = build([result], [state], "growth")
    except RuntimeError as error:
        raise NotCutOut("it depends on the picture by more than u, D and rho") from error
    with tempfile.TemporaryDirectory(prefix="physedge-") as folder:
        path = Path(folder) / "growth.xml"
        openvino.serialize(part, path)
        return pack_ir(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def _ir_float_source(source: openvino.Output) -> openvino.Output:
    while source.get_node().get_type_name() == "FakeQuantize":
        source = source.get_node().input_value(0)
    return source
