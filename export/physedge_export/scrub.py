"""The last touch on every graph: nothing of the maker's machine in it, one byte form, and the checker's word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physedge_export.canonical import canonical
from physedge_export.marks import FLOAT_KEY
from physedge_runtime.errors import BuildError

if TYPE_CHECKING:
    import onnx

_PRODUCER = "physedge"


def strip(model: onnx.ModelProto, *, name: str) -> None:
    """Take out what exporters leave behind: stack traces with source paths, signatures, descriptions.

    Only the float marks of `physedge_export.marks` stay.
    """
    graph = model.graph
    model.producer_name, model.producer_version, model.doc_string, model.domain = _PRODUCER, "", "", ""
    graph.name, graph.doc_string = name, ""
    del model.metadata_props[:]
    del graph.metadata_props[:]
    del graph.quantization_annotation[:]
    for node in graph.node:
        node.doc_string = ""
        kept = [item.value for item in node.metadata_props if item.key == FLOAT_KEY]
        del node.metadata_props[:]
        for value in kept:
            node.metadata_props.add(key=FLOAT_KEY, value=value)
    initialisers = {tensor.name for tensor in graph.initializer}
    described = [value for value in graph.value_info if value.name not in initialisers]
    del graph.value_info[:]
    graph.value_info.extend(described)
    for tensor in graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    for value in (*graph.value_info, *graph.input, *graph.output):
        value.doc_string = ""
        del value.metadata_props[:]


def checked_bytes(model: onnx.ModelProto) -> bytes:
    """The one byte form of a graph, after ONNX's own full check.

    Raises:
        BuildError: The checker refuses it (`PE-TRACE-008`), or it draws random numbers (`PE-TRACE-006`).
    """
    import onnx

    random = sorted(node.name for node in model.graph.node if node.op_type in _RANDOM_OPERATORS)
    if random:
        raise BuildError(
            "PE-TRACE-006",
            found=f"the graph draws random numbers at {random[0]}",
            expected="the same answer for the same frame",
            next_step="take dropout and noise out of evaluation mode",
        )
    data = canonical(model.SerializeToString(deterministic=True))
    try:
        onnx.checker.check_model(data, full_check=True)
    except Exception as error:
        raise BuildError(
            "PE-TRACE-008",
            found=f"ONNX's checker refuses the graph ({str(error).strip().splitlines()[0][:300]})",
            expected="a valid graph",
            next_step="try another --opset, or report this with the network",
        ) from error
    return data


_RANDOM_OPERATORS = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial"}
)
