"""OpenVINO's XML in one spelling: how physedge writes it, and a reader that takes nothing else.

Two XML parsers may read two graphs in one file: encodings, entities, comments within numbers, sections, a second list
of layers. So there is one form, without any of them, and every byte of a file must be the one that stands in it:

    <net name="N" version="11"><layers> LAYERS </layers><edges> EDGES </edges></net>
    <layer id="0" name="N" type="T" version="opset1"><data a="v" b="v"/>
        <input> PORTS </input><output> PORTS </output></layer>
    <port id="0" precision="FP32" names="N"><dim>1</dim></port>
    <edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>

without a space or line end between elements. `data`, `input`, `output` and `names` are left out where there is nothing;
attributes of `data` are in the order of their names. Layers are numbered from 0, ports of a layer from 0, its inputs
first; edges are in the order of where they lead. Values are printable ASCII, with `&amp;`, `&lt;`, `&gt;` and `&quot;`.
Constants lie one behind the other in the order of their layers, and nothing else beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from physedge_runtime.graph_wire import NotAllowed, NotCanonical

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MOST_LAYERS = 20_000
MOST_PORTS = 100_000
MOST_DIMS = 10
MOST_VALUE_BYTES = 4096
MOST_DIGITS = 18
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_ENTITIES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"'}


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a layer: element type in OpenVINO's words, and shape."""

    precision: str
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as it is written."""

    name: str
    kind: str
    version: str
    data: dict[str, str]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(slots=True)
class Net:
    """The layers, and the edges as (from layer, from port, to layer, to port)."""

    layers: list[Layer] = field(default_factory=list)
    edges: list[tuple[int, int, int, int]] = field(default_factory=list)


def read_net(xml: bytes) -> Net:
    """The net in a file of the one form.

    Raises:
        NotCanonical: A byte is another one than stands there in that form.
        NotAllowed: It has more layers, ports, axes or text than any network, or an axis of any size.
    """
    try:
        text = xml.decode("ascii")
    except UnicodeDecodeError:
        raise NotCanonical("bytes that are not ASCII") from None
    return _Reader(text).net()


class _Reader:
    """One reading, from the first byte to the last."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._ports = 0

    def net(self) -> Net:
        net = Net()
        self._expect('<net name="')
        self._value()
        self._expect('" version="')
        self._number()
        self._expect('"><layers>')
        while self._take('<layer id="'):
            if len(net.layers) == MOST_LAYERS:
                raise NotAllowed("PE-BUNDLE-034", f"more than {MOST_LAYERS} layers", "a graph within the limits")
            net.layers.append(self._layer(len(net.layers)))
        self._expect("</layers><edges>")
        while self._take('<edge from-layer="'):
            edge = [self._number()]
            for name in ("from-port", "to-layer", "to-port"):
                self._expect(f'" {name}="')
                edge.append(self._number())
            self._expect('"/>')
            net.edges.append((edge[0], edge[1], edge[2], edge[3]))
        self._expect("</edges></net>")
        if self._at != len(self._text):
            raise NotCanonical("bytes behind the net")
        return net

    def _layer(self, index: int) -> Layer:
        if self._number() != index:
            raise NotCanonical(f"another number at layer {index}")
        self._expect('" name="')
        name = self._value()
        self._expect('" type="')
        kind = self._value()
        self._expect('" version="')
        version = self._value()
        self._expect('">')
        data = self._data() if self._take("<data") else {}
        inputs = self._list("input", 0) if self._take("<input>") else ()
        outputs = self._list("output", len(inputs)) if self._take("<output>") else ()
        self._expect("</layer>")
        return Layer(name, kind, version, data, inputs, outputs)

    def _data(self) -> dict[str, str]:
        data: dict[str, str] = {}
        last = ""
        while self._take(" "):
            start = self._at
            while self._at < len(self._text) and self._text[self._at] in _WORD:
                self._at += 1
            key = self._text[start : self._at]
            if key <= last:
                raise NotCanonical("attributes out of their order")
            last = key
            self._expect('="')
            data[key] = self._value()
            self._expect('"')
        self._expect("/>")
        if not data:
            raise NotCanonical("no attributes where some should be")
        return data

    def _list(self, what: str, first: int) -> tuple[Port, ...]:
        ports = list[Port]()
        while self._take('<port id="'):
            self._ports += 1
            if self._ports > MOST_PORTS:
                raise NotAllowed("PE-BUNDLE-034", f"more than {MOST_PORTS} ports", "a graph within the limits")
            ports.append(self._port(first + len(ports)))
        self._expect(f"</{what}>")
        if not ports:
            raise NotCanonical(f"no ports in an {what}")
        return tuple(ports)

    def _port(self, number: int) -> Port:
        if self._number() != number:
            raise NotCanonical(f"another number at port {number}")
        self._expect('" precision="')
        precision = self._value()
        self._expect('"')
        if self._take(' names="'):
            self._value()
            self._expect('"')
        self._expect(">")
        dims = list[int]()
        while self._take("<dim>"):
            if self._take("-1</dim>"):
                raise NotAllowed("PE-BUNDLE-034", "an axis without a size", "sizes in whole numbers")
            if len(dims) == MOST_DIMS:
                raise NotAllowed("PE-BUNDLE-034", f"a shape of more than {MOST_DIMS} axes", "a shape within the limits")
            dims.append(self._number())
            self._expect("</dim>")
        self._expect("</port>")
        return Port(precision, tuple(dims))

    def _take(self, literal: str) -> bool:
        if not self._text.startswith(literal, self._at):
            return False
        self._at += len(literal)
        return True

    def _expect(self, literal: str) -> None:
        if not self._take(literal):
            raise NotCanonical(f"something else where {literal!r} should stand")

    def _number(self) -> int:
        number, self._at = whole_number(self._text, self._at)
        return number

    def _value(self) -> str:
        end = self._text.find('"', self._at, self._at + MOST_VALUE_BYTES + 1)
        if end < 0:
            raise NotCanonical("a value without its end, or a long one")
        value = self._text[self._at : end]
        self._at = end
        if not value.isprintable() or "<" in value or ">" in value:
            raise NotCanonical("a value with a character that XML or a terminal takes for its own")
        return _unescaped(value)


