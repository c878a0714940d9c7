"""Write what the C++ reader shares with the Python runtime: the manifest's schema, and what a graph may hold.

    python runtime/native/make_tables.py

The Python modules are the only place where these are declared; a test holds that the written files are up to date.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from physedge_runtime import (
    graph_check,
    graph_nodes,
    graph_size_rules,
    graph_sizes,
    graph_wire,
    ir,
    ir_spelling,
    manifest_rules,
)
from physedge_runtime.manifest import OLDEST_SCHEMA_VERSION, SCHEMA_VERSION, Manifest

SOURCES = Path(__file__).parent / "src"
_HEAD = "// Written by make_tables.py from the Python runtime."
_FOR_PEOPLE = ("title", "description")


def without_words(schema: Any, *, names_are_keys: bool = False) -> Any:
    """The schema without what is there for people; the members of `properties` and `$defs` are names, not keywords."""
    if isinstance(schema, list):
        return [without_words(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {
        key: value
        if key == "default" and not names_are_keys
        else without_words(value, names_are_keys=not names_are_keys and key in ("properties", "$defs"))
        for key, value in schema.items()
        if names_are_keys or key not in _FOR_PEOPLE
    }
    for name in set(plain.get("properties", ())) - set(plain.get("required", ())) if not names_are_keys else ():
        if plain["properties"][name].get("type") == "object":
            plain["properties"][name].setdefault("default", {})  # pydantic does not say what a factory gives
    return plain


def schema_text() -> str:
    """Content of `manifest_schema.inc`."""
    schema = without_words(Manifest.model_json_schema(mode="validation"))
    return "\n".join(
        [
            _HEAD,
            f"constexpr long long newest_schema_version = {SCHEMA_VERSION};",
            f"constexpr long long oldest_schema_version = {OLDEST_SCHEMA_VERSION};",
            *_json_text("manifest_schema", schema),
            "",
        ]
    )


def messages_text() -> str:
    """Content of `graph_messages.inc`: the fields of ONNX's messages, as `Rule` of graph_wire.cpp."""
    names = {name: name.replace(" ", "_") for name in graph_wire.MESSAGES}
    lines = [
        _HEAD,
        f"constexpr std::size_t most_fields = {graph_wire.MOST_FIELDS};",
        f"constexpr std::size_t most_text_bytes = {graph_wire.MOST_TEXT_BYTES};",
    ]
    lines += [f"extern const MessageRules {name}_rules;" for name in names.values()]
    for message, fields in graph_wire.MESSAGES.items():
        lines.append(f"constexpr Rule {names[message]}_fields[] = {{  // by number")
        for number, rule in sorted(fields.items()):
            if rule.kind is None:
                assert rule.refused is not None
                told = ", ".join(json.dumps(part) for part in rule.refused)
                lines.append(f"    refused({number}, {told}),")
                continue
            kind = "real" if rule.kind.what == "float" else rule.kind.what
            what = "message" if kind in names else kind
            inner = f"&{names[kind]}_rules" if kind in names else "nullptr"
            many = "true" if rule.many else "false"
            lines.append(f'    read({number}, "{rule.name}", {rule.kind.wire}, What::{what}, {many}, {inner}),')
        lines += [
            "};",
            f'const MessageRules {names[message]}_rules = {{"{message}", {names[message]}_fields, '
            f"std::size({names[message]}_fields)}};",
        ]
    return "\n".join([*lines, ""])


def numbers_text() -> str:
    """Content of `graph_fields.inc`: the numbers of the fields that are read, by message and name."""
    lines = [_HEAD]
    for message, fields in graph_wire.MESSAGES.items():
        named = ", ".join(f"{rule.name} = {number}" for number, rule in sorted(fields.items()) if rule.kind is not None)
        lines.append(f"namespace {message.replace(' ', '_')}_field {{ enum Number : unsigned {{ {named} }}; }}")
    return "\n".join([*lines, ""])


def rules_text() -> str:
    """Content of `manifest_rules.inc`: for each document a list of [sentence, expression]."""
    tables = {
        "growth": manifest_rules.GROWTH_RULES,
        "spec": manifest_rules.SPEC_RULES,
        "manifest": manifest_rules.MANIFEST_RULES,
    }
    content = {name: [[rule.sentence, rule.expression] for rule in rules] for name, rules in tables.items()}
    return "\n".join([_HEAD, *_json_text("manifest_rules", content), ""])


