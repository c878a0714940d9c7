"""What the parts of a manifest must agree on, beyond the range that every field has by itself.

The one table: pydantic's models ask it wherever a specification or a manifest is made or read, and
`runtime/native/make_tables.py` writes it for the C++ reader. The document of a rule is the part that it is a rule of:
`[growth]`, the specification, the manifest.
"""

from __future__ import annotations

from typing import Any

from physedge_runtime.rules import Rule

REAL_ENGINES = ("onnxruntime", "openvino", "tensorrt")
"""Engines that run graphs. The stand-in `fake` is chosen by whoever opens a bundle, never by the bundle."""

ONLY_TENSORRT = ("model.fp16.onnx", "model.int8-gpu.onnx")
"""Entries that no other engine runs."""

PICTURE_STATISTICS = ("brightness", "contrast", "dark share", "bright share", "red share", "blue share", "sharpness")
VOLTAGE_STATISTICS = ("level", "offset", "peak")

MOST_VALUES = 2**28
"""Of one output."""

LARGEST_SIDE_PX = 2**15
"""Of a golden picture."""

MOST_GOLDEN_BYTES = 2**27
"""Of one golden frame: 134 MB, three times an 8K picture."""

_HAS_FRAME = ("not", ("equal", "$.frame", None))
_HAS_VOLTAGES = ("not", ("equal", "$.voltages", None))
_NO_GROWTH = ("equal", "$.growth", None)
_CHANNELS = ("choose", ("equal", "$.frame.colour", "grey"), 1, 3)


_GROWTH_SIDE = ("times", 4, "$.growth.cells")

GROWTH_RULES: tuple[Rule, ...] = tuple(
    rule
    for name in ("diffusivity_mm2_per_day", "growth_per_day")
    for rule in (
        Rule(
            f"{name} runs the wrong way: the first must be smaller",
            ("below", ("first", f"$.{name}"), ("last", f"$.{name}")),
        ),
        Rule(
            f"frozen_{name} lies outside of {name}",
            (
                "any",
                ("not", ("equal", "$.parameters", "frozen")),
                (
                    "all",
                    ("at most", ("first", f"$.{name}"), f"$.frozen_{name}"),
                    ("at most", f"$.frozen_{name}", ("last", f"$.{name}")),
                ),
            ),
        ),
    )
)

SPEC_RULES: tuple[Rule, ...] = (
    Rule("one of [frame] and [voltages] is needed, not both", ("not", ("equal", _HAS_FRAME, _HAS_VOLTAGES))),
    Rule(
        "every task but reconstruction needs at least two classes",
        ("any", ("equal", "$.task", "reconstruction"), ("at most", 2, ("count", "$.classes"))),
    ),
    Rule("a class stands twice in classes", ("unique", "$.classes")),
    Rule("segmentation needs [frame]", ("any", ("not", ("equal", "$.task", "segmentation")), _HAS_FRAME)),
    Rule(
        "frame.crop lies outside of the frame",
        (
            "any",
            ("equal", "$.frame.crop", None),
            (
                "all",
                ("at most", 0, "$.frame.crop.left"),
                ("below", 0, "$.frame.crop.width"),
                ("at most", ("plus", "$.frame.crop.left", "$.frame.crop.width"), 1),
                ("at most", 0, "$.frame.crop.top"),
                ("below", 0, "$.frame.crop.height"),
                ("at most", ("plus", "$.frame.crop.top", "$.frame.crop.height"), 1),
            ),
        ),
    ),
    Rule(
        "growth needs a frame of four pixels a cell on both sides",
        (
            "any",
            _NO_GROWTH,
            ("all", ("equal", "$.frame.height", _GROWTH_SIDE), ("equal", "$.frame.width", _GROWTH_SIDE)),
        ),
    ),
    Rule(
        "growth.none_class is none of the classes",
        ("any", _NO_GROWTH, ("equal", "$.growth.none_class", ""), ("in", "$.growth.none_class", "$.classes")),
    ),
    Rule(
        "segment names what is not a class, or the background",
        (
            "any",
            ("equal", "$.segment", None),
            (
                "all",
                ("within", ("keys", "$.segment"), "$.classes"),
                ("not", ("in", ("first", "$.classes"), ("keys", "$.segment"))),
            ),
        ),
    ),
    *(
        Rule(
            f"normalise.{name} needs one value, or one a channel",
            (
                "any",
                ("not", _HAS_FRAME),
                ("in", ("count", f"$.normalise.{name}"), ("list", 1, _CHANNELS)),
            ),
        )
        for name in ("mean", "std")
    ),
)