def _unescaped(value: str) -> str:
    if "&" not in value:
        return value
    found, at = "", 0
    while (sign := value.find("&", at)) >= 0:
        entity = next((one for one in _ENTITIES if value.startswith(one, sign)), None)
        if entity is None:
            raise NotCanonical("an entity of its own")
        found += value[at:sign] + _ENTITIES[entity]
        at = sign + len(entity)
    return found + value[at:]


def whole_number(text: str, at: int) -> tuple[int, int]:
    """The number that stands at a place in the shortest form, and the place behind it.

    Raises:
        NotCanonical: There is none, or one of more than 18 digits.
    """
    end = at
    while end < len(text) and end - at <= MOST_DIGITS and "0" <= text[end] <= "9":
        end += 1
    if end == at or end - at > MOST_DIGITS or (text[at] == "0" and end - at > 1):
        raise NotCanonical("no whole number in its shortest form")
    return int(text[at:end]), end


def whole_numbers(text: str) -> tuple[int, ...]:
    """Numbers with commas between them; none for an empty text.

    Raises:
        NotCanonical: It is no such list.
    """
    numbers, at = list[int](), 0
    while at < len(text) or numbers:
        number, at = whole_number(text, at)
        numbers.append(number)
        if at == len(text):
            break
        if text[at] != ",":
            raise NotCanonical("no list of whole numbers")
        at += 1
    return tuple(numbers)


def spelled(xml: bytes, weights: bytes) -> tuple[bytes, bytes]:
    """What OpenVINO wrote, in the one form: notes and unused bytes are left out, every constant lies by itself.

    Args:
        xml: As `openvino.serialize` writes it.
        weights: The constants beside it.
    """
    from xml.etree import ElementTree

    root = ElementTree.fromstring(xml)
    blocks = list[bytes]()
    taken = 0
    layers = root.find("layers")
    edges = root.find("edges")
    numbers = dict[str, int]()
    texts = list[str]()
    ports = dict[tuple[str, str], int]()
    for index, layer in enumerate([] if layers is None else layers):
        numbers[layer.attrib["id"]] = index
        data = layer.find("data")
        values = dict(data.attrib) if data is not None else {}
        if "shape" in values and layer.attrib["type"] in ("Const", "Parameter"):
            values["shape"] = values["shape"].replace(" ", "")
        if layer.attrib["type"] == "Const":
            start, size = int(values["offset"]), int(values["size"])
            blocks.append(weights[start : start + size])
            values["offset"], taken = str(taken), taken + size
        texts.append(_layer_text(layer, index, values, ports))
    joined = sorted(
        tuple(
            int(numbers[edge.attrib[f"{side}-layer"]]) if part == "layer" else _port_of(edge, side, ports)
            for side, part in (("to", "layer"), ("to", "port"), ("from", "layer"), ("from", "port"))
        )
        for edge in ([] if edges is None else edges)
    )
    lines = [
        f'<edge from-layer="{from_layer}" from-port="{from_port}" to-layer="{to_layer}" to-port="{to_port}"/>'
        for to_layer, to_port, from_layer, from_port in joined
    ]
    name, version = _escaped(root.attrib.get("name", "")), _escaped(root.attrib.get("version", "11"))
    text = (
        f'<net name="{name}" version="{version}"><layers>{"".join(texts)}</layers><edges>{"".join(lines)}</edges></net>'
    )
    return text.encode("ascii"), b"".join(blocks)


def _port_of(edge: Element, side: str, ports: dict[tuple[str, str], int]) -> int:
    return ports[edge.attrib[f"{side}-layer"], edge.attrib[f"{side}-port"]]


def _layer_text(layer: Element, index: int, values: dict[str, str], ports: dict[tuple[str, str], int]) -> str:
    name, kind, version = (_escaped(layer.attrib.get(key, "")) for key in ("name", "type", "version"))
    data = "".join(f' {key}="{_escaped(value)}"' for key, value in sorted(values.items()))
    text = f'<layer id="{index}" name="{name}" type="{kind}" version="{version}">' + (f"<data{data}/>" if data else "")
    number = 0
    for what in ("input", "output"):
        listed = layer.find(what)
        if listed is None or not len(listed):
            continue
        text += f"<{what}>"
        for port in listed:
            ports[layer.attrib["id"], port.attrib["id"]] = number
            names = f' names="{_escaped(port.attrib["names"])}"' if "names" in port.attrib else ""
            dims = "".join(f"<dim>{(dim.text or '').strip()}</dim>" for dim in port.findall("dim"))
            text += f'<port id="{number}" precision="{_escaped(port.attrib.get("precision", ""))}"{names}>{dims}</port>'
            number += 1
        text += f"</{what}>"
    return text + "</layer>"


def _escaped(value: str) -> str:
    """A value as it is written; what is not printable ASCII becomes `_`."""
    plain = "".join(character if " " <= character <= "~" else "_" for character in value)
    for entity, character in _ENTITIES.items():
        plain = plain.replace(character, entity)
    return plain