def _json_text(name: str, content: Any) -> list[str]:
    """A constant with JSON in it."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    lines = [text[start : start + 110] for start in range(0, len(text), 110)]
    return [f"constexpr char {name}[] =", *(f'    R"json({line})json"' for line in lines), "    ;"]


def operators_text() -> str:
    """Content of `operators.inc`."""
    names = sorted(graph_check.OPERATORS)
    kinds = graph_check.BITS
    constants = {
        "std::size_t most_nodes": graph_check.MOST_NODES,
        "std::int64_t oldest_opset": graph_check.OLDEST_OPSET,
        "std::int64_t newest_opset": graph_check.NEWEST_OPSET,
        "std::int64_t oldest_ir": graph_check.OLDEST_IR,
        "std::int64_t newest_ir": graph_check.NEWEST_IR,
    }
    return "\n".join(
        [
            _HEAD,
            *(f"constexpr {name} = {value};" for name, value in constants.items()),
            f'constexpr std::string_view float_mark = "{graph_check.FLOAT_MARK}";',
            "// Bits an element of TensorProto.DataType; 0 for what is no number.",
            "constexpr unsigned char kind_bits[] = {"
            + ", ".join(str(kinds.get(kind, 0)) for kind in range(max(kinds) + 1))
            + "};",
            "constexpr std::string_view operators[] = {  // sorted",
            *(f'    "{name}",' for name in names),
            "};",
            "",
        ]
    )


def size_rules_text() -> str:
    """Content of `size_rules.inc`: operator to its rule, a function of graph_size_rules.cpp."""
    other_names = {"shape": "shape_of", "size": "size_of"}
    lines = []
    for name, rule in sorted(graph_size_rules.RULES.items()):
        function = rule.__name__.lstrip("_")
        lines.append(f'    {{"{name}", {other_names.get(function, function)}}},')
    return "\n".join([_HEAD, "constexpr NamedRule size_rules[] = {  // sorted", *lines, "};", ""])


def size_limits_text() -> str:
    """Content of `size_limits.inc`."""
    constants = {
        "std::uint64_t most_elements": graph_sizes.MOST_ELEMENTS,
        "std::uint64_t most_live": graph_sizes.MOST_LIVE,
        "std::uint64_t most_total": graph_sizes.MOST_TOTAL,
        "std::size_t most_axes": graph_sizes.MOST_AXES,
        "std::size_t most_numbers": graph_sizes.MOST_NUMBERS,
        "std::int64_t float32_kind": graph_sizes.FLOAT32,
        "std::int64_t int32_kind": graph_sizes.INT32,
        "std::int64_t int64_kind": graph_sizes.INT64,
    }
    return "\n".join([_HEAD, *(f"constexpr {name} = {value};" for name, value in constants.items()), ""])


def schemas_text() -> str:
    """Content of `operator_schemas.inc`: as `Schema` of graph_nodes.cpp, by name and operator set."""
    attributes, lines = list[str](), list[str]()
    for name, versions in sorted(graph_nodes.schemas().items()):
        for one in versions:
            place = len(attributes)
            attributes += [
                f"    {{\"{key}\", '{letter}', {'true' if key in one.required else 'false'}}},"
                for key, letter in one.attributes.items()
            ]
            counts = (one.since, one.fewest_inputs, one.most_inputs, one.fewest_outputs, one.most_outputs, place)
            lines.append(f'    {{"{name}", {", ".join(map(str, counts))}, {len(one.attributes)}}},')
    types = [
        f"    {{{number}, '{letter}', attribute_field::{field}}},"
        for number, (letter, field) in graph_nodes.ATTRIBUTE_TYPES.items()
    ]
    return "\n".join(
        [
            _HEAD,
            f"constexpr std::size_t endless = {graph_nodes.ENDLESS};",
            "constexpr AttributeType attribute_types[] = {",
            *types,
            "};",
            "constexpr AttributeRule attribute_rules[] = {",
            *attributes,
            "};",
            "constexpr Schema schemas[] = {",
            *lines,
            "};",
            "",
        ]
    )


def ir_operators_text() -> str:
    """Content of `ir_operators.inc`."""

    def names(of: frozenset[str]) -> list[str]:
        return [f'    "{name}",' for name in sorted(of)]

    return "\n".join(
        [
            _HEAD,
            f'constexpr std::string_view ir_mark = "{ir.MARK.decode()}";',
            f"constexpr std::uint64_t ir_most_elements = {ir.MOST_ELEMENTS};",
            "constexpr std::pair<std::string_view, std::uint64_t> ir_bits[] = {",
            *(f'    {{"{name}", {bits}}},' for name, bits in sorted(ir._BITS.items())),
            "};",
            "constexpr std::string_view ir_operators[] = {  // sorted",
            *names(ir.OPERATORS),
            "};",
            "",
        ]
    )


def ir_limits_text() -> str:
    """Content of `ir_limits.inc`."""
    limits = {
        "layers": ir_spelling.MOST_LAYERS,
        "ports": ir_spelling.MOST_PORTS,
        "dims": ir_spelling.MOST_DIMS,
        "value_bytes": ir_spelling.MOST_VALUE_BYTES,
        "digits": ir_spelling.MOST_DIGITS,
    }
    return "\n".join(
        [_HEAD, *(f"constexpr std::size_t ir_most_{name} = {value};" for name, value in limits.items()), ""]
    )


FILES = {
    "manifest_rules.inc": rules_text,
    "manifest_schema.inc": schema_text,
    "graph_messages.inc": messages_text,
    "graph_fields.inc": numbers_text,
    "operators.inc": operators_text,
    "operator_schemas.inc": schemas_text,
    "size_rules.inc": size_rules_text,
    "size_limits.inc": size_limits_text,
    "ir_operators.inc": ir_operators_text,
    "ir_limits.inc": ir_limits_text,
}


if __name__ == "__main__":
    for file, text in FILES.items():
        (SOURCES / file).write_text(text(), encoding="utf-8")
