"""Python and C++ are asked about the same graphs in bundles whose hashes fit: accept or refuse, by one identifier."""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import exhibits
import numpy as np
import onnx
import pytest
from graph_edits import graph_edits
from graph_exhibits import GROWING, with_nodes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from native_library import Native, OpenNet
from tiny_network import tiny_contents, tiny_graph

from physedge_export.canonical import canonical
from physedge_runtime.bundle import MANIFEST, canonical_zip, write_bundle
from physedge_runtime.errors import IntegrityError
from physedge_runtime.graph_check import check_graph
from physedge_runtime.manifest import canonical_json

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
from test_graph_sizes import examples, with_constants


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


def joined_to_its_own_shape(model: onnx.ModelProto, shapes: list[tuple[int, ...]]) -> bytes:
    """The model with each answer joined to a constant of the shape that it has: any other shape does not fit."""
    for value, shape in zip(list(model.graph.output), shapes, strict=True):
        if not shape or 0 in shape:
            continue
        zeros = onnx.numpy_helper.from_array(np.zeros(shape, np.uint8), f"zeros {value.name}")
        model.graph.initializer.append(zeros)
        for axis in (0, len(shape) - 1):
            names = [value.name, zeros.name], [f"joined {value.name} {axis} {len(shape)}"]
            if not any(node.output[0] == names[1][0] for node in model.graph.node):
                model.graph.node.append(onnx.helper.make_node("Concat", *names, axis=axis))
    return canonical(model.SerializeToString())


@pytest.mark.requirement("REQ-NATIVE-DISTRUST")
def test_sizes_are_told_alike_for_onnxs_examples(native: Native, tmp_path: Path) -> None:
    entries = tiny_entries(tmp_path)
    taken = 0
    for case in examples():
        inputs, outputs = case.data_sets[0]
        if not all(isinstance(one, np.ndarray) and one.dtype.kind in "fiub" for one in (*inputs, *outputs)):
            continue
        model = onnx.load_from_string(with_constants(case.model, inputs))
        graph = joined_to_its_own_shape(model, [one.shape for one in outputs])
        python = told_by_python(graph)
        assert told_by_native(native, with_graph(entries, graph)) == python, case.name
        taken += python == "taken"
    assert taken > 500


@pytest.mark.requirement("REQ-NATIVE-DISTRUST")
@pytest.mark.parametrize("name", GROWING)
def test_what_grows_is_refused_before_it_does(name: str, native: Native, tmp_path: Path) -> None:
    make, identifier = GROWING[name]
    assert told_by_native(native, with_graph(tiny_entries(tmp_path), make())) == identifier


def wider_graph() -> bytes:
    """The tiny graph with operators behind it whose sizes follow from attributes and constants."""
    return with_nodes(
        ("MaxPool", "logits", "pooled", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("Conv", "pooled kernel", "features", {"group": 1, "dilations": [2, 2], "pads": [2, 2, 2, 2]}),
        ("Resize", "features none none sizes", "larger", {"mode": "nearest"}),
        ("Slice", "larger from to axes", "part"),
        ("Pad", "part pads", "padded"),
        ("Split", "padded", "one two", {"axis": 3, "num_outputs": 2}),
        ("Concat", "one two", "both", {"axis": 1}),
        ("Transpose", "both", "turned", {"perm": [0, 2, 3, 1]}),
        ("Reshape", "turned flat", "row"),
        ("Einsum", "row row", "product", {"equation": "bij,bkj->bik"}),
        ("ReduceMean", "product last", "mean", {"keepdims": 0}),
        ("Unsqueeze", "mean last", "column"),
        ("Tile", "column times", "tiled"),
        kernel=np.zeros((4, 1, 3, 3), np.float32),
        none=np.zeros(0, np.float32),
        sizes=np.int64([1, 4, 32, 32]),
        **{"from": np.int64([2]), "to": np.int64([2**62]), "axes": np.int64([2])},
        pads=np.int64([0, 0, 1, 1, 0, 0, 1, 1]),
        flat=np.int64([0, -1, 64]),
        last=np.int64([-1]),
        times=np.int64([1, 1, 3]),
    )()


@pytest.mark.requirement("REQ-NATIVE-MUTATIONS")
def test_graphs_with_edited_fields_are_judged_alike(native: Native, tmp_path_factory: pytest.TempPathFactory) -> None:
    entries = tiny_entries(tmp_path_factory.mktemp("tiny"))
    told: Counter[str] = Counter()
    assert told_by_python(wider_graph()) == "taken"

    @settings(
        max_examples=1000,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(graph=st.one_of(graph_edits(tiny_graph()), graph_edits(wider_graph())))
    def ask(graph: bytes) -> None:
        python = told_by_python(graph)
        assert told_by_native(native, with_graph(entries, graph)) == python
        told[python] += 1

    ask()
    # The edits reach past the spelling, and some leave a graph that is taken.
    assert set(told) >= {"taken", "PE-BUNDLE-030", "PE-BUNDLE-034", "PE-BUNDLE-036", "PE-BUNDLE-037"}, told
