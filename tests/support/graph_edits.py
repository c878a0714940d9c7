"""Hypothesis: an ONNX graph with some of its fields edited, of the kinds that leave a message well formed or nearly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import strategies as st
from protobuf_edits import Part, edited, parts, paths, varint

_VALUES = (0, 1, 2, 7, 8, 16, 127, 128, 2**28, 2**28 + 1, 2**31, 2**32, 2**40, 2**63, 2**64 - 1)
_TEXTS = (b"", b"x", b"Relu", b"Conv", b"Loop", b"frame", b"logits", b"com.evil", b"\xff", b"\0", b"axis", b"perm")
_NUMBERS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 20, 21, 22, 23, 25, 99, 2**28)


def _value(draw: st.DrawFn, wire: int) -> bytes:
    if wire == 0:
        return varint(draw(st.sampled_from(_VALUES)), size=draw(st.sampled_from((0, 0, 0, 2, 10))))
    if wire in (1, 5):
        return bytes(8 if wire == 1 else 4)
    return draw(st.one_of(st.sampled_from(_TEXTS), st.binary(max_size=12)))


def _change(draw: st.DrawFn) -> Callable[[list[Part]], list[Part]]:
    kind = draw(st.sampled_from(["drop", "repeat", "swap", "add", "value", "number", "wire", "tag", "length", "byte"]))
    at, other = draw(st.floats(0, 1, exclude_max=True)), draw(st.floats(0, 1, exclude_max=True))
    number, wire = draw(st.sampled_from(_NUMBERS)), draw(st.sampled_from((0, 0, 2, 2, 2, 5, 1, 3)))
    size = draw(st.sampled_from((2, 3, 5, 10)))
    value, number_value, bytes_value = _value(draw, wire), _value(draw, 0), _value(draw, 2)

    def change(message: list[Part]) -> list[Part]:
        place, there = int(at * len(message)), int(other * len(message))
        if kind == "add" or not message:
            return [*message[:place], Part(number, wire, value), *message[place:]]
        part = message[place]
        result = list(message)
        match kind:
            case "drop":
                del result[place]
            case "repeat":
                result.insert(there, part)
            case "swap":
                result[place], result[there] = message[there], part
            case "value":
                result[place] = replace(part, value=number_value if part.wire == 0 else bytes_value)
            case "number":
                result[place] = replace(part, number=number)
            case "wire":
                result[place] = replace(part, wire=wire)
            case "tag":
                extra = 1 << 32 if size == 5 else 0
                result[place] = replace(part, tag=varint(part.number << 3 | part.wire | extra, size=size))
            case "length" if part.wire == 2:
                result[place] = replace(part, length=varint(len(part.value), size=size))
            case _ if part.value:
                changed = bytearray(part.value)
                changed[int(other * len(changed))] ^= 1 << (size % 8)
                result[place] = replace(part, value=bytes(changed))
        return result

    return change


def _tidied(change: Callable[[list[Part]], list[Part]]) -> Callable[[list[Part]], list[Part]]:
    """The same, spelled well: two of three get past the spelling, to what the fields say."""

    def tidy(message: list[Part]) -> list[Part]:
        parts_of_it = [replace(part, tag=b"", length=b"") for part in change(message)]
        return sorted(parts_of_it, key=lambda part: part.number)

    return tidy


@st.composite
def graph_edits(draw: st.DrawFn, genuine: bytes) -> bytes:
    """The genuine graph after one to three edits, each in one of its messages."""
    graph = genuine
    for _ in range(draw(st.integers(1, 3))):
        try:
            there = paths(graph)
            parts(graph)
        except IndexError:  # what stands there now is no message any more
            return graph
        path = there[int(draw(st.floats(0, 1, exclude_max=True)) * len(there))]
        change = _change(draw)
        graph = edited(graph, path, _tidied(change) if draw(st.integers(0, 2)) else change)
    return graph
