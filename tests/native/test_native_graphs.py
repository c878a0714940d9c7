"""Python and C++ are asked about the same graphs in bundles whose hashes fit: accept or refuse, by one identifier."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from functools import cache
from pathlib import Path

import exhibits
import pytest
from graph_edits import graph_edits
from hypothesis import HealthCheck, given, settings
from native_library import Native, OpenNet
from tiny_network import tiny_contents, tiny_graph

from physedge_runtime.bundle import MANIFEST, canonical_zip, write_bundle
from physedge_runtime.errors import IntegrityError
from physedge_runtime.graph_check import check_graph
from physedge_runtime.manifest import canonical_json


@cache
def tiny_entries(folder: Path) -> dict[str, bytes]:
    manifest, contents = tiny_contents()
    write_bundle(folder / "x.physedge", manifest, contents)
    return exhibits.entries(folder / "x.physedge")


def with_graph(entries: dict[str, bytes], graph: bytes) -> bytes:
    """The bundle's bytes with another graph, its hash and size repaired."""
    manifest = json.loads(entries[MANIFEST])
    manifest["entries"]["model.onnx"] = {"sha256": hashlib.sha256(graph).hexdigest(), "size_bytes": len(graph)}
    return canonical_zip({**entries, "model.onnx": graph, MANIFEST: canonical_json(manifest)})


def told_by_python(graph: bytes) -> str:
    """The identifier of the refusal, or `taken`."""
    try:
        check_graph(graph, origin="x")
    except IntegrityError as error:
        return error.identifier
    return "taken"


def told_by_native(native: Native, data: bytes) -> str:
    bundle = native.read_memory(data, None)
    try:
        OpenNet(native, bundle, engine=b"fake", largest_width_px=64, largest_height_px=64).close()
    except IntegrityError as error:
        return error.identifier
    finally:
        native.free(bundle)
    return "taken"


@pytest.mark.requirement("REQ-NATIVE-MUTATIONS")
def test_graphs_with_edited_fields_are_judged_alike(native: Native, tmp_path_factory: pytest.TempPathFactory) -> None:
    entries = tiny_entries(tmp_path_factory.mktemp("tiny"))
    told: Counter[str] = Counter()

    @settings(
        max_examples=1000,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(graph=graph_edits(tiny_graph()))
    def ask(graph: bytes) -> None:
        python = told_by_python(graph)
        assert told_by_native(native, with_graph(entries, graph)) == python
        told[python] += 1

    ask()
    # The edits reach past the spelling, and some leave a graph that is taken.
    assert set(told) >= {"taken", "PE-BUNDLE-030", "PE-BUNDLE-034", "PE-BUNDLE-036", "PE-BUNDLE-037"}, told
