"""`spec.toml`: all that physedge must be told about a network, and no more.

The same door for the built-in networks and for a network of one's own; `docs/spec.md` describes every key.
"""

from __future__ import annotations

import enum
import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import FrameSpec, VoltageSpec
from physedge_runtime.growth import GrowthSpec
from physedge_runtime.manifest_rules import SPEC_RULES
from physedge_runtime.rules import broken_rule


class Task(enum.StrEnum):
    """What the network answers."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"
    RECONSTRUCTION = "reconstruction"


class Normalise(BaseModel):
    """Inside the graph: `(pixel / 255 - mean) / std`, one value a channel or one for all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mean: Annotated[tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...], Field(min_length=1, max_length=3)] = (0.5,)
    std: Annotated[tuple[Annotated[float, Field(gt=0, le=1e6)], ...], Field(min_length=1, max_length=3)] = (0.25,)


Limit = Annotated[float, Field(ge=-1e12, le=1e12)]


class SignalSpec(BaseModel):
    """What is known of one trust signal: a number that rises as the answer becomes less credible.

    A network offers one by an output called `trust_NAME`; `input`, the distance from the calibration set, is always
    there.

    Attributes:
        reason: What is wrong where it is high, in a few words; the name where nothing is said.
        each: What each value of an output with several stands for, for example `electrode`; the largest one counts.
        doubtful_above: The answer is doubtful above it; fitted at export where nothing is said.
        void_above: The answer must not be shown above it: a property that holds for every input, so that a violation
            is a numerical failure. Never fitted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: Annotated[str, Field(max_length=120)] = ""
    each: Annotated[str, Field(max_length=40)] = ""
    doubtful_above: Limit | None = None
    void_above: Limit | None = None


MOST_SIGNALS = 32
SignalName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
ClassName = Annotated[str, Field(min_length=1, max_length=64)]

CodeTriple = tuple[
    Annotated[str, Field(min_length=1, max_length=16)],
    Annotated[str, Field(min_length=1, max_length=16)],
    Annotated[str, Field(min_length=1, max_length=64)],
]
"""A concept of a coding scheme: code value, scheme, meaning; as DICOM writes them (PS3.3, 8.8)."""


class SegmentSpec(BaseModel):
    """What a class is in a DICOM segmentation.

    Attributes:
        category: The kind of thing (PS3.16, CID 7150), for example an anatomical structure.
        type: The thing itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    category: CodeTriple = ("91723000", "SCT", "Anatomical Structure")
    type: CodeTriple = ("49755003", "SCT", "Morphologically Abnormal Structure")


DEFAULT_SEGMENT = SegmentSpec()
"""Of a class that the specification says nothing about."""


class ModelSpec(BaseModel):
    """The declaration of a network.

    Attributes:
        name: Name of the bundle and of its files; lower case, digits, `-`, `_`.
        version: Of the trained network, the maker's own.
        task: What it answers.
        intended_use: One sentence for the card.
        classes: Names; for segmentation `classes[0]` is the background, and two classes mean one output plane (a
            sigmoid).
        threshold: Foreground from this probability on (two classes only).
        frame: The picture taken in; None for voltages.
        voltages: The measurements taken in; None for pictures.
        unit: Of a reconstructed image; `1` for a plain number.
        normalise: Applied inside the graph.
        float_modules: Class names (`package.module.Class`) whose operators stay in floating point, beside those
            classes that say so
            themselves by `keep_float = True`.
        trust: Signal by signal, what the network's own declaration does not say or says otherwise.
        growth: The tumour model inside, for networks that have one.
        segment: By class, what it is in a DICOM segmentation; `DEFAULT_SEGMENT` where nothing is said.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
    version: Annotated[str, Field(max_length=64)] = "0"
    task: Task
    intended_use: Annotated[str, Field(max_length=2000)] = "Not stated. Not a medical device."
    classes: Annotated[tuple[ClassName, ...], Field(max_length=256)] = ()
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5
    frame: FrameSpec | None = None
    voltages: VoltageSpec | None = None
    unit: Annotated[str, Field(max_length=40)] = "1"
    normalise: Normalise = Normalise()
    float_modules: Annotated[tuple[Annotated[str, Field(max_length=200)], ...], Field(max_length=256)] = ()
    trust: Annotated[dict[SignalName, SignalSpec], Field(max_length=MOST_SIGNALS)] = Field(default_factory=dict)
    growth: GrowthSpec | None = None
    segment: Annotated[
        dict[ClassName, SegmentSpec] | None, Field(max_length=256, json_schema_extra={"leftOutWhereNull": True})
    ] = None

    @model_serializer(mode="wrap")
    def _without_null(self, write: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Left out where nothing is said, so that what was written without it stays what it was."""
        content: dict[str, object] = write(self)
        if self.segment is None:
            content.pop("segment", None)  # not there where defaults were left out
        return content

    @model_validator(mode="after")
    def _agrees(self) -> ModelSpec:
        if broken := broken_rule(SPEC_RULES, self.model_dump(mode="json")):
            raise ValueError(broken)
        return self

    @property
    def output_channels(self) -> int:
        """Logit planes (segmentation) or logits (classification) that the network must give."""
        return 1 if self.task is Task.SEGMENTATION and len(self.classes) == 2 else len(self.classes)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One input without its batch axis: (height, width, channel) or (voltage,)."""
        if self.frame is not None:
            return self.frame.shape
        assert self.voltages is not None
        return self.voltages.shape


def read_spec(path: Path) -> ModelSpec:
    """Read a `spec.toml`.

    Raises:
        UsageError: The file is missing, is no TOML (`PE-SPEC-010`), or does not say what it must (`PE-SPEC-011`).
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(
            "PE-SPEC-010",
            found=f"{path} cannot be read as TOML ({error})",
            expected="a specification file",
            next_step="see docs/spec.md for every key",
        ) from error
    return spec_from_mapping(content, origin=str(path))


def spec_from_mapping(content: dict[str, object], *, origin: str) -> ModelSpec:
    """Check a specification that was read already.

    Raises:
        UsageError: A key is missing, unknown or out of range (`PE-SPEC-011`), told by its name.
    """
    try:
        return ModelSpec.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise UsageError(
            "PE-SPEC-011",
            found=f"in {origin}, {key}: {first['msg'].removeprefix('Value error, ')}",
            expected="a specification as docs/spec.md describes it",
            next_step=f"correct {key}",
        ) from error
