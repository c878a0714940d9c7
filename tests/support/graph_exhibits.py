"""Graphs that are spelled so that two readers may read two things, each with the identifier of its refusal."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import exhibits
import numpy as np
from protobuf_edits import Part, edited, spelled, varint
from tiny_network import tiny_graph

_GRAPH, _NODE, _CAST = (7,), (7, (1, 3)), (7, (1, 0))
_TENSOR, _OUTPUT_SHAPE = (7, (5, 0)), (7, 12, 2, 1, 2)
_EXTERNAL = spelled([Part(1, 2, b"location"), Part(2, 2, b"passwd")])


def with_field(path: tuple[Any, ...], part: Part, *, at_end: bool = True) -> Callable[[], bytes]:
    """The tiny graph with one field more in one of its messages."""
    return lambda: edited(tiny_graph(), path, lambda message: [*message, part] if at_end else [part, *message])


def hidden(path: tuple[Any, ...], number: int, value: bytes) -> Callable[[], bytes]:
    """A field whose tag has bit 32 set: engines drop the bit, and read the field."""
    tag = varint((number << 3 | 2) | 1 << 32)
    return with_field(path, Part(number, 2, value, tag=tag))


def respelled(path: tuple[Any, ...], number: int, change: Callable[[Part], Part]) -> Callable[[], bytes]:
    """One field of the tiny graph spelled otherwise."""
    return lambda: edited(
        tiny_graph(),
        path,
        lambda message: [change(part) if part.number == number else part for part in message],
    )


def twice(path: tuple[Any, ...], number: int) -> Callable[[], bytes]:
    """A field that stands once in ONNX, given twice: protobuf takes the last, or merges both."""
    return lambda: edited(
        tiny_graph(), path, lambda message: [one for part in message for one in [part] * (1 + (part.number == number))]
    )


def _model(change: Callable[[Any], None]) -> Callable[[], bytes]:
    return lambda: exhibits.graph(change)


def _nested_attribute(**values: Any) -> Callable[[], bytes]:
    """A node with an attribute of a kind that reaches beyond plain numbers."""

    def change(model: Any) -> None:
        attribute = model.graph.node[3].attribute.add(name="x")
        for name, value in values.items():
            field = getattr(attribute, name)
            if isinstance(value, list):
                field.extend(value)
            else:
                field.CopyFrom(value)

    return _model(change)


def _messages() -> Any:
    import onnx

    return onnx


def _data_location(model: Any) -> None:
    model.graph.initializer[0].data_location = 1


def _external_beside(model: Any) -> None:
    record = model.graph.initializer[0].external_data.add()
    record.key, record.value = "location", "passwd"


def _typed(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.float_data.extend([0.0, 0.0, 0.0])


def _sparse(model: Any) -> None:
    model.graph.sparse_initializer.add().dims.extend([1])


def _sequence(model: Any) -> None:
    model.graph.value_info.add(name="s").type.sequence_type.elem_type.tensor_type.elem_type = 1


def _no_type(model: Any) -> None:
    model.graph.value_info.add(name="s")


def _segment(model: Any) -> None:
    model.graph.initializer[0].segment.begin = 0


def _many_nodes(model: Any) -> None:
    node = model.graph.node[3]
    model.graph.node.extend([node] * 20_001)


def _many_axes(model: Any) -> None:
    tensor = model.graph.initializer[0]
    del tensor.dims[:]
    tensor.dims.extend([1] * 300_000 + [3])


def _wide_pad(model: Any) -> None:
    onnx = _messages()
    pads = onnx.numpy_helper.from_array(np.array([0, 0, 0, 0, 0, 0, 0, 2**16 + 1], np.int64), "pads")
    model.graph.initializer.append(pads)
    model.graph.node.append(onnx.helper.make_node("Pad", ["logits", "pads"], ["padded"]))


def _opset(version: int, domain: str = "", *, also: bool = False) -> Callable[[], bytes]:
    def change(model: Any) -> None:
        if not also:
            del model.opset_import[:]
        model.opset_import.add(domain=domain, version=version)

    return _model(change)


def _open_batch(model: Any) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _note(model: Any) -> None:
    model.graph.node[0].metadata_props.add(key="device", value="x")


def _fields(model: Any) -> None:
    node = model.graph.node[0]
    del node.input[:]
    node.input.extend([""] * 400_000)


SPELLINGS: dict[str, tuple[Callable[[], bytes], str]] = {
    "an operator hidden by bit 32 of its tag": (hidden(_NODE, 4, b"Backdoor"), "PE-BUNDLE-036"),
    "a domain hidden by bit 32 of its tag": (hidden(_NODE, 7, b"com.evil"), "PE-BUNDLE-036"),
    "a graph hidden by bit 32 of its tag": (hidden((7, (1, 3)), 5, spelled([Part(6, 2, b"")])), "PE-BUNDLE-036"),
    "external data hidden by bit 32 of its tag": (hidden(_TENSOR, 13, _EXTERNAL), "PE-BUNDLE-036"),
    "a tag of six bytes": (with_field((), Part(20, 2, b"", tag=b"\xa2\x81\x80\x80\x80\x00")), "PE-BUNDLE-030"),
    "a tag in more bytes than it needs": (
        respelled(_NODE, 4, lambda part: replace(part, tag=varint(4 << 3 | 2, size=3))),
        "PE-BUNDLE-036",
    ),
    "a length in more bytes than it needs": (
        respelled(_NODE, 4, lambda part: replace(part, length=varint(len(part.value), size=4))),
        "PE-BUNDLE-036",
    ),
    "a number in more bytes than it needs": (
        respelled((8,), 2, lambda part: replace(part, value=varint(18, size=2))),
        "PE-BUNDLE-036",
    ),
    "a number with a bit beyond 64": (
        respelled((8,), 2, lambda part: replace(part, value=b"\x92" + b"\x80" * 8 + b"\x02")),
        "PE-BUNDLE-036",
    ),
    "a number of eleven bytes": (
        respelled((8,), 2, lambda part: replace(part, value=b"\x92" + b"\x80" * 9 + b"\x00")),
        "PE-BUNDLE-030",
    ),
    "an unknown field of the model": (with_field((), Part(99, 2, b"x")), "PE-BUNDLE-036"),
    "an unknown field of a node": (with_field(_NODE, Part(99, 0, b"\1")), "PE-BUNDLE-036"),
    "an unknown field of a dimension": (with_field((*_OUTPUT_SHAPE, (1, 2)), Part(4, 0, b"\1")), "PE-BUNDLE-036"),
    "a description": (with_field((7, (1, 3)), Part(6, 2, b"read me"), at_end=True), "PE-BUNDLE-036"),
    "two graphs, which protobuf merges": (lambda: tiny_graph() + spelled([Part(7, 2, b"")]), "PE-BUNDLE-036"),
    "an operator given twice": (twice(_NODE, 4), "PE-BUNDLE-036"),
    "a type given twice": (twice(_TENSOR, 2), "PE-BUNDLE-036"),
    "data given twice": (twice(_TENSOR, 9), "PE-BUNDLE-036"),
    "a graph given twice": (twice((), 7), "PE-BUNDLE-036"),
    "a field before its place": (with_field(_NODE, Part(7, 2, b""), at_end=False), "PE-BUNDLE-036"),
    "a number as bytes": (respelled((8,), 2, lambda part: Part(2, 2, part.value)), "PE-BUNDLE-036"),
    "a text as a number": (respelled(_NODE, 4, lambda _: Part(4, 0, b"\1")), "PE-BUNDLE-036"),
    "a list in packed form": (
        respelled((*_CAST,), 5, lambda part: replace(part, value=part.value + Part(8, 2, b"\1").spelled())),
        "PE-BUNDLE-036",
    ),
    "a group": (with_field((), Part(20, 3, b"")), "PE-BUNDLE-030"),
    "a field without a number": (with_field((), Part(0, 0, b"\0", tag=b"\0")), "PE-BUNDLE-030"),
    "a text that is not UTF-8": (respelled(_NODE, 4, lambda part: replace(part, value=b"Rel\xff")), "PE-BUNDLE-036"),
    "a text with a zero byte": (respelled(_NODE, 1, lambda part: replace(part, value=b"log\0")), "PE-BUNDLE-036"),
    "a long text": (respelled(_NODE, 1, lambda part: replace(part, value=b"x" * 5000)), "PE-BUNDLE-034"),
    "a note of another program": (_model(_note), "PE-BUNDLE-036"),
    "numbers in typed form": (_model(_typed), "PE-BUNDLE-036"),
    "a file beside its own data": (_model(_external_beside), "PE-BUNDLE-031"),
    "a place of its data alone": (_model(_data_location), "PE-BUNDLE-031"),
    "a sparse initialiser": (_model(_sparse), "PE-BUNDLE-035"),
    "a sequence": (_model(_sequence), "PE-BUNDLE-035"),
    "a value without a type": (_model(_no_type), "PE-BUNDLE-035"),
    "a part of a tensor": (_model(_segment), "PE-BUNDLE-035"),
    "a list of tensors in a node": (
        lambda: _nested_attribute(tensors=[_messages().TensorProto()])(),
        "PE-BUNDLE-035",
    ),
    "a list of graphs in a node": (lambda: _nested_attribute(graphs=[_messages().GraphProto()])(), "PE-BUNDLE-035"),
    "a graph in an attribute": (lambda: _nested_attribute(g=_messages().GraphProto())(), "PE-BUNDLE-035"),
    "a sparse tensor in a node": (
        lambda: _nested_attribute(sparse_tensor=_messages().SparseTensorProto())(),
        "PE-BUNDLE-035",
    ),
    "a type in a node": (lambda: _nested_attribute(tp=_messages().TypeProto())(), "PE-BUNDLE-035"),
    "an operator set without an end": (_opset(2**31), "PE-BUNDLE-033"),
    "an operator set of long ago": (_opset(6), "PE-BUNDLE-033"),
    "two operator sets": (_opset(17, also=True), "PE-BUNDLE-033"),
    "an operator set of another domain alone": (_opset(18, "com.microsoft"), "PE-BUNDLE-033"),
    "an operator set of another domain": (_opset(1, "com.microsoft", also=True), "PE-BUNDLE-033"),
    "more nodes than any network": (_model(_many_nodes), "PE-BUNDLE-034"),
    "more fields than any network": (_model(_fields), "PE-BUNDLE-034"),
    "more axes than any tensor": (_model(_many_axes), "PE-BUNDLE-034"),
    "a batch axis that is left open": (_model(_open_batch), "PE-BUNDLE-034"),
    "padding beyond any picture": (_model(_wide_pad), "PE-BUNDLE-034"),
}


def with_node(**changes: Any) -> Callable[[], bytes]:
    """The tiny graph with its convolution changed: `inputs`, `outputs`, `op_type`, or attributes by name."""

    def change(model: Any) -> None:
        given = {"op_type": "Conv", "inputs": ["planes", "weight", "bias"], "outputs": ["logits"], **changes}
        model.graph.node[2].CopyFrom(_messages().helper.make_node(given.pop("op_type"), **given))

    return _model(change)


def _with_attribute(change: Callable[[Any], None]) -> Callable[[], bytes]:
    """The tiny graph; its Transpose has the attribute `perm`."""
    return _model(lambda model: change(model.graph.node[1].attribute[0]))


_OTHER = "PE-BUNDLE-037"
OTHER_NODES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a convolution without a weight": (with_node(inputs=["planes"]), _OTHER),
    "a convolution with an empty weight": (with_node(inputs=["planes", ""]), _OTHER),
    "a convolution of nothing": (with_node(inputs=[]), _OTHER),
    "a convolution of too much": (with_node(inputs=["planes", "weight", "bias", "bias"]), _OTHER),
    "a convolution without an answer": (with_node(outputs=[]), _OTHER),
    "a convolution with an empty answer": (with_node(outputs=[""]), _OTHER),
    "a convolution with two answers": (with_node(outputs=["logits", "more"]), _OTHER),
    "a number for a list": (with_node(strides=1), _OTHER),
    "floats for integers": (with_node(strides=[1.0]), _OTHER),
    "texts for integers": (with_node(strides=["1"]), _OTHER),
    "an attribute that nobody knows": (with_node(stride=[1, 1]), _OTHER),
    "an operator of a later set": (with_node(op_type="Swish", inputs=["planes"]), _OTHER),
    "an attribute left out": (with_node(op_type="Cast", inputs=["planes"]), _OTHER),
    "nothing joined": (with_node(op_type="Concat", inputs=[], axis=1), _OTHER),
    "an empty part joined": (with_node(op_type="Concat", inputs=["planes", ""], axis=1), _OTHER),
    "an attribute twice": (_model(lambda model: model.graph.node[1].attribute.append(_perm(model))), _OTHER),
    "an attribute without a type": (_with_attribute(lambda perm: perm.ClearField("type")), _OTHER),
    "an attribute with a number besides": (_with_attribute(lambda perm: setattr(perm, "i", 1)), _OTHER),
    "an attribute with a text besides": (_with_attribute(lambda perm: setattr(perm, "s", b"x")), _OTHER),
    "an attribute without a name": (_with_attribute(lambda perm: perm.ClearField("name")), _OTHER),
}


def _perm(model: Any) -> Any:
    return model.graph.node[1].attribute[0]


def with_nodes(*nodes: tuple[Any, ...], **constants: Any) -> Callable[[], bytes]:
    """The tiny graph with nodes behind it: (operator, inputs, outputs) or with a dictionary of attributes.

    Args:
        nodes: In their order; `logits` is (1, 1, 32, 32), `frame` (1, 32, 32, 3).
        constants: Initialisers by name.
    """

    def change(model: Any) -> None:
        onnx = _messages()
        for name, values in constants.items():
            model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        for operator, inputs, outputs, *rest in nodes:
            attributes = rest[0] if rest else {}
            made = onnx.helper.make_node(operator, inputs.split(), outputs.split(), **attributes)
            model.graph.node.append(made)

    return _model(change)


def _doubled(times: int) -> list[tuple[Any, ...]]:
    names = ["logits", *(f"x{index}" for index in range(times))]
    return [("Concat", f"{one} {one}", other, {"axis": 0}) for one, other in itertools.pairwise(names)]


def _kept(count: int) -> list[tuple[Any, ...]]:
    """Values of 2^27 that all live until the end."""
    made = [("Expand", "logits wide", f"x{index}") for index in range(count)]
    return [*made, ("Sum", " ".join(f"x{index}" for index in range(count)), "sum")]


def _passing(count: int) -> list[tuple[Any, ...]]:
    """Values of 2^27 one after the other, none of which is kept."""
    return [("Expand", "logits wide", f"x{index}") for index in range(count)]


_SIZE, _GIVEN = "PE-BUNDLE-034", "PE-BUNDLE-037"
_INT = np.int64
_ROW, _COLUMN = _INT([1, 1024]), _INT([1024, 1])
_OUTER = [
    ("Reshape", "logits column", "a"),
    ("Reshape", "logits row", "b"),
    ("MatMul", "a b", "c"),
    ("Reshape", "c long", "d"),
    ("Reshape", "c longer", "e"),
    ("MatMul", "d e", "f"),
]
_WIDE = _INT([2**17, 1, 32, 32])
GROWING: dict[str, tuple[Callable[[], bytes], str]] = {
    "what grows within the limits": (with_nodes(*_doubled(18)), "taken"),
    "two joined to four, to eight": (with_nodes(*_doubled(19)), _SIZE),
    "an outer product": (
        with_nodes(*_OUTER, column=_COLUMN, row=_ROW, long=_INT([2**20, 1]), longer=_INT([1, 2**20])),
        _SIZE,
    ),
    "a sum of two that broadcasts": (
        with_nodes(*_OUTER[:-1], ("Add", "d e", "f"), column=_COLUMN, row=_ROW, long=[2**20, 1], longer=[1, 2**20]),
        _SIZE,
    ),
    "an expansion": (with_nodes(("Expand", "logits wide", "x"), wide=_INT([2**19, 1, 32, 32])), _SIZE),
    "repeats": (with_nodes(("Tile", "logits many", "x"), many=_INT([2**19, 1, 1, 1])), _SIZE),
    "a shape made of nothing": (with_nodes(("ConstantOfShape", "wide", "x"), wide=_INT([2**15, 2**15])), _SIZE),
    "a large scale": (
        with_nodes(("Resize", "logits scales scales", "x"), scales=np.float32([1, 1, 600, 600])),
        _SIZE,
    ),
    "a scale of no number": (
        with_nodes(("Tile", "logits many", "x"), many=np.float32([1, 1, 1, np.nan])),
        _SIZE,
    ),
    "padding to a plane": (
        with_nodes(("Pad", "logits pads", "x"), pads=_INT([0, 0, 2**15, 2**15, 0, 0, 2**15, 2**15])),
        _SIZE,
    ),
    "padding beyond any picture, of nothing": (
        with_nodes(("Pad", "logits pads", "x"), pads=_INT([0, 0, 0, -(2**17), 0, 0, 0, 2**17 + 1])),
        _SIZE,
    ),
    "a gathering of gatherings": (
        with_nodes(
            ("Gather", "logits at", "x", {"axis": 2}), ("Gather", "x at", "y", {"axis": 4}), at=_INT([[0] * 600] * 600)
        ),
        _SIZE,
    ),
    "a convolution that is transposed": (
        with_nodes(("ConvTranspose", "logits weight", "x", {"strides": [2**14, 2**14]})),
        _SIZE,
    ),
    "many large values at a time": (with_nodes(*_kept(5), wide=_WIDE), _SIZE),
    "three large values at a time": (with_nodes(*_kept(2), wide=_WIDE), "taken"),
    "many large values one after the other": (with_nodes(*_passing(33), wide=_WIDE), _SIZE),
    "some large values one after the other": (with_nodes(*_passing(30), wide=_WIDE), "taken"),
    "a size that is computed": (with_nodes(("Shape", "logits", "s"), ("Reshape", "logits s", "x")), _SIZE),
    "a shape of another size": (with_nodes(("Reshape", "logits wide", "x"), wide=_INT([2, 1, 32, 32])), _SIZE),
    "a window larger than its picture": (with_nodes(("MaxPool", "logits", "x", {"kernel_shape": [64, 64]})), _SIZE),
    "a step of nothing": (
        with_nodes(("MaxPool", "logits", "x", {"kernel_shape": [2, 2], "strides": [0, 0]})),
        _SIZE,
    ),
    "a window of one axis": (with_nodes(("MaxPool", "logits", "x", {"kernel_shape": [2]})), _SIZE),
    "an axis that is not there": (with_nodes(("Softmax", "logits", "x"), ("Concat", "x x", "y", {"axis": 4})), _SIZE),
    "an order of other axes": (with_nodes(("Transpose", "logits", "x", {"perm": [0, 1, 2, 2]})), _SIZE),
    "an input that nothing gives": (with_nodes(("Relu", "nowhere", "x")), _GIVEN),
    "an input that is given later": (with_nodes(("Relu", "y", "x"), ("Relu", "logits", "y")), _GIVEN),
    "a value that is given twice": (with_nodes(("Relu", "logits", "probability")), _GIVEN),
    "a weight that is given again": (with_nodes(("Relu", "logits", "weight")), _GIVEN),
    "an answer that nothing gives": (_model(lambda model: setattr(model.graph.output[0], "name", "x")), _GIVEN),
    "a constant of two values": (with_nodes(("Constant", "", "x", {"value_int": 1, "value_float": 1.0})), _GIVEN),
    "a constant of text": (with_nodes(("Constant", "", "x", {"value_string": "x"})), _SIZE),
}
