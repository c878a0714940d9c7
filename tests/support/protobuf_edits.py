"""ONNX bytes taken apart and spelled anew, field by field: what an attacker does who knows protobuf."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

# Field number to message, for those that a tiny graph has: model, graph, node, attribute, tensor, value, type ...
_NESTED = {
    "model": {7: "graph", 8: "operator set"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 13: "value"},
    "node": {5: "attribute", 9: "note"},
    "attribute": {5: "tensor"},
    "value": {2: "type"},
    "type": {1: "tensor type"},
    "tensor type": {2: "shape"},
    "shape": {1: "dimension"},
}


@dataclass(frozen=True)
class Part:
    """One field: its tag as spelled, what stands between tag and value (a length), and the value's bytes."""

    number: int
    wire: int
    value: bytes
    tag: bytes = b""
    length: bytes = b""

    def spelled(self) -> bytes:
        """As bytes; tag and length in the shortest form where none was given."""
        tag = self.tag or varint(self.number << 3 | self.wire)
        return tag + (self.length or (varint(len(self.value)) if self.wire == 2 else b"")) + self.value


def varint(value: int, size: int = 0) -> bytes:
    """The shortest form, or one of `size` bytes with bits that nobody needs."""
    value &= 2**64 - 1
    found = bytearray()
    while value >= 0x80 or len(found) + 1 < size:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position


def parts(data: bytes) -> list[Part]:
    """The fields of a message that is spelled well."""
    found, position = [], 0
    while position < len(data):
        tag, position = read_varint(data, position)
        wire, start = tag & 7, position
        if wire == 0:
            _, position = read_varint(data, position)
        elif wire == 2:
            size, start = read_varint(data, position)
            position = start + size
        else:
            position += 4 if wire == 5 else 8
        found.append(Part(tag >> 3, wire, data[start:position]))
    return found


def spelled(message: Sequence[Part]) -> bytes:
    return b"".join(part.spelled() for part in message)


def edited(data: bytes, path: Sequence[int | tuple[int, int]], change: Callable[[list[Part]], list[Part]]) -> bytes:
    """The bytes with one message of them changed.

    Args:
        data: A message.
        path: Field numbers down to the message; (number, which) where a list has several.
        change: Gets its fields, and gives those that stand there afterwards.
    """
    message = parts(data)
    if not path:
        return spelled(change(message))
    step = path[0]
    number, which = step if isinstance(step, tuple) else (step, 0)
    place = [index for index, part in enumerate(message) if part.number == number][which]
    message[place] = replace(message[place], value=edited(message[place].value, path[1:], change))
    return spelled(message)


def paths(data: bytes, message: str = "model") -> list[tuple[tuple[int, int], ...]]:
    """Every message in the bytes, as a path for `edited`."""
    found: list[tuple[tuple[int, int], ...]] = [()]
    seen: dict[int, int] = {}
    for part in parts(data):
        which = seen[part.number] = seen.get(part.number, -1) + 1
        inner = _NESTED.get(message, {}).get(part.number)
        if inner is not None and part.wire == 2:
            found += [((part.number, which), *rest) for rest in paths(part.value, inner)]
    return found
