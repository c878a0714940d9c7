"""Bundles changed at random and repaired after: hashes, sizes and canonical form fit, so that deep checks are reached.

`Mutants` draws them from a seed; `asked` puts one to both readers. Tests, and benchmarks/differential.py, share this.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import exhibits
import numpy as np
from native_library import Native, OpenNet, frame
from tiny_network import tiny_contents, tiny_graph
from tiny_voltages import voltage_bundle

from physedge_runtime.bundle import MANIFEST, canonical_zip, read_bundle, write_bundle
from physedge_runtime.errors import PhysedgeError
from physedge_runtime.frame import FrameSpec
from physedge_runtime.growth import GrowthSpec
from physedge_runtime.keys import TrustStore
from physedge_runtime.manifest import InputReference, Metric, Output, TrustRecord, VerdictRecord, canonical_json
from physedge_runtime.manifest_rules import PICTURE_STATISTICS
from physedge_runtime.spec import ModelSpec, SignalSpec, Task
from physedge_runtime.verdict import Verdict

Contents = dict[str, bytes]

INTEGERS = (0, 1, 2, 3, 5, 8, 16, 17, 63, 64, 65, 255, 256, 257, 4096, 4097, 2**15, 2**16, 2**16 + 1, 2**28, 2**28 + 1)
INTEGERS += (
    2**31,
    2**32 + 5,
    2**53 - 1,
    2**53,
    2**63 - 1,
    2**63,
    2**64 - 1,
    2**64,
    -1,
    -(2**31),
    -(2**63),
    -(2**63) - 1,
)
FLOATS = (0.0, -0.0, 0.5, 1.0, 1.0000000000000002, -1.0, 5e-324, 1e-300, 1e6, 1000000.1, 1e12, 1e15, 1e16, 1e300)
TEXTS = ("", "fake", "onnxruntime", "openvino", "tensorrt", "probability", "image", "trust_x", "trust_input", "trust_")
TEXTS += ("model.onnx", "model.fp16.onnx", "x.ovir", "../x", "x" * 41, "é" * 64, "é" * 65, "x\n", "ACCEPT", "REJECT")
TEXTS += ("segmentation", "classification", "reconstruction", "grey", "split", "frozen", "fp32", "int8", "brightness")
VALUES: tuple[Any, ...] = (*INTEGERS, *FLOATS, *TEXTS, None, True, False, [], {}, [[]], [1, 2], {"a": 1}, [0] * 65)


def bases() -> list[Contents]:
    """Valid bundles of every kind: what a mutant begins as."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "x.physedge"
        found = [exhibits.entries(exhibits.rebuilt(path)), exhibits.entries(exhibits.reduced(path))]
        for reference in (False, True):
            found.append(exhibits.entries(voltage_bundle(path, reference=reference)))
        found.append(exhibits.entries(_classifier(path)))
    return found


def _classifier(path: Path) -> Path:
    """With every part of a manifest that the tiny segmentation lacks; its graph is another's: `fake` overlooks that."""
    manifest, contents = tiny_contents()
    spec = ModelSpec(
        name="classes",
        task=Task.CLASSIFICATION,
        classes=("none", "glioma", "other"),
        frame=FrameSpec(height=32, width=32),
        growth=GrowthSpec(cells=8, none_class="none"),
        trust={"mass": SignalSpec(reason="the mass fell", void_above=0.5)},
    )
    usual = dict.fromkeys(PICTURE_STATISTICS, 0.5)
    metric = Metric(value=0.9, low=0.8, high=0.95)
    changes = {
        "spec": spec,
        "outputs": (Output(name="probability", shape=(3,)), Output(name="trust_mass", shape=(1,))),
        "golden": (
            manifest.golden[0].model_copy(
                update={"outputs": {"probability": "golden/0.probability", "trust_mass": "golden/0.trust_mass"}}
            ),
        ),
        "trust": TrustRecord(
            signals={"mass": SignalSpec(doubtful_above=0.1), "input": SignalSpec(doubtful_above=3.0)},
            input=InputReference(middle=usual, spread=usual),
            false_alarm_rate=0.05,
            measured=metric,
            samples=40,
            fitted_on="pictures",
        ),
        "verdict": Verdict.ACCEPT,
        "verdicts": (
            VerdictRecord(
                artefact="model.onnx",
                precision="fp32",
                engine="onnxruntime",
                device="this",
                verdict=Verdict.ACCEPT,
                metric="accuracy",
                samples=40,
                groups=4,
                reference=metric,
                measured=metric,
                metrics={"accuracy": metric},
                reasons=("it is as good",),
                details={"losses": [0.1, {"a": None}], "seed": 2**60},
            ),
        ),
        "tools": {"numpy": "2"},
    }
    answers = {"golden/0.probability": np.full(3, 1 / 3, "<f4").tobytes(), "golden/0.trust_mass": bytes(4)}
    write_bundle(path, manifest.model_copy(update=changes), {**contents, **answers, "model.onnx": tiny_graph()})
    return path


