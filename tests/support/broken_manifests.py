"""Manifests that break one rule each, for both readers: the rule, the base, and the change that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from repaired_mutants import Contents, bases, repair

from physedge_runtime.bundle import MANIFEST, canonical_zip
from physedge_runtime.manifest import canonical_json
from physedge_runtime.manifest_rules import GROWTH_RULES, MANIFEST_RULES, SPEC_RULES

SEGMENTATION, REDUCED, VOLTAGES, PAIRS, CLASSES = range(5)
Change = Callable[[Any], object]

RULES = {rule.sentence: rule for rule in (*GROWTH_RULES, *SPEC_RULES, *MANIFEST_RULES)}

_NO_VOLTAGES = {
    "count": 12,
    "electrodes": 4,
    "protocol": "adjacent",
    "reference": False,
    "radius_m": 0.14,
    "cover": 0.5,
    "clockwise": False,
}


def _twice(parts: list[Any]) -> None:
    parts.append(dict(parts[0]))


def _of_voltages(manifest: Any) -> None:
    manifest["spec"].update(frame=None, voltages=_NO_VOLTAGES)


def _segment(name: str) -> dict[str, Any]:
    return {name: {"category": ["1", "SCT", "A"], "type": ["2", "SCT", "B"]}}


CASES: list[tuple[str, int, Change]] = [
    ("diffusivity_mm2_per_day runs", CLASSES, lambda m: _growth(m, diffusivity_mm2_per_day=[0.9, 0.9])),
    ("growth_per_day runs", CLASSES, lambda m: _growth(m, growth_per_day=[0.09, 0.0005])),
    (
        "frozen_diffusivity_mm2_per_day lies",
        CLASSES,
        lambda m: _growth(m, parameters="frozen", frozen_diffusivity_mm2_per_day=0.91),
    ),
    ("frozen_growth_per_day lies", CLASSES, lambda m: _growth(m, parameters="frozen", frozen_growth_per_day=0.0004)),
    ("one of [frame] and [voltages]", SEGMENTATION, lambda m: m["spec"].update(frame=None)),
    ("one of [frame] and [voltages]", SEGMENTATION, lambda m: m["spec"].update(voltages=_NO_VOLTAGES)),
    ("every task but reconstruction", SEGMENTATION, lambda m: m["spec"].update(classes=["all"])),
    ("every task but reconstruction", CLASSES, lambda m: m["spec"].update(classes=["none"])),
    ("a class stands twice", SEGMENTATION, lambda m: m["spec"].update(classes=["a", "a"])),
    ("segmentation needs [frame]", SEGMENTATION, _of_voltages),
    ("frame.crop lies", SEGMENTATION, lambda m: _crop(m, left=-0.1)),
    ("frame.crop lies", SEGMENTATION, lambda m: _crop(m, width=0.0)),
    ("frame.crop lies", SEGMENTATION, lambda m: _crop(m, left=0.5, width=0.6)),
    ("frame.crop lies", SEGMENTATION, lambda m: _crop(m, top=-1e-9)),
    ("frame.crop lies", SEGMENTATION, lambda m: _crop(m, height=-1.0)),
    ("frame.crop lies", SEGMENTATION, lambda m: _crop(m, top=0.7, height=0.4)),
    ("growth needs a frame", CLASSES, lambda m: m["spec"]["frame"].update(width=36)),
    ("growth needs a frame", CLASSES, lambda m: _growth(m, cells=10)),
    ("growth.none_class", CLASSES, lambda m: _growth(m, none_class="cat")),
    ("segment names what", SEGMENTATION, lambda m: m["spec"].update(segment=_segment("cat"))),
    ("segment names what", SEGMENTATION, lambda m: m["spec"].update(segment=_segment(m["spec"]["classes"][0]))),
    ("normalise.mean", SEGMENTATION, lambda m: m["spec"]["normalise"].update(mean=[0.5, 0.5])),
    ("normalise.std", SEGMENTATION, lambda m: m["spec"]["normalise"].update(std=[0.5, 0.5])),
    ("target is not an engine", SEGMENTATION, lambda m: m.update(target="fake")),
    ("target is not an engine", SEGMENTATION, lambda m: m.update(target="")),
    ("shipped names what is not an engine", SEGMENTATION, lambda m: m["shipped"].update(fake="model.onnx")),
    ("a graph stands twice", SEGMENTATION, lambda m: _twice(m["artefacts"])),
    ("the first of artefacts", SEGMENTATION, lambda m: m["artefacts"][0].update(precision="int8")),
    ("the first of artefacts", SEGMENTATION, lambda m: _ships(m, "model.ovir", "tensorrt")),
    ("shipped names a graph", SEGMENTATION, lambda m: m["shipped"].update(openvino="golden/0.frame")),
    ("what ships for onnxruntime", REDUCED, lambda m: _ships(m, "model.ovir", "onnxruntime")),
    ("what ships for onnxruntime", REDUCED, lambda m: _ships(m, "model.fp16.onnx", "onnxruntime")),
    ("what ships for openvino", REDUCED, lambda m: _ships(m, "model.int8-gpu.onnx", "openvino")),
    ("what ships for tensorrt", REDUCED, lambda m: _ships(m, "model.ovir", "tensorrt")),
    ("an output stands twice", SEGMENTATION, lambda m: _twice(m["outputs"])),
    ("trust_input is a signal", SEGMENTATION, lambda m: _output(m, "trust_input", [1])),
    ("an output has more values", SEGMENTATION, lambda m: _output(m, "map", [2**14, 2**14 + 1])),
    ("a segmentation answers", SEGMENTATION, lambda m: m["outputs"][0].update(name="logits")),
    ("a segmentation answers", SEGMENTATION, lambda m: m["outputs"][0].update(name="trust_only")),
    ("a segmentation answers", SEGMENTATION, lambda m: m["outputs"][0].update(shape=[2, 32, 32])),
    ("a segmentation answers", SEGMENTATION, lambda m: m["outputs"][0].update(shape=[1, 16, 32])),
    ("a segmentation answers", SEGMENTATION, lambda m: m["outputs"][0].update(shape=[32, 32])),
    ("a segmentation answers", SEGMENTATION, lambda m: m["spec"].update(classes=["a", "b", "c"])),
    ("a classification answers", CLASSES, lambda m: m["outputs"][0].update(shape=[5])),
    ("a classification answers", CLASSES, lambda m: m["outputs"][0].update(shape=[1, 3])),
    ("a classification answers", CLASSES, lambda m: m["outputs"].pop(0)),
    ("a reconstruction answers", VOLTAGES, lambda m: m["outputs"][0].update(name="picture")),
    ("a reconstruction answers", VOLTAGES, lambda m: m["outputs"][0].update(shape=[4])),
    ("a golden frame is not of", SEGMENTATION, lambda m: m["golden"][0].update(shape=[40, 50, 4])),
    ("a golden frame is not of", SEGMENTATION, lambda m: m["golden"][0].update(shape=[40])),
    ("a golden frame is not of", SEGMENTATION, lambda m: m["golden"][0].update(shape=[2**15 + 1, 1])),
    ("a golden frame is not of", VOLTAGES, lambda m: m["golden"][0].update(shape=[12, 1])),
    ("a golden frame is not of", PAIRS, lambda m: m["golden"][0].update(shape=[12])),
    ("a golden frame is larger", SEGMENTATION, lambda m: m["golden"][0].update(shape=[2**14, 2**13 + 1])),
    ("trust.input has other names", CLASSES, lambda m: m["trust"]["input"]["spread"].pop("contrast")),
    ("trust.input is given without", CLASSES, lambda m: m["trust"].update(input={"middle": {}, "spread": {}})),
    (
        "trust.input names what",
        CLASSES,
        lambda m: [m["trust"]["input"][part].update(colour=1.0) for part in ("middle", "spread")],
    ),
    (
        "trust.input names what",
        VOLTAGES,
        lambda m: m["trust"].update(input={"middle": {"contrast": 1.0}, "spread": {"contrast": 1.0}}),
    ),
]


def _growth(manifest: Any, **changes: Any) -> None:
    manifest["spec"]["growth"].update(changes)


def _crop(manifest: Any, **changes: float) -> None:
    manifest["spec"]["frame"]["crop"] = {"left": 0.0, "top": 0.0, "width": 1.0, "height": 1.0, **changes}


def _output(manifest: Any, name: str, shape: list[int]) -> None:
    manifest["outputs"].append({"name": name, "shape": shape, "unit": "1"})


def _ships(manifest: Any, entry: str, engine: str) -> None:
    """Give the last graph another name and let it ship for an engine."""
    manifest["artefacts"][-1]["entry"] = entry
    first = manifest["artefacts"][0]["entry"]
    manifest["shipped"] = {"onnxruntime": first, "openvino": first, engine: entry}


_BASES: list[Contents] = []


def base(kind: int) -> Contents:
    """A valid bundle of a kind."""
    if not _BASES:
        _BASES.extend(bases())
    return dict(_BASES[kind])


def changed(kind: int, change: Change) -> bytes:
    """The file of a bundle whose manifest was changed, and whose sizes and hashes fit it."""
    import json

    contents = base(kind)
    manifest = json.loads(contents.pop(MANIFEST))
    change(manifest)
    repair(manifest, contents)
    return canonical_zip({**contents, MANIFEST: canonical_json(manifest)})
