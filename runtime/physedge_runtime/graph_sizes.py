"""What a graph holds in memory while it runs: every size in it, from its inputs to its answers.

Declared shapes say little: two joined to four joined to eight, an outer product, an expansion grow at run time. So the
sizes are carried through the whole graph by the rule of every operator. Each value holds at most `MOST_ELEMENTS`
elements, all that are alive at one time at most `MOST_LIVE`, all together at most `MOST_TOTAL`.
"""

from __future__ import annotations

import math
import struct

from physedge_runtime.graph_size_rules import RULES, Numbers, Shape, SizedNode, clamped, float_of
from physedge_runtime.graph_wire import NotAllowed, Values

MOST_ELEMENTS = 2**28
MOST_LIVE = 2**29
MOST_TOTAL = 2**32
MOST_AXES = 10
MOST_NUMBERS = 64
FLOAT32, INT32, INT64 = 1, 6, 7
"""Of TensorProto.DataType: what the values of small constants are read of."""
_READ_AS = {FLOAT32: "f", INT32: "i", INT64: "q"}


def elements_of(dims: list[int] | Shape, what: str) -> int:
    """How many elements a shape has that is within the limits.

    Raises:
        NotAllowed: It is not (`PE-BUNDLE-034`).
    """
    are_sides = len(dims) <= MOST_AXES and all(0 <= side <= MOST_ELEMENTS for side in dims)
    if not are_sides or math.prod(dims) > MOST_ELEMENTS:
        raise NotAllowed("PE-BUNDLE-034", f"{what} of the shape {shown(dims)}", "a shape within the limits")
    return math.prod(dims)


def shown(dims: list[int] | Shape) -> str:
    """A shape for people."""
    return " x ".join(str(size) for size in dims[:6]) + (" ..." if len(dims) > 6 else "")


def numbers_of(tensor: Values) -> Numbers | None:
    """The values of a small tensor whose size was checked; None for others."""
    letter, elements = _READ_AS.get(tensor["data_type"], ""), math.prod(tensor["dims"])
    if not letter or elements > MOST_NUMBERS:
        return None
    values: tuple[float, ...] = struct.unpack(f"<{elements}{letter}", tensor["raw_data"])
    return values if letter == "f" else tuple(clamped(int(value)) for value in values)


class Sizes:
    """The sizes of one graph, node by node.

    Args:
        nodes: In their order.
        outputs: Names of the graph's answers.
        opset: Of the graph.
    """

    def __init__(self, nodes: list[Values], outputs: list[str], opset: int) -> None:
        self._opset = opset
        self._outputs = outputs
        self._shapes: dict[str, Shape] = {}
        self._numbers: dict[str, Numbers] = {}
        self._held: dict[str, int] = {}
        self._live = self._total = 0
        self._last_use = {name: index for index, node in enumerate(nodes) for name in node["input"]}
        self._last_use |= dict.fromkeys(outputs, len(nodes))

    def constant(self, name: str, shape: Shape, numbers: Numbers | None) -> None:
        """A tensor that stands in the file, or a node's constant: it is not counted again."""
        self._give(name, shape)
        if numbers is not None:
            self._numbers[name] = numbers

    def value(self, name: str, shape: Shape, what: str) -> None:
        """A value that comes to be while the graph runs.

        Raises:
            NotAllowed: It is too large, or all that there are (`PE-BUNDLE-034`), or it is there already
                (`PE-BUNDLE-037`).
        """
        elements = elements_of(shape, what)
        self._give(name, shape)
        self._held[name] = elements
        self._live += elements
        self._total += elements
        if self._live > MOST_LIVE or self._total > MOST_TOTAL:
            found = f"more than {MOST_LIVE} elements at a time, or {MOST_TOTAL} in all"
            raise NotAllowed("PE-BUNDLE-034", found, "a graph within the limits")

    def node(self, index: int, node: Values) -> None:
        """One node, whose operator and attributes were checked.

        Raises:
            NotAllowed: An input is given by nothing before it (`PE-BUNDLE-037`); see `value`.
        """
        name, inputs, outputs = node["op_type"], node["input"], node["output"]
        for one in inputs:
            if one and one not in self._shapes:
                raise NotAllowed("PE-BUNDLE-037", f"{name} with the input {one!r} that nothing gives", "one before it")
        attributes = {attribute["name"]: attribute for attribute in node["attribute"]}
        if name == "Constant":
            self.constant(outputs[0], *_constant(attributes))
            return
        sized = SizedNode(
            operator=name,
            opset=self._opset,
            shapes=[self._shapes.get(one) for one in inputs],
            numbers=[self._numbers.get(one) for one in inputs],
            attributes=attributes,
            outputs=len(outputs),
        )
        shapes = RULES[name](sized)
        for place, one in enumerate(outputs):
            if not one:
                continue
            if place >= len(shapes):
                raise sized.unknown(f"the output {place}")
            self.value(one, shapes[place], f"{name} with an output")
        for one in (*inputs, *outputs):
            if self._last_use.get(one, index) == index:
                self._live -= self._held.pop(one, 0)

    def end(self) -> None:
        """After the last node: every answer must be there.

        Raises:
            NotAllowed: One is not (`PE-BUNDLE-037`).
        """
        for name in self._outputs:
            if name not in self._shapes:
                raise NotAllowed("PE-BUNDLE-037", f"the answer {name!r} that nothing gives", "one of a node")

    def _give(self, name: str, shape: Shape) -> None:
        if not name or name in self._shapes:
            raise NotAllowed("PE-BUNDLE-037", f"the value {name!r} twice, or without a name", "each value once")
        self._shapes[name] = shape


def _constant(attributes: dict[str, Values]) -> tuple[Shape, Numbers | None]:
    """Shape and small values of a constant that a node holds."""
    if len(attributes) != 1:
        raise NotAllowed("PE-BUNDLE-037", f"a Constant with {len(attributes)} values", "one value")
    ((key, attribute),) = attributes.items()
    match key:
        case "value":
            tensor = attribute["t"]
            return tuple(tensor["dims"]), numbers_of(tensor)
        case "value_int":
            return (), (clamped(attribute["i"]),)
        case "value_ints":
            values = tuple(clamped(value) for value in attribute["ints"])
            return (len(values),), values if len(values) <= MOST_NUMBERS else None
        case "value_float":
            return (), (float_of(attribute["f"]),)
        case "value_floats":
            floats = attribute["floats"]
            return (len(floats),), tuple(map(float_of, floats)) if len(floats) <= MOST_NUMBERS else None
    raise NotAllowed("PE-BUNDLE-034", "a Constant of text", "numbers")
