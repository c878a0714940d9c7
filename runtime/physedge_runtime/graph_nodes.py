"""Whether a node has the inputs, outputs and attributes that the standard gives its operator.

Engines take much of this for granted: a convolution without a weight, or an axis that is a text, has ended more than
one of them before it could answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from physedge_runtime.graph_wire import NotAllowed, Values
from physedge_runtime.operator_schemas import LINES

# AttributeProto.AttributeType to its letter in `LINES`, and the field that holds such a value.
ATTRIBUTE_TYPES = {
    1: ("f", "f"),
    2: ("i", "i"),
    3: ("s", "s"),
    4: ("t", "t"),
    6: ("F", "floats"),
    7: ("I", "ints"),
    8: ("S", "strings"),
}
_VALUES = ("f", "i", "s", "t", "floats", "ints", "strings")
ENDLESS = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Schema:
    """An operator as it is from one operator set on.

    Attributes:
        since: The first operator set.
        fewest_inputs: That must be there.
        most_inputs: `ENDLESS` for any number.
        fewest_outputs: As for inputs.
        most_outputs: As for inputs.
        attributes: Name to letter.
        required: Names of attributes that must be there.
    """

    since: int
    fewest_inputs: int
    most_inputs: int
    fewest_outputs: int
    most_outputs: int
    attributes: dict[str, str]
    required: tuple[str, ...]


@cache
def schemas() -> dict[str, tuple[Schema, ...]]:
    """Operator to its schemas, the oldest first."""
    found: dict[str, list[Schema]] = {}
    for line in LINES.replace("\n    ", " ").split("\n"):
        if not line:
            continue
        name, *counts = line.split()[:6]
        since, fewest_in, most_in, fewest_out, most_out = (ENDLESS if one == "*" else int(one) for one in counts)
        pairs = [word.split("=") for word in line.split()[6:]]
        attributes = {word.rstrip("!"): letter for word, letter in pairs}
        required = tuple(word[:-1] for word, _ in pairs if word.endswith("!"))
        schema = Schema(since, fewest_in, most_in, fewest_out, most_out, attributes, required)
        found.setdefault(name, []).append(schema)
    return {name: tuple(versions) for name, versions in found.items()}


def check_node(node: Values, opset: int) -> None:
    """Refuse a node that is not as the standard has its operator.

    Args:
        node: As `graph_wire` reads it; its operator is on the list.
        opset: The graph's operator set.

    Raises:
        NotAllowed: PE-BUNDLE-037.
    """
    name = node["op_type"]
    schema = next((one for one in reversed(schemas()[name]) if one.since <= opset), None)
    if schema is None:
        raise _other(f"{name}, which the operator set {opset} does not have", "an operator of the graph's own set")
    _check_arity(name, schema, node["input"], node["output"])
    given = set[str]()
    for attribute in node["attribute"]:
        key = attribute.get("name", "")
        if key in given:
            raise _other(f"{name} with {key!r} twice", "each attribute once")
        given.add(key)
        letter, field = ATTRIBUTE_TYPES.get(attribute.get("type", 0), ("", ""))
        if not letter or schema.attributes.get(key) != letter:
            raise _other(f"{name} with the attribute {key!r}", "attributes of the standard, in its types")
        held = [one for one in _VALUES if one in attribute and attribute[one] != []]
        if held != [field] and (held or letter.islower()):
            raise _other(f"{name} with the attribute {key!r} that is none of its type", "one value of its type")
    missing = [key for key in schema.required if key not in given]
    if missing:
        raise _other(f"{name} without {missing[0]!r}", "every attribute that the standard asks for")


def _check_arity(name: str, schema: Schema, inputs: list[str], outputs: list[str]) -> None:
    for what, names, fewest, most in (
        ("inputs", inputs, schema.fewest_inputs, schema.most_inputs),
        ("outputs", outputs, schema.fewest_outputs, schema.most_outputs),
    ):
        needed = len(names) if most == ENDLESS else fewest
        if not fewest <= len(names) <= most or "" in names[:needed]:
            told = str(fewest) if fewest == most else f"{fewest} or more" if most == ENDLESS else f"{fewest} to {most}"
            raise _other(f"{name} with {len(names)} {what}, or an empty one", f"{told} {what}")
    if not any(outputs):
        raise _other(f"{name} without an output", "an output")


def _other(found: str, expected: str) -> NotAllowed:
    return NotAllowed("PE-BUNDLE-037", found, expected)
