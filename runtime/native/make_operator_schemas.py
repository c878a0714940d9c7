"""Write `physedge_runtime/operator_schemas.py` from the schemas of the installed ONNX.

    python runtime/native/make_operator_schemas.py && python runtime/native/make_tables.py

How many inputs and outputs an operator has, and its attributes with their types, for every operator set that a device
reads. A test holds that the written file is up to date.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from physedge_runtime.graph_check import NEWEST_OPSET, OLDEST_OPSET, OPERATORS

if TYPE_CHECKING:
    import onnx

TARGET = Path(__file__).parents[1] / "physedge_runtime/operator_schemas.py"
_LETTERS = {"FLOAT": "f", "INT": "i", "STRING": "s", "TENSOR": "t", "FLOATS": "F", "INTS": "I", "STRINGS": "S"}
_ENDLESS = 2**31 - 1
_LINE = 118
_HEAD = '''"""Inputs, outputs and attributes of every operator on the list. Written by make_operator_schemas.py.

From ONNX's schemas. A line is an operator as it is from one operator set on: name, set, fewest and most inputs, fewest
and most outputs (`*` for any number), and its attributes with a letter each: f i s t a float, an integer, a text or a
tensor, in capitals a list of them; `!` where it must be there. A set without a line of its own has the one before.
"""

from __future__ import annotations

LINES = """'''


def _line(schema: onnx.defs.OpSchema) -> str:
    repeated = [str(item.option.name) == "Variadic" for item in schema.inputs]
    fewest = sum(str(item.option.name) == "Single" for item in schema.inputs)
    fewest += sum(item.min_arity for item, many in zip(schema.inputs, repeated, strict=True) if many)
    attributes = [
        f"{name}{'!' if attribute.required else ''}={_LETTERS[attribute.type.name]}"
        for name, attribute in sorted(schema.attributes.items())
        if attribute.type.name in _LETTERS
    ]
    most_in, most_out = ("*" if most >= _ENDLESS else str(most) for most in (schema.max_input, schema.max_output))
    return " ".join([str(fewest), most_in, str(schema.min_output), most_out, *attributes])


def text() -> str:
    """Content of `operator_schemas.py`."""
    import onnx

    found: dict[str, list[tuple[int, str]]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and schema.name in OPERATORS and schema.since_version <= NEWEST_OPSET:
            found.setdefault(schema.name, []).append((schema.since_version, _line(schema)))
    lines = []
    for name, versions in sorted(found.items()):
        before = ""
        versions.sort()
        for index, (since, line) in enumerate(versions):
            is_over = index + 1 < len(versions) and versions[index + 1][0] <= OLDEST_OPSET
            if not is_over and line != before:
                lines += _wrapped(f"{name} {since} {line}")
                before = line
    return _HEAD + "\n" + "\n".join(lines) + '\n"""\n'


def _wrapped(line: str) -> list[str]:
    """The line in pieces of a readable width; what goes on is indented."""
    pieces = [""]
    for word in line.split():
        if len(pieces[-1]) + len(word) + 1 > _LINE:
            pieces.append("   ")
        pieces[-1] += f" {word}" if pieces[-1] else word
    return pieces


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
