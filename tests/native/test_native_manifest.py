"""Both readers say the same of manifests and graphs whose hashes were repaired: taken, or refused by one identifier."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from broken_manifests import CASES, RULES, SEGMENTATION, base, changed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_library import Native
from repaired_mutants import VALUES, Mutants, _places, ask_native, asked, changed_json, repair

from physedge_runtime import rules
from physedge_runtime.bundle import MANIFEST, canonical_zip
from physedge_runtime.errors import IntegrityError
from physedge_runtime.json_text import LARGEST_INTEGER, MOST_LEVELS, MOST_VALUES
from physedge_runtime.manifest import Manifest, canonical_json

REFUSED = "PE-BUNDLE-008 4"
RULES_SOURCE = Path(__file__).parents[2] / "runtime/native/src/rules.cpp"


@pytest.mark.requirement("REQ-NATIVE-DISTRUST")
@pytest.mark.parametrize("index", range(len(CASES)))
def test_a_manifest_that_breaks_a_rule_is_refused_by_its_sentence(index: int, native: Native) -> None:
    start, kind, change = CASES[index]
    (sentence,) = (each for each in RULES if each.startswith(start))
    with pytest.raises(IntegrityError, match="PE-BUNDLE-008") as caught:
        native.read_memory(changed(kind, change))
    assert sentence in caught.value.found


def test_the_twin_knows_every_operator_of_a_rule() -> None:
    source = RULES_SOURCE.read_text("utf-8")
    assert [name for name in rules.OPERATORS if f'name == "{name}"' not in source] == []


def limits(schema: Any, definitions: Any, place: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], str, Any]]:
    """Every bound of a JSON schema with the place in a document that it is of; `*` for any item."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    words = (
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
    )
    found = [(place, word, schema[word]) for word in (*words, "minProperties", "maxProperties") if word in schema]
    for inner in schema.get("anyOf", []):
        found += limits(inner, definitions, place)
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            found += limits(schema[key], definitions, (*place, "*"))
    for form in schema.get("patternProperties", {}).values():
        found += limits(form, definitions, (*place, "*"))
    for name, form in schema.get("properties", {}).items():
        found += limits(form, definitions, (*place, name))
    return found


def just_outside(word: str, limit: Any, value: Any) -> Any:
    """A value like `value` that lies beyond a limit by as little as can be."""
    step = 1 if isinstance(value, int) else max(abs(limit) * 1e-12, 1e-300)
    match word:
        case "minimum":
            return limit - step
        case "maximum":
            return limit + step
        case "exclusiveMinimum" | "exclusiveMaximum":
            return type(value)(limit)
        case "minLength" | "minItems" | "minProperties":
            return type(value)()
        case "maxLength":
            return "x" * (limit + 1)
        case "maxItems":
            return (value or ["x"]) * (limit + 1)
        case _:
            filling = next(iter(value.values()), "x")
            return {f"a{index}": filling for index in range(limit + 1)}


@pytest.mark.requirement("REQ-NATIVE-DISTRUST")
def test_what_lies_just_outside_of_a_range_is_refused_by_both(tmp_path: Path, native: Native) -> None:
    """Of every bounded field that a bundle of one of the kinds has."""
    schema, tried = Manifest.model_json_schema(), Counter[str]()
    bounds = limits(schema, schema["$defs"], ())
    for kind in range(5):
        contents = base(kind)
        whole = json.loads(contents.pop(MANIFEST))
        for place in _places(whole)[1:]:
            for pattern, word, limit in bounds:
                if len(pattern) != len(place) or any(p not in ("*", q) for p, q in zip(pattern, place, strict=True)):
                    continue
                manifest = json.loads(json.dumps(whole))
                parent = manifest
                for key in place[:-1]:
                    parent = parent[key]
                if parent[place[-1]] is None or isinstance(parent[place[-1]], bool):
                    continue
                parent[place[-1]] = just_outside(word, limit, parent[place[-1]])
                data = canonical_zip({**contents, MANIFEST: canonical_json(manifest)})
                assert asked(native, data, tmp_path / "x.physedge") == (REFUSED, REFUSED), (place, word, limit)
                tried[word] += 1
    assert tried["maximum"] > 100
    assert min(tried[word] for word in ("minimum", "exclusiveMinimum", "maxLength", "maxItems", "maxProperties")) > 10


