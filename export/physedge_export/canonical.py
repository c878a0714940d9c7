"""The one spelling of a graph that a device reads: what `physedge_runtime.graph_wire` takes, and nothing beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from physedge_export.marks import FLOAT_KEY
from physedge_export.sizes import with_constant_sizes

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

_WITHOUT_WORDS = ("doc_string", "metadata_props", "quantization_annotation", "overload")


def canonical(model: bytes) -> bytes:
    """The same graph, spelled as a device reads it.

    Descriptions, notes of other programs, fields that ONNX does not know, operator sets that no node uses, and values
    of which the size is not told are left out; what decides a size is a constant; the numbers of every tensor are raw
    bytes. Nothing that is computed changes, and a graph in this form comes back as it was.

    Args:
        model: An ONNX file whose weights lie in it.
    """
    import onnx

    loaded = onnx.load_from_string(model)
    loaded.DiscardUnknownFields()
    graph = loaded.graph
    _clear(loaded, graph, *graph.value_info, *graph.input, *graph.output)
    for node in graph.node:
        is_float = any(item.key == FLOAT_KEY for item in node.metadata_props)
        _clear(node, *node.attribute)
        if is_float:
            node.metadata_props.add(key=FLOAT_KEY, value="1")
        if node.domain in ("", "ai.onnx"):
            node.ClearField("domain")
    _one_operator_set(loaded)
    with_constant_sizes(loaded)
    for tensor in _tensors(graph):
        _as_raw_bytes(tensor)
    weights = {tensor.name for tensor in graph.initializer}
    for values in (graph.input, graph.value_info):
        kept = [value for value in values if value.name not in weights]
        del values[:]
        values.extend(kept)
    sized = [value for value in graph.value_info if _has_size(value)]
    del graph.value_info[:]
    graph.value_info.extend(sized)
    data: bytes = loaded.SerializeToString(deterministic=True)
    return data


def _clear(*messages: object) -> None:
    for message in messages:
        known = {field.name for field in message.DESCRIPTOR.fields}  # type: ignore[attr-defined]
        for name in _WITHOUT_WORDS:
            if name in known:
                message.ClearField(name)  # type: ignore[attr-defined]


def _one_operator_set(model: onnx.ModelProto) -> None:
    """Keep the sets that nodes use; the standard one has no name."""
    used = {node.domain for node in model.graph.node} | {""}
    kept = {"" if item.domain == "ai.onnx" else item.domain: item.version for item in model.opset_import}
    del model.opset_import[:]
    for domain, version in kept.items():
        if domain in used:
            model.opset_import.add(domain=domain, version=version)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t


def _as_raw_bytes(tensor: onnx.TensorProto) -> None:
    import onnx

    _clear(tensor)
    if tensor.HasField("raw_data") or tensor.data_type == onnx.TensorProto.STRING or tensor.external_data:
        return
    raw = onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor), tensor.name)
    if raw.data_type == tensor.data_type:
        tensor.CopyFrom(raw)


def _has_size(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    return (
        value.type.HasField("tensor_type")
        and kind.HasField("shape")
        and all(axis.HasField("dim_value") for axis in kind.shape.dim)
    )
