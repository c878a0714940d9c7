"""Every field of a manifest has a range, and its parts agree: one table, held by a broken manifest for every row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from broken_manifests import CASES, RULES, SEGMENTATION, changed

from physedge_runtime.bundle import read_bundle
from physedge_runtime.errors import IntegrityError
from physedge_runtime.manifest import Manifest
from physedge_runtime.rules import Rule, broken_rule

FREE = {"VerdictRecord.details"}
"""Numbers of a judgement, which no reader but a person looks at; the size of the manifest bounds them."""


@pytest.mark.requirement("REQ-BUNDLE-DISTRUST")
@pytest.mark.parametrize("index", range(len(CASES)))
def test_a_manifest_that_breaks_a_rule_is_refused_by_its_sentence(index: int, tmp_path: Path) -> None:
    start, kind, change = CASES[index]
    (sentence,) = (each for each in RULES if each.startswith(start))
    path = tmp_path / "x.physedge"
    path.write_bytes(changed(kind, change))
    with pytest.raises(IntegrityError, match="PE-BUNDLE-008") as caught:
        read_bundle(path)
    # A crop is held by its own class first, in words of its own; the rule is there for the C++ reader.
    assert sentence in caught.value.found or "the crop Crop(" in caught.value.found


def test_every_rule_has_a_manifest_that_breaks_it() -> None:
    broken = {each for each in RULES if any(each.startswith(start) for start, _, _ in CASES)}
    assert broken == set(RULES)


def test_an_unchanged_manifest_breaks_none(tmp_path: Path) -> None:
    for kind in range(5):
        path = tmp_path / "x.physedge"
        path.write_bytes(changed(kind, lambda m: None))
        read_bundle(path)


def test_the_stand_in_engine_is_chosen_by_whoever_opens_and_never_by_a_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from physedge_runtime.net import choose_engine

    path = tmp_path / "x.physedge"
    path.write_bytes(changed(SEGMENTATION, lambda m: None))
    bundle = read_bundle(path)
    with bundle.open(engine="fake") as net:
        assert net.engine_name == "fake"
    # Behind the reader's back: choosing knows it as well.
    hostile = bundle.manifest.model_copy(update={"target": "fake", "shipped": {"fake": "model.onnx"}})
    assert choose_engine(hostile) == "onnxruntime"


def fields(schema: Any, definitions: Any, place: str) -> list[tuple[str, Any]]:
    """Every leaf of a JSON schema, with where it stands."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return fields(definitions[name], definitions, name)
    found = [(place, schema)]
    for inner in schema.get("anyOf", []):
        found += fields(inner, definitions, place)
    for key in ("items", "additionalProperties", "propertyNames"):
        if isinstance(schema.get(key), dict):
            found += fields(schema[key], definitions, f"{place}[]")
    for form in (*schema.get("patternProperties", {}).values(), *schema.get("prefixItems", [])):
        found += fields(form, definitions, f"{place}[]")
    for name, form in schema.get("properties", {}).items():
        found += fields(form, definitions, f"{place}.{name}")
    return found


def lacking(schema: Any) -> str:
    """What a leaf does not bound."""
    kind = schema.get("type")
    low, high = {"minimum", "exclusiveMinimum"} & set(schema), {"maximum", "exclusiveMaximum"} & set(schema)
    if kind in ("integer", "number") and not (low and high):
        return "range"
    if kind == "string" and not {"maxLength", "enum", "pattern"} & set(schema):
        return "length"
    if kind == "array" and "maxItems" not in schema:
        return "items"
    is_open = kind == "object" and "properties" not in schema
    if is_open and ("maxProperties" not in schema or not {"patternProperties", "propertyNames"} & set(schema)):
        return "names"
    return ""


def test_every_field_of_a_manifest_has_a_range() -> None:
    schema = Manifest.model_json_schema()
    open_fields = {
        f"{place} ({what})"
        for place, form in fields(schema, schema["$defs"], "Manifest")
        if (what := lacking(form)) and place not in FREE
    }
    # The four fractions of a crop are bounded by the rule on crops, the schema's number by the reader's own check.
    assert open_fields == {
        "Manifest.schema_version (range)",
        *(f"Crop.{side} (range)" for side in ("left", "top", "width", "height")),
    }


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        (("equal", "$.a", 1), True),
        (("equal", "$.a", 1.0), True),
        (("equal", "$.t", 1), False),
        (("equal", "$.x.y", None), True),
        (("equal", "$.list", ("list", 3, 1, 2)), True),
        (("equal", "$.list", ("list", 3, 1)), False),
        (("at most", "$.x", 5), False),
        (("at most", 2, "$.a"), False),
        (("below", "$.a", 1), False),
        (("equal", ("product", "$.list"), 6), True),
        (("equal", ("product", "$.x"), 1), True),
        (("equal", ("times", "$.a", "$.x"), None), True),
        (("equal", ("plus", 2, "$.a"), 3), True),
        (("equal", ("first", "$.list"), 3), True),
        (("equal", ("last", "$.list"), 2), True),
        (("equal", ("first", "$.x"), None), True),
        (("equal", ("keys", "$.named"), ("list", "p", "q")), True),
        (("in", 3, "$.list"), True),
        (("in", "$.t", ("list", 1)), False),
        (("within", "$.list", ("list", 1, 2, 3)), True),
        (("within", "$.list", ("list", 1, 2)), False),
        (("within", "$.x", ("list",)), True),
        (("unique", "$.list"), True),
        (("unique", ("list", "a", "a")), False),
        (("each", "$.named", ("at most", "@.n", 2)), True),
        (("each", "$.named", ("at most", "@.n", 1)), False),
        (("some", "$.named", ("equal", "@.n", 2)), True),
        (("some", "$.x", ("equal", 1, 1)), False),
        (("equal", "$.named.*.n", ("list", 1, 2)), True),
        (("choose", ("equal", "$.a", 1), ("starts", "$.text", "mod"), ("not", ("equal", 1, 1))), True),
        (("ends", "$.text", ".onnx"), True),
        (("ends", "$.x", ""), False),
        (("starts", "m", "$.text"), False),
        (("all",), True),
        (("any",), False),
    ],
)
def test_an_expression_is_what_its_operators_say(expression: tuple[Any, ...], holds: bool) -> None:
    document = {
        "a": 1,
        "t": True,
        "x": None,
        "list": [3, 1, 2],
        "named": {"p": {"n": 1}, "q": {"n": 2}},
        "text": "model.onnx",
    }
    assert (broken_rule([Rule("it does not hold", expression)], document) == "") is holds