@pytest.mark.parametrize(
    ("details", "is_taken"),
    [
        ([0] * (MOST_VALUES // 2), True),
        ([0] * MOST_VALUES, False),
        (LARGEST_INTEGER, True),
        (LARGEST_INTEGER + 1, False),
        (-(2**63), True),
        (-(2**63) - 1, False),
        (10**400, False),
        ("nested", True),
        ("nested too deep", False),
    ],
)
def test_the_json_of_a_manifest_is_bounded_alike(details: Any, is_taken: bool, tmp_path: Path, native: Native) -> None:
    from broken_manifests import CLASSES

    if isinstance(details, str):  # the manifest, its verdicts, one of them, details: four levels are there already
        levels, details = MOST_LEVELS - 4 + (not is_taken), 0
        for _ in range(levels):
            details = [details]

    def change(manifest: Any) -> None:
        manifest["verdicts"][0]["details"] = {"a": details}

    expected = "answered" if is_taken else REFUSED
    assert asked(native, changed(CLASSES, change), tmp_path / "x.physedge") == (expected, expected)


@pytest.mark.parametrize(("length", "expected"), [(200, "answered"), (201, REFUSED)])
def test_the_names_of_members_are_bounded_alike(length: int, expected: str, tmp_path: Path, native: Native) -> None:
    data = changed(SEGMENTATION, lambda manifest: manifest["tools"].update({"é" * length: "1"}))
    assert asked(native, data, tmp_path / "x.physedge") == (expected, expected)


def test_one_entry_for_two_outputs_has_to_fit_both(tmp_path: Path, native: Native) -> None:
    from broken_manifests import CLASSES

    def change(manifest: Any) -> None:
        manifest["golden"][0]["outputs"]["probability"] = "golden/0.trust_mass"
        manifest["entries"].pop("golden/0.probability")

    contents = base(CLASSES)
    del contents["golden/0.probability"]
    manifest = json.loads(contents.pop(MANIFEST))
    change(manifest)
    data = canonical_zip({**contents, MANIFEST: canonical_json(manifest)})
    assert asked(native, data, tmp_path / "x.physedge") == ("PE-BUNDLE-013 4", "PE-BUNDLE-013 4")


SETTINGS = settings(
    max_examples=250,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.requirement("REQ-NATIVE-MUTATIONS")
@SETTINGS
@given(data=st.data(), kind=st.integers(0, 4))
def test_a_repaired_manifest_is_judged_alike(tmp_path: Path, native: Native, data: st.DataObject, kind: int) -> None:
    """Hypothesis chooses the place and the value, and so makes what it finds small."""
    contents = base(kind)
    manifest = json.loads(contents.pop(MANIFEST))
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(_places(manifest)[1:]))
        parent = manifest
        for key in place[:-1]:
            parent = parent[key]
        if data.draw(st.booleans()):
            del parent[place[-1]]
        else:
            numbers = st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False)
            parent[place[-1]] = data.draw(st.sampled_from(VALUES) | numbers | st.text(max_size=70))
    repair(manifest, contents)
    try:
        text = canonical_json(manifest)
    except ValueError:  # half a character, which no bytes hold
        return
    python, ours = asked(native, canonical_zip({**contents, MANIFEST: text}), tmp_path / "x.physedge")
    assert ours == python, text


@pytest.mark.requirement("REQ-NATIVE-MUTATIONS")
@pytest.mark.parametrize("seed", range(4))
def test_repaired_mutants_are_judged_alike(seed: int, tmp_path: Path, native: Native) -> None:
    """750 of each seed, manifests and graphs; benchmarks/differential.py asks of 100,000."""
    mutants, told = Mutants(seed), Counter[str]()
    for _ in range(750):
        data = mutants.draw()
        python, ours = asked(native, data, tmp_path / "x.physedge")
        if python != ours:
            (tmp_path / "found.physedge").write_bytes(data)
        assert ours == python
        told[python] += 1
    assert told["answered"] > 20
    assert len(told) >= 7


def test_the_mutants_are_the_same_for_a_seed_and_reach_deep(native: Native) -> None:
    one, other = Mutants(5), Mutants(5)
    assert [one.draw() for _ in range(20)] == [other.draw() for _ in range(20)]
    assert ask_native(native, changed(SEGMENTATION, lambda m: None)) == "answered"
    document = {"a": [1, 2], "b": "x"}
    assert any(changed_json(document, random.Random(seed)) != document for seed in range(9))
    assert document == {"a": [1, 2], "b": "x"}