_SEGMENTS = ("equal", "$.spec.task", "segmentation")
_CLASSIFIES = ("equal", "$.spec.task", "classification")
_PLANES = ("choose", ("equal", ("count", "$.spec.classes"), 2), 1, ("count", "$.spec.classes"))
_OF_VOLTAGES = ("equal", "$.spec.frame", None)
_VOLTAGES_SHAPE = (
    "choose",
    "$.spec.voltages.reference",
    ("list", 2, "$.spec.voltages.count"),
    ("list", "$.spec.voltages.count"),
)
_HAS_CHANNELS = ("all", ("equal", ("count", "@.shape"), 3), ("in", ("last", "@.shape"), ("list", 1, 3)))
_IS_PICTURE = (
    "all",
    ("each", "@.shape", ("at most", "@", LARGEST_SIDE_PX)),
    ("any", ("equal", ("count", "@.shape"), 2), _HAS_CHANNELS),
)


def _answer(name: str, *fits: Any) -> tuple[Any, ...]:
    return ("some", "$.outputs", ("all", ("equal", "@.name", name), *fits))


def _runs_on(engine: str, *others: str) -> Rule:
    """What ships for an engine is not a form that only another one runs."""
    shipped = f"$.shipped.{engine}"
    only_openvino = () if engine == "openvino" else (("not", ("ends", shipped, ".ovir")),)
    return Rule(
        f"what ships for {engine} is a graph of another engine",
        ("all", ("not", ("in", shipped, ("list", *others))), *only_openvino),
    )


MANIFEST_RULES: tuple[Rule, ...] = (
    Rule("target is not an engine that runs graphs", ("in", "$.target", ("list", *REAL_ENGINES))),
    Rule("shipped names what is not an engine", ("within", ("keys", "$.shipped"), ("list", *REAL_ENGINES))),
    Rule("a graph stands twice in artefacts", ("unique", "$.artefacts.*.entry")),
    Rule(
        "the first of artefacts is not full precision in ONNX",
        (
            "all",
            ("equal", ("first", "$.artefacts.*.precision"), "fp32"),
            ("not", ("ends", ("first", "$.artefacts.*.entry"), ".ovir")),
        ),
    ),
    Rule("shipped names a graph that is not in artefacts", ("within", "$.shipped", "$.artefacts.*.entry")),
    _runs_on("onnxruntime", *ONLY_TENSORRT),
    _runs_on("openvino", *ONLY_TENSORRT),
    _runs_on("tensorrt"),
    Rule("an output stands twice in outputs", ("unique", "$.outputs.*.name")),
    Rule("trust_input is a signal of the input, not an output", ("not", ("in", "trust_input", "$.outputs.*.name"))),
    Rule(
        "an output has more values than any network needs",
        ("each", "$.outputs", ("at most", ("product", "@.shape"), MOST_VALUES)),
    ),
    Rule(
        "a segmentation answers with probability, a plane a class (one for two classes) on the frame's grid",
        (
            "any",
            ("not", _SEGMENTS),
            _answer(
                "probability", ("equal", "@.shape", ("list", _PLANES, "$.spec.frame.height", "$.spec.frame.width"))
            ),
        ),
    ),
    Rule(
        "a classification answers with probability, one value a class",
        (
            "any",
            ("not", _CLASSIFIES),
            _answer("probability", ("equal", "@.shape", ("list", ("count", "$.spec.classes")))),
        ),
    ),
    Rule(
        "a reconstruction answers with image, of height and width",
        ("any", _SEGMENTS, _CLASSIFIES, _answer("image", ("equal", ("count", "@.shape"), 2))),
    ),
    Rule(
        "a golden frame is not of the declared kind: height, width and 1 or 3 channels, or the voltages of one frame",
        ("each", "$.golden", ("choose", _OF_VOLTAGES, ("equal", "@.shape", _VOLTAGES_SHAPE), _IS_PICTURE)),
    ),
    Rule(
        "a golden frame is larger than any picture",
        ("each", "$.golden", ("at most", ("product", "@.shape"), MOST_GOLDEN_BYTES)),
    ),
    Rule(
        "trust.input has other names in middle than in spread",
        ("equal", ("keys", "$.trust.input.middle"), ("keys", "$.trust.input.spread")),
    ),
    Rule(
        "trust.input is given without a statistic",
        ("any", ("equal", "$.trust.input", None), ("at most", 1, ("count", ("keys", "$.trust.input.middle")))),
    ),
    Rule(
        "trust.input names what is not a statistic of the input",
        (
            "within",
            ("keys", "$.trust.input.middle"),
            ("choose", _OF_VOLTAGES, ("list", *VOLTAGE_STATISTICS), ("list", *PICTURE_STATISTICS)),
        ),
    ),
)
