"""A network that comes as ONNX: checked against its declaration, and given the input and the answers that ship.

Three kinds of network are taken:

    float32 (batch, channel, height, width) in, logits out      scaling and sigmoid or softmax are put around it
    the same, ending in Sigmoid or Softmax already              the answer is left as it is
    uint8 (batch, height, width, channel) in                    taken as it is; only the answer is looked at
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physedge_export.graph import Progress, TracedGraph, graph_from_model, silent
from physedge_export.marks import mark_float, unique_name
from physedge_export.scrub import strip
from physedge_export.shipped import INPUT_SCOPE, LOGITS, OUTPUT_SCOPE, input_name, main_output, scale_and_offset
from physedge_runtime.errors import BuildError, missing_extra
from physedge_runtime.spec import ModelSpec, Task

if TYPE_CHECKING:
    import onnx

_OLDEST_OPSET = 17
_IR_VERSION = 10  # the first whose nodes carry properties
_PICTURE = "input.picture"


def graph_from_onnx(path: Path, spec: ModelSpec, *, progress: Progress | None = None) -> TracedGraph:
    """Take over a network that was exported elsewhere.

    Args:
        path: The ONNX file; weights beside it are taken in.
        spec: Its declaration. `float_modules` names prefixes of node names, or the classes that torch's exporter wrote.
        progress: Told what is done next.

    Raises:
        EnvironmentFault: onnx is not installed (`PE-ENV-001`).
        BuildError: The file is no valid ONNX (`PE-TRACE-020`), its input (`PE-TRACE-021`) or answer (`PE-TRACE-005`)
            does not fit the declaration, its operators are too old (`PE-TRACE-022`), a weight is not finite
            (`PE-TRACE-001`), or `float_modules` names nothing in it (`PE-TRACE-007`).
    """
    try:
        import onnx
    except ImportError as error:
        raise missing_extra("onnx", "export") from error
    say = progress or silent
    say(f"reading {path.name}")
    model = _read(path)
    _check_weights(model)
    _fix_batch(model)
    ready_input = _check_input(model, spec)
    _name_and_mark(model, spec)
    model.ir_version = max(model.ir_version, _IR_VERSION)
    graph = model.graph
    say("putting the picture's scaling and the answer's form around it")
    _rename(graph, graph.input[0].name, input_name(spec) if ready_input else _PICTURE)
    if not ready_input:
        _put_input(graph, spec)
    _put_output(graph, spec)
    strip(model, name=spec.name)
    del graph.value_info[:]
    try:
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except Exception as error:
        raise _invalid(path, error) from error
    return graph_from_model(model, spec)


def _read(path: Path) -> onnx.ModelProto:
    import onnx

    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except Exception as error:
        raise _invalid(path, error) from error
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 0)
    if opset < _OLDEST_OPSET:
        try:
            return onnx.version_converter.convert_version(model, 18)
        except Exception as error:
            raise BuildError(
                "PE-TRACE-022",
                found=f"{path} uses operator set {opset}, and it cannot be converted ({_first_line(error)})",
                expected=f"operator set {_OLDEST_OPSET} or newer",
                next_step="export the network again with a newer opset",
            ) from error
    return model


def _check_weights(model: onnx.ModelProto) -> None:
    import onnx

    for tensor in model.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise BuildError(
                "PE-TRACE-001",
                found=f"{int((~np.isfinite(values)).sum())} of {values.size} values of the weight {tensor.name} "
                "are NaN or infinite",
                expected="finite weights",
                next_step="export an earlier checkpoint",
            )


def _fix_batch(model: onnx.ModelProto) -> None:
    """Give a free batch axis the length one."""
    for value in (*model.graph.input, *model.graph.output):
        axes = value.type.tensor_type.shape.dim
        if axes and not axes[0].dim_value:
            axes[0].Clear()
            axes[0].dim_value = 1


def _check_input(model: onnx.ModelProto, spec: ModelSpec) -> bool:
    """Whether the input is already the one that ships.

    Raises:
        BuildError: PE-TRACE-021.
    """
    import onnx

    weights = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(given)
    described = [_described(value) for value in given]
    uint8, float32 = onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT
    ready = (uint8 if spec.frame is not None else float32, (1, *spec.input_shape))
    wanted = [ready]
    if spec.frame is not None:
        height, width, channels = spec.frame.shape
        wanted.append((float32, (1, channels, height, width)))
    if len(described) == 1 and described[0][0] == wanted[-1][0]:
        _fill_free_axes(given[0], wanted[-1][1])
        described = [_described(given[0])]
    if len(described) != 1 or described[0] not in wanted:
        names = ", ".join(f"{onnx.TensorProto.DataType.Name(kind).lower()} {shape}" for kind, shape in described)
        forms = " or ".join(f"{onnx.TensorProto.DataType.Name(kind).lower()} {shape}" for kind, shape in wanted)
        raise BuildError(
            "PE-TRACE-021",
            found=f"the network takes in {names or 'nothing'}",
            expected=f"one input, {forms}",
            next_step="correct [frame] or [voltages] in the specification, or export the network with that input",
        )
    return described[0] == ready


def _described(value: onnx.ValueInfoProto) -> tuple[int, tuple[int, ...]]:
    kind = value.type.tensor_type
    return int(kind.elem_type), tuple(int(axis.dim_value) for axis in kind.shape.dim)


def _fill_free_axes(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> None:
    axes = value.type.tensor_type.shape.dim
    if len(axes) == len(shape):
        for axis, length in zip(axes, shape, strict=True):
            if not axis.dim_value:
                axis.Clear()
                axis.dim_value = length


def _name_and_mark(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Keep the maker's node names (each once), and mark what `float_modules` names."""
    found: set[str] = set()
    taken: set[str] = set()
    for index, node in enumerate(model.graph.node):
        told = {item.key: item.value for item in node.metadata_props}
        classes = ast.literal_eval(told.get("pkg.torch.onnx.class_hierarchy", "[]"))
        plain = node.name.strip("/") or f"graph/{node.op_type}_{index}"
        for wanted in spec.float_modules:
            if wanted in classes or plain.startswith(wanted.strip("/")):
                found.add(wanted)
                mark_float(node)
        node.name = unique_name(plain, taken)
    missing = [wanted for wanted in spec.float_modules if wanted not in found]
    if missing:
        raise BuildError(
            "PE-TRACE-007",
            found=f"float_modules names {missing[0]}, and no node of the network belongs to it",
            expected="the beginning of a node's name, for example " + (model.graph.node[0].name or "graph"),
            next_step="correct float_modules in the specification; physedge inspect lists the nodes",
        )


