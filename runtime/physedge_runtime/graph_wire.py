"""An ONNX file read field by field, in the one spelling that ONNX's own library writes.

Protobuf lets one message be spelled in many ways: fields in any order and given twice, numbers with bits that nobody
reads, fields that only some readers know. Whoever looks for what is forbidden must read the same message as the engine
does; so every byte must be one that this reader understands, spelled as a serialiser spells it:

    fields that stand in `MESSAGES`, of the right wire type, in ascending order, each once where it is no list
    integers and tags in as few bytes as they need, with no bit beyond 64 and 32
    texts in UTF-8 without control characters; the numbers of tensors as raw bytes

From what was read the same bytes would be written again: nothing is left over, at any depth. No message holds one of
its own kind, so the depth is that of the table.

Field numbers are those of onnx/onnx.proto, which never change.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

MOST_FIELDS = 400_000
MOST_TEXT_BYTES = 4096
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Values = dict[str, Any]
"""Field name to its value: int, bytes of a float, text, memoryview, `Values`, or a list of these."""


class NotWhole(Exception):
    """The bytes end within a message, or are none."""


class NotCanonical(Exception):
    """The bytes are spelled as physedge does not write them, or hold what it does not read."""


class NotAllowed(Exception):
    """A field that no deployed graph needs: the identifier of its error, what it is, and what is expected."""

    def __init__(self, identifier: str, found: str, expected: str) -> None:
        super().__init__(found)
        self.identifier, self.found, self.expected = identifier, found, expected


@dataclass(frozen=True, slots=True)
class Kind:
    """How a field is spelled.

    Attributes:
        wire: Its wire type.
        what: `integer`, `float`, `text`, `bytes`, or the name of a message.
    """

    wire: int
    what: str


_INTEGER, _FLOAT = Kind(_VARINT, "integer"), Kind(_FIXED32, "float")
_TEXT, _RAW = Kind(_BYTES, "text"), Kind(_BYTES, "bytes")


@dataclass(frozen=True, slots=True)
class FieldRule:
    """A field that may stand in a message, or one that is refused by name.

    Attributes:
        name: As in onnx.proto.
        kind: How it is spelled; None where it is refused.
        many: It is a list.
        refused: Identifier, what it is, what is expected.
    """

    name: str
    kind: Kind | None = None
    many: bool = False
    refused: tuple[str, str, str] | None = None


def _message(name: str) -> Kind:
    return Kind(_BYTES, name)


def _refused(identifier: str, found: str, expected: str) -> FieldRule:
    return FieldRule("", refused=(identifier, found, expected))


_PART, _ONE_GRAPH = "PE-BUNDLE-035", "one plain graph"
_NESTED = _refused(_PART, "a graph inside a node", _ONE_GRAPH)
_SPARSE = _refused(_PART, "a sparse tensor", _ONE_GRAPH)
_NO_TENSOR = _refused(_PART, "a value that is no tensor", "tensors")
_TYPED = _refused("PE-BUNDLE-036", "a tensor whose numbers are not raw bytes", "the form that physedge export writes")

MESSAGES: dict[str, dict[int, FieldRule]] = {
    "model": {
        1: FieldRule("ir_version", _INTEGER),
        2: FieldRule("producer_name", _TEXT),
        3: FieldRule("producer_version", _TEXT),
        4: FieldRule("domain", _TEXT),
        5: FieldRule("model_version", _INTEGER),
        7: FieldRule("graph", _message("graph")),
        8: FieldRule("opset_import", _message("operator set"), many=True),
        20: _refused(_PART, "training information", _ONE_GRAPH),
        25: _refused(_PART, "a function of its own", _ONE_GRAPH),
    },
    "operator set": {1: FieldRule("domain", _TEXT), 2: FieldRule("version", _INTEGER)},
    "graph": {
        1: FieldRule("node", _message("node"), many=True),
        2: FieldRule("name", _TEXT),
        5: FieldRule("initializer", _message("tensor"), many=True),
        11: FieldRule("input", _message("value"), many=True),
        12: FieldRule("output", _message("value"), many=True),
        13: FieldRule("value_info", _message("value"), many=True),
        15: _SPARSE,
    },
    "node": {
        1: FieldRule("input", _TEXT, many=True),
        2: FieldRule("output", _TEXT, many=True),
        3: FieldRule("name", _TEXT),
        4: FieldRule("op_type", _TEXT),
        5: FieldRule("attribute", _message("attribute"), many=True),
        7: FieldRule("domain", _TEXT),
        9: FieldRule("metadata_props", _message("note"), many=True),
    },
    "note": {1: FieldRule("key", _TEXT), 2: FieldRule("value", _TEXT)},
    "attribute": {
        1: FieldRule("name", _TEXT),
        2: FieldRule("f", _FLOAT),
        3: FieldRule("i", _INTEGER),
        4: FieldRule("s", _TEXT),
        5: FieldRule("t", _message("tensor")),
        6: _NESTED,
        7: FieldRule("floats", _FLOAT, many=True),
        8: FieldRule("ints", _INTEGER, many=True),
        9: FieldRule("strings", _TEXT, many=True),
        10: _refused(_PART, "a list of tensors inside a node", _ONE_GRAPH),
        11: _NESTED,
        14: _NO_TENSOR,
        15: _NO_TENSOR,
        20: FieldRule("type", _INTEGER),
        21: _refused(_PART, "an attribute of a function", _ONE_GRAPH),
        22: _SPARSE,
        23: _SPARSE,
    },
    "tensor": {
        1: FieldRule("dims", _INTEGER, many=True),
        2: FieldRule("data_type", _INTEGER),
        3: _refused(_PART, "a part of a tensor", "whole tensors"),
        4: _TYPED,
        5: _TYPED,
        6: _refused("PE-BUNDLE-034", "a tensor of text", "numbers"),
        7: _TYPED,
        8: FieldRule("name", _TEXT),
        9: FieldRule("raw_data", _RAW),
        10: _TYPED,
        11: _TYPED,
        13: _refused("PE-BUNDLE-031", "a tensor whose data lies in another file", "data in the graph"),
        14: FieldRule("data_location", _INTEGER),
    },
    "value": {1: FieldRule("name", _TEXT), 2: FieldRule("type", _message("type"))},
    "type": {
        1: FieldRule("tensor_type", _message("tensor type")),
        4: _NO_TENSOR,
        5: _NO_TENSOR,
        7: _NO_TENSOR,
        8: _NO_TENSOR,
        9: _NO_TENSOR,
    },
    "tensor type": {1: FieldRule("elem_type", _INTEGER), 2: FieldRule("shape", _message("shape"))},
    "shape": {1: FieldRule("dim", _message("dimension"), many=True)},
    "dimension": {1: FieldRule("dim_value", _INTEGER), 2: FieldRule("dim_param", _TEXT)},
}


@dataclass(slots=True)
class _Reader:
    """One reading; it counts what it has read, so that its time is bounded whatever the bytes are."""

    fields: int = field(default=0)

    def message(self, what: str, data: memoryview) -> Values:
        rules = MESSAGES[what]
        values: Values = {rule.name: [] for rule in rules.values() if rule.many}
        position, end, last = 0, len(data), 0
        while position < end:
            tag, position = _varint(data, position, _TAG_BYTES)
            number, wire = tag >> 3, tag & 7
            if number == 0 or wire not in _WIRES:
                raise NotWhole(f"field {number} with the wire type {wire}")
            rule = rules.get(number)
            if rule is None:
                raise NotCanonical(f"the field {number} in a {what}")
            self._count()
            if rule.kind is None:
                assert rule.refused is not None
                raise NotAllowed(*rule.refused)
            if wire != rule.kind.wire:
                raise NotCanonical(f"{rule.name} with the wire type {wire}")
            if number < last:
                raise NotCanonical(f"{rule.name} out of its place in a {what}")
            if number == last and not rule.many:
                raise NotCanonical(f"{rule.name} twice in a {what}")
            last = number
            value: Any
            if wire == _VARINT:
                value, position = _varint(data, position, _VALUE_BYTES)
                value = value - 2**64 if value >= 2**63 else value
            else:
                size = 4
                if wire == _BYTES:
                    size, position = _varint(data, position, _VALUE_BYTES)
                if size > end - position:
                    raise NotWhole("a field runs past its end")
                value = self._value(rule.kind.what, data[position : position + size])
                position += size
            if rule.many:
                values[rule.name].append(value)
            else:
                values[rule.name] = value
        return values

    def _count(self) -> None:
        self.fields += 1
        if self.fields > MOST_FIELDS:
            raise NotAllowed("PE-BUNDLE-034", f"more than {MOST_FIELDS} fields", "a graph within the limits")

    def _value(self, what: str, data: memoryview) -> Any:
        if what == "text":
            return _text(data)
        if what in ("bytes", "float"):
            return data
        return self.message(what, data)


_TAG_BYTES, _VALUE_BYTES = 5, 10
_WIRES = frozenset({_VARINT, _FIXED64, _BYTES, _FIXED32})


def read_model(data: bytes) -> Values:
    """The model in an ONNX file.

    Raises:
        NotWhole: The bytes are no whole message.
        NotCanonical: They are spelled otherwise than ONNX's library spells them, or hold an unknown field.
        NotAllowed: They hold a field that no deployed graph needs, or too many.
    """
    return _Reader().message("model", memoryview(data))


def _varint(data: memoryview, position: int, most_bytes: int) -> tuple[int, int]:
    """An integer of 7 bits a byte, lowest first: 32 bits in five bytes, 64 in ten."""
    try:
        value = data[position]
        if value < 0x80:
            return value, position + 1
        value &= 0x7F
        for place in range(1, most_bytes):
            byte = data[position + place]
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                if byte == 0:
                    raise NotCanonical("an integer in more bytes than it needs")
                if value >> (32 if most_bytes == _TAG_BYTES else 64):
                    raise NotCanonical("an integer with too many bits")
                return value, position + place + 1
    except IndexError:
        raise NotWhole("an integer runs past its end") from None
    raise NotWhole("an integer of too many bytes")


def _text(data: memoryview) -> str:
    if len(data) > MOST_TEXT_BYTES:
        raise NotAllowed("PE-BUNDLE-034", f"a text of {len(data)} bytes", f"at most {MOST_TEXT_BYTES}")
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError:
        raise NotCanonical("a text that is not UTF-8") from None
    if any(ord(character) < _SPACE or ord(character) == _DELETE for character in text):
        raise NotCanonical("a text with a control character")
    return text


_SPACE, _DELETE = 0x20, 0x7F
