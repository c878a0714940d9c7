"""Malicious bundles: each a valid one, changed in one way that somebody once thought of."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tiny_network import SIDE_PX, tiny_contents

from physedge_runtime.bundle import MANIFEST, canonical_zip, write_bundle
from physedge_runtime.manifest import canonical_json

Contents = dict[str, bytes]


def entries(path: Path) -> Contents:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rebuilt(path: Path, contents: Contents | None = None, **changes: object) -> Path:
    """A bundle whose manifest fits the changed contents: what an attacker writes who knows the format, but no key."""
    manifest, original = tiny_contents()
    write_bundle(path, manifest.model_copy(update=changes), {**original, **(contents or {})})
    return path


def with_graph(path: Path, graph: bytes) -> Path:
    return rebuilt(path, {"model.onnx": graph})


def raw_zip(path: Path, write: Callable[[zipfile.ZipFile, Contents], None]) -> Path:
    contents = entries(rebuilt(path))
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        warnings.simplefilter("ignore")
        write(archive, contents)
    path.write_bytes(buffer.getvalue())
    return path


def extra_entry(path: Path, name: str) -> Path:
    path.write_bytes(canonical_zip({**entries(rebuilt(path)), name: b"x"}))
    return path


def zero_byte(path: Path) -> Path:
    """A name that ends early for whoever reads it as C does."""
    data = extra_entry(path, "model_onnx.txt").read_bytes()
    path.write_bytes(data.replace(b"model_onnx.txt", b"model.onnx\0txt"))
    return path


def swapped_files(path: Path) -> Path:
    """Two valid bundles of the same network; the graph of one in the other."""
    from tiny_network import tiny_graph

    theirs = entries(rebuilt(path, {"model.onnx": tiny_graph(bias=1e-4)}))
    path.write_bytes(canonical_zip({**entries(rebuilt(path)), "model.onnx": theirs["model.onnx"]}))
    return path


def swapped_manifests(path: Path) -> Path:
    ours = entries(rebuilt(path))
    theirs = entries(rebuilt(path, {"golden/0.frame": bytes(40 * 50 * 3)}, release=9))[MANIFEST]
    path.write_bytes(canonical_zip({**ours, MANIFEST: theirs}))
    return path


def duplicate_names(path: Path) -> Path:
    def write(archive: zipfile.ZipFile, contents: Contents) -> None:
        for name, data in contents.items():
            archive.writestr(name, data)
        archive.writestr("model.onnx", b"the graph that a careless reader takes")

    return raw_zip(path, write)


def symbolic_link(path: Path) -> Path:
    def write(archive: zipfile.ZipFile, contents: Contents) -> None:
        for name, data in contents.items():
            record = zipfile.ZipInfo(name)
            if name == "model.onnx":
                record.create_system, record.external_attr, data = 3, 0o120777 << 16, b"/etc/passwd"
            archive.writestr(record, data)

    return raw_zip(path, write)


def huge_ratio(path: Path) -> Path:
    def write(archive: zipfile.ZipFile, contents: Contents) -> None:
        for name, data in contents.items():
            archive.writestr(name, data)
        archive.writestr("zeros", bytes(64 * 1024**2), zipfile.ZIP_DEFLATED)

    return raw_zip(path, write)


def lying_size(path: Path) -> Path:
    """The directory says that the manifest has 3 GiB."""
    data = bytearray(rebuilt(path).read_bytes())

    first = data.index(b"PK\x01\x02")
    while data[first + 46 : first + 46 + len(MANIFEST)] != MANIFEST.encode():
        first = data.index(b"PK\x01\x02", first + 4)

    data[first + 20 : first + 28] = struct.pack("<II", 3 * 1024**3, 3 * 1024**3)
    path.write_bytes(data)
    return path


def other_schema(path: Path, version: object) -> Path:
    import json

    contents = entries(rebuilt(path))
    manifest = {**json.loads(contents[MANIFEST]), "schema_version": version}
    path.write_bytes(canonical_zip({**contents, MANIFEST: canonical_json(manifest)}))
    return path


def manifest_with(path: Path, *changes: bytes) -> Path:
    """The manifest with one part for another: old, new, old, new ..."""
    contents = entries(rebuilt(path))
    manifest = contents[MANIFEST]
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in manifest
        manifest = manifest.replace(old, new, 1)
    path.write_bytes(canonical_zip({**contents, MANIFEST: manifest}))
    return path


def golden_altered(path: Path) -> Path:
    """The answers that must come out are changed, and every hash with them."""
    answer = np.frombuffer(tiny_contents()[1]["golden/0.probability"], "<f4") + np.float32(0.25)
    return rebuilt(path, {"golden/0.probability": answer.tobytes()})


def golden_of_another_size(path: Path) -> Path:
    return rebuilt(path, {"golden/0.probability": bytes(12)})


INT8 = "model.int8-cpu.onnx"
OWN = "golden/0.probability.int8-cpu"


def reduced(
    path: Path, *, bias: float = 0.0, engine: str = "onnxruntime", contents: Contents | None = None, **changes: object
) -> Path:
    """A bundle whose graph for processors is declared INT8, with wide bounds, and with its own answers and tight ones.

    Args:
        path: Where it goes.
        bias: Put onto a weight of that graph alone, after its answers were taken down: a fault, with hashes that fit.
        engine: That the own answers are of.
        contents: Further entries.
        changes: Of `OwnAnswers`; `own=None` leaves all of it out.
    """
    from physedge_runtime.manifest import OwnAnswers

    manifest, original = tiny_contents()
    own = {"engine": engine, "computed_by": "an engine", "answers": ({"probability": OWN},)}
    given = (
        OwnAnswers.model_validate({**own, "mean_bound": 1e-4, "max_bound": 1e-3, **changes})
        if "own" not in changes
        else None
    )
    full = manifest.artefacts[0]
    loose = {"entry": INT8, "precision": "int8", "golden_mean_bound": 0.02, "golden_max_bound": 0.1, "own": given}
    changed = manifest.model_copy(
        update={
            "artefacts": (full, full.model_copy(update=loose)),
            "shipped": {"onnxruntime": INT8, "openvino": INT8},
        }
    )
    from tiny_network import tiny_graph

    answer = {OWN: original["golden/0.probability"]} if given is not None else {}
    write_bundle(path, changed, {**original, INT8: tiny_graph(bias=bias), **answer, **(contents or {})})
    return path


def own_answer_null(path: Path) -> Path:
    """A member that is left out where it is null, written all the same."""
    import json

    contents = entries(reduced(path, own=None))
    manifest = json.loads(contents[MANIFEST])
    manifest["artefacts"][1]["own"] = None
    path.write_bytes(canonical_zip({**contents, MANIFEST: canonical_json(manifest)}))
    return path


def golden_left_out(path: Path) -> Path:
    import json

    contents = entries(rebuilt(path))
    manifest = {**json.loads(contents[MANIFEST]), "golden": []}
    path.write_bytes(canonical_zip({**contents, MANIFEST: canonical_json(manifest)}))
    return path


# Graphs.


def graph(change: Callable[[Any], None]) -> bytes:
    """The tiny graph after a change of its ONNX model."""
    import onnx
    from tiny_network import tiny_graph

    model = onnx.load_from_string(tiny_graph())
    change(model)
    return bytes(model.SerializeToString())


def external_data(location: str) -> bytes:
    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = 1
        for key, value in (("location", location), ("offset", "0"), ("length", "12")):
            record = tensor.external_data.add()
            record.key, record.value = key, value

    return graph(change)


def operator(name: str, domain: str = "") -> bytes:
    def change(model: Any) -> None:
        model.graph.node[3].op_type, model.graph.node[3].domain = name, domain

    return graph(change)


def control_flow() -> bytes:
    from onnx import helper

    def change(model: Any) -> None:
        body = helper.make_graph([], "body", [], [])
        model.graph.node.append(helper.make_node("Identity", ["logits"], ["x"], body=body))

    return graph(change)


def function() -> bytes:
    from onnx import helper

    def change(model: Any) -> None:
        nodes = [helper.make_node("Identity", ["a"], ["b"])]
        model.functions.append(helper.make_function("own", "Trick", ["a"], ["b"], nodes, [helper.make_opsetid("", 18)]))

    return graph(change)


def huge_tensor() -> bytes:
    def change(model: Any) -> None:
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend([2**20, 2**20, 2**20])

    return graph(change)


def tensor_beyond_its_data() -> bytes:
    def change(model: Any) -> None:
        model.graph.initializer[0].dims[0] = 64

    return graph(change)


def negative_tensor() -> bytes:
    def change(model: Any) -> None:
        model.graph.initializer[0].dims[0] = -1

    return graph(change)


def huge_value() -> bytes:
    def change(model: Any) -> None:
        model.graph.output[0].type.tensor_type.shape.dim[2].dim_value = 2**40

    return graph(change)


def huge_expansion() -> bytes:
    from onnx import helper, numpy_helper

    def change(model: Any) -> None:
        shape = numpy_helper.from_array(np.array([2**20, 2**20, SIDE_PX, SIDE_PX], np.int64), "shape")
        model.graph.initializer.append(shape)
        model.graph.node.append(helper.make_node("Expand", ["logits", "shape"], ["x"]))

    return graph(change)


def text_tensor() -> bytes:
    def change(model: Any) -> None:
        model.graph.initializer[0].data_type = 8

    return graph(change)


def two_graphs() -> bytes:
    from tiny_network import tiny_graph

    return tiny_graph() * 2