def _put_input(graph: onnx.GraphProto, spec: ModelSpec) -> None:
    import onnx

    assert spec.frame is not None
    make = onnx.helper.make_node
    scale, offset = scale_and_offset(spec)
    graph.initializer.extend(
        onnx.numpy_helper.from_array(values, f"{INPUT_SCOPE}.{name}")
        for name, values in (("scale", scale), ("offset", offset))
    )
    front = [
        make("Cast", ["frame"], ["input.float"], to=onnx.TensorProto.FLOAT, name=f"{INPUT_SCOPE}/Cast"),
        make("Transpose", ["input.float"], ["input.planes"], perm=[0, 3, 1, 2], name=f"{INPUT_SCOPE}/Transpose"),
        make("Mul", ["input.planes", f"{INPUT_SCOPE}.scale"], ["input.scaled"], name=f"{INPUT_SCOPE}/Mul"),
        make("Add", ["input.scaled", f"{INPUT_SCOPE}.offset"], [_PICTURE], name=f"{INPUT_SCOPE}/Add"),
    ]
    for node in front:
        mark_float(node)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*front, *rest])
    del graph.input[:]
    shape = (1, *spec.frame.shape)
    graph.input.append(onnx.helper.make_tensor_value_info("frame", onnx.TensorProto.UINT8, shape))


def _put_output(graph: onnx.GraphProto, spec: ModelSpec) -> None:
    """Bring the main answer to the front under its name; add the sigmoid or softmax where there is none yet."""
    import onnx

    promised = main_output(spec)
    outputs = list(graph.output)
    wanted = {promised, LOGITS}
    main = next((value for value in outputs if value.name in wanted), outputs[0])
    makers = {name: node for node in graph.node for name in node.output}
    maker = makers.get(main.name)
    is_answer = main.name == promised or (maker is not None and maker.op_type in ("Sigmoid", "Softmax"))
    if spec.task is Task.RECONSTRUCTION or is_answer:
        _rename(graph, main.name, promised)
    else:
        operator = "Sigmoid" if spec.output_channels == 1 else "Softmax"
        node = onnx.helper.make_node(operator, [main.name], [promised], name=f"{OUTPUT_SCOPE}/{operator}")
        if operator == "Softmax":
            node.attribute.append(onnx.helper.make_attribute("axis", 1))
        mark_float(node)
        graph.node.append(node)
        main.name = promised
    for value in outputs:
        value.type.tensor_type.ClearField("shape")  # inferred again, now that the input's axes are known
    del graph.output[:]
    graph.output.extend([main, *(value for value in outputs if value is not main)])


def _rename(graph: onnx.GraphProto, old: str, new: str) -> None:
    """Give a value another name, everywhere."""
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    for value in (*graph.input, *graph.output):
        if value.name == old:
            value.name = new


def _invalid(path: Path, error: Exception) -> BuildError:
    return BuildError(
        "PE-TRACE-020",
        found=f"{path} cannot be used ({_first_line(error)})",
        expected="a valid ONNX file",
        next_step="export the network again, and run onnx.checker on it",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