class Mutants:
    """An endless stream of repaired mutants; the same seed gives the same ones."""

    def __init__(self, seed: int, *, graphs: float = 0.2) -> None:
        self.random = random.Random(seed)
        self.graphs = graphs
        self.bases = bases()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield self.draw()

    def draw(self) -> bytes:
        """One mutant, as the bytes of its file."""
        contents = dict(self.random.choice(self.bases))
        manifest = json.loads(contents.pop(MANIFEST))
        if self.random.random() < self.graphs:
            contents["model.onnx"] = self._bytes(contents["model.onnx"])
        else:
            for _ in range(self.random.choice((1, 1, 1, 2, 3))):
                manifest = changed_json(manifest, self.random)
        if self.random.random() < 0.8:
            repair(manifest, contents)
        try:
            return canonical_zip({**contents, MANIFEST: canonical_json(manifest)})
        except (ValueError, RecursionError):  # what no canonical form has: drawn anew
            return self.draw()

    def _bytes(self, data: bytes) -> bytes:
        changed = bytearray(data)
        for _ in range(self.random.choice((1, 1, 2, 4))):
            at, size = self.random.randrange(len(changed)), self.random.randrange(1, 24)
            match self.random.randrange(4):
                case 0:
                    changed[at] = self.random.randrange(256)
                case 1:
                    del changed[at : at + size]
                case 2:
                    changed[at:at] = changed[at : at + size]
                case _:
                    changed[at] ^= 1 << self.random.randrange(8)
            changed = changed or bytearray(b"x")
        return bytes(changed)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += _places(inner, (*path, key))
    return found


def _get(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def changed_json(document: Any, generator: random.Random) -> Any:
    """A JSON document with one part changed: taken out, doubled, nudged, or replaced by something that often hurts."""
    document = copy.deepcopy(document)
    places = _places(document)[1:]
    if not places:
        return document
    place = generator.choice(places)
    parent, key, value = _get(document, place[:-1]), place[-1], _get(document, place)
    match generator.randrange(7):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(value))
        case 1 | 2 if isinstance(parent, dict):
            parent[generator.choice(TEXTS)] = parent.pop(key) if generator.random() < 0.5 else copy.deepcopy(value)
        case 3 if isinstance(value, int | float) and not isinstance(value, bool):
            parent[key] = generator.choice((value + 1, value - 1, value * 2, -value, float(value), value / 2))
        case 4:
            parent[key] = copy.deepcopy(_get(document, generator.choice(places)))
        case 5 if isinstance(value, list) and value:
            parent[key] = value * generator.randrange(2, 70)
        case _:
            parent[key] = copy.deepcopy(generator.choice(VALUES))
    return document


_MOST_REPAIRED_BYTES = 1 << 20


def _values(shape: Any) -> int:
    """Values of a shape; -1 of what is not one. A list times a large number would be a larger list."""
    return math.prod(shape) if isinstance(shape, list) and all(type(side) is int for side in shape) else -1


def repair(manifest: Any, contents: Contents) -> None:
    """Give golden entries the size that the manifest asks for, and every entry its hash, as far as that makes sense."""
    if not isinstance(manifest, dict):
        return
    try:
        sizes = {one["name"]: 4 * _values(one["shape"]) for one in manifest["outputs"]}
        item_bytes = 4 if manifest["spec"]["frame"] is None else 1
        for case in manifest["golden"]:
            wanted = {case["frame"]: item_bytes * _values(case["shape"])}
            wanted |= {entry: sizes[name] for name, entry in case["outputs"].items()}
            for entry, size in wanted.items():
                if entry in contents and 0 <= size <= _MOST_REPAIRED_BYTES:
                    contents[entry] = (contents[entry] * (size // max(len(contents[entry]), 1) + 1))[:size]
    except (TypeError, KeyError, AttributeError, ValueError, OverflowError):
        pass
    entries = manifest.get("entries")
    for name, data in contents.items():
        if isinstance(entries, dict) and isinstance(entries.get(name), dict) and "sha256" in entries[name]:
            entries[name] = {**entries[name], "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


# The same question to both.


def ask_python(path: Path) -> str:
    """How far the Python runtime takes a bundle on the stand-in engine, and the identifier that ends it."""
    try:
        bundle = read_bundle(path, trust=TrustStore())
        with bundle.open(engine="fake") as net:
            if net.spec.frame is not None:
                net.infer(np.zeros((20, 30, 3), np.uint8))
            else:
                net.infer(np.zeros(net.spec.input_shape, np.float32))
    except PhysedgeError as error:
        return f"{error.identifier} {error.exit_status}"
    return "answered"


def ask_native(native: Native, data: bytes) -> str:
    """The same of libphysedge."""
    try:
        bundle = native.read_memory(data)
        try:
            with OpenNet(native, bundle, engine=b"fake", largest_width_px=64, largest_height_px=64) as net:
                if net.info.height_px:
                    net.infer(frame(np.zeros((20, 30, 3), np.uint8)))
                else:
                    shape = (net.info.voltage_frames, net.info.voltages)
                    net.infer(frame(np.zeros(shape, np.float32), 4))
        finally:
            native.free(bundle)
    except PhysedgeError as error:
        return f"{error.identifier} {error.exit_status}"
    return "answered"


def asked(native: Native, data: bytes, path: Path) -> tuple[str, str]:
    """What Python and C++ say of a bundle; a bug in Python is told by its type."""
    path.write_bytes(data)
    try:
        python = ask_python(path)
    except Exception as error:
        python = f"{type(error).__name__}: {error}"
    return python, ask_native(native, data)
