"""The manifest of a bundle: what every entry is, what was measured, and what must come out.

Its canonical form (sorted keys, no spaces, UTF-8, one line end) is what hashes and signatures cover.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from physedge_runtime.errors import IntegrityError, UsageError
from physedge_runtime.json_text import parse_json
from physedge_runtime.manifest_rules import MANIFEST_RULES
from physedge_runtime.rules import broken_rule
from physedge_runtime.spec import MOST_SIGNALS, Limit, ModelSpec, SignalName, SignalSpec
from physedge_runtime.verdict import Verdict

SCHEMA_VERSION = 1
OLDEST_SCHEMA_VERSION = 1

EntryName = Annotated[str, Field(pattern=r"^(golden/|tensorrt/|calibration/)?[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
OutputName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$")]
Text40 = Annotated[str, Field(max_length=40)]
Text200 = Annotated[str, Field(max_length=200)]
Sentence = Annotated[str, Field(max_length=4000)]
Bound = Annotated[float, Field(gt=0, le=1e6)]
Figure = Annotated[float, Field(ge=-1e15, le=1e15)]
Count = Annotated[int, Field(ge=0, le=2**53 - 1)]  # exact in every reader of JSON

MOST_OUTPUTS = 16
MOST_AXES = 6
MOST_GOLDEN_FRAMES = 64


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Entry(_Record):
    """One file of the bundle: its hash and its size in bytes."""

    sha256: Sha256
    size_bytes: Annotated[int, Field(ge=0, le=2**31)]


class Output(_Record):
    """One named output of the graphs.

    Attributes:
        name: As in the graph.
        shape: Without the batch axis.
        unit: For people; `1` for a pure number.
    """

    name: OutputName
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=2**28)], ...], Field(min_length=1, max_length=MOST_AXES)]
    unit: Text40 = "1"


Answers = Annotated[dict[OutputName, EntryName], Field(max_length=MOST_OUTPUTS)]


class OwnAnswers(_Record):
    """What a reduced graph itself answered to the golden frames at export, on the engine that it was exported for.

    Within the bounds a replay is the same computation. Beyond them it is another one, which is no fault by itself: what
    other versions and engines legitimately give differs as much as what a damaged graph gives (docs/bundle.md).

    Attributes:
        engine: Name of the engine; of another one nothing is said.
        computed_by: Engine, version and processor, for people.
        answers: For each golden frame, output name to the entry with its float32 values, little endian.
        mean_bound: Largest mean |output - own answer| of the same computation.
        max_bound: Largest single |output - own answer|.
    """

    engine: Text40
    computed_by: Text200
    answers: Annotated[tuple[Answers, ...], Field(max_length=MOST_GOLDEN_FRAMES)]
    mean_bound: Bound
    max_bound: Bound


class Artefact(_Record):
    """One graph of the bundle.

    Attributes:
        entry: Its file.
        precision: `fp32`, `fp16` or `int8`.
        method: How it was made, in a few words.
        int8_mac_share: Fraction of the multiply-accumulates that runs in INT8.
        golden_mean_bound: Largest mean |output - full precision| that a replay of the golden frames may show.
        golden_max_bound: Largest single |output - full precision|.
        own: Its own answers; None of full precision, whose answers are the golden ones, and where no export had the
            engine (TensorRT). Left out of the manifest then, so that bundles of before are what they were.
    """

    entry: EntryName
    precision: Annotated[str, Field(pattern=r"^(fp32|fp16|int8)$")]
    method: Sentence
    int8_mac_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    golden_mean_bound: Bound
    golden_max_bound: Bound
    own: Annotated[OwnAnswers | None, Field(json_schema_extra={"leftOutWhereNull": True})] = None

    @model_serializer(mode="wrap")
    def _without_null(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = write(self)
        if self.own is None:
            content.pop("own", None)
        return content


class GoldenCase(_Record):
    """One raw frame and what full precision gives for it.

    Attributes:
        frame: Entry with the raw bytes of a uint8 (height, width, channel) picture or of float32 voltages, little
            endian.
        shape: Of the frame.
        outputs: Output name to the entry with its float32 values, little endian, in the shape of the output.
    """

    frame: EntryName
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=2**16)], ...], Field(min_length=1, max_length=3)]
    outputs: Annotated[Answers, Field(min_length=1)]


class Metric(_Record):
    """One measured figure with the two ends of its 95 % interval."""

    value: Figure
    low: Figure
    high: Figure


class VerdictRecord(_Record):
    """What was measured of one graph on one engine and one device, and what follows.

    Attributes:
        artefact: Entry of the graph.
        precision: Of the graph.
        engine: Engine and version.
        device: Processor and the instruction sets that matter.
        verdict: ACCEPT, REJECT, INCONCLUSIVE or NOT RUN.
        metric: Name of the deciding metric.
        samples: Evaluated samples.
        groups: Patients or sequences among them.
        reference: The metric in full precision.
        measured: The metric of this graph.
        metrics: Every metric by name.
        reasons: Sentences.
        details: All further numbers of the judgement.
    """

    artefact: EntryName
    precision: Text40
    engine: Text200
    device: Sentence
    verdict: Verdict
    metric: Text200 = ""
    samples: Count = 0
    groups: Count = 0
    reference: Metric | None = None
    measured: Metric | None = None
    metrics: Annotated[dict[Text200, Metric], Field(max_length=256)] = Field(default_factory=dict)
    reasons: Annotated[tuple[Sentence, ...], Field(max_length=256)] = ()
    details: dict[str, Any] = Field(default_factory=dict)


class DataRecord(_Record):
    """A set of files that was used: how many, and one hash over the sorted hashes of all."""

    name: Sentence
    count: Count
    sha256: Sha256


class InputReference(_Record):
    """What the network's input usually looks like; see `physedge_runtime.input_statistics`.

    Attributes:
        middle: Median of each statistic.
        spread: Distance between the 10th and the 90th percentile of each; above 0.
    """

    middle: Annotated[dict[Text40, Limit], Field(max_length=32)]
    spread: Annotated[dict[Text40, Annotated[float, Field(gt=0, le=1e12)]], Field(max_length=32)]


class TrustRecord(_Record):
    """The trust signals with their limits, and how the limits were found.

    Attributes:
        signals: Every signal that the graphs offer, and `input`.
        input: What `input` is measured against; None where no data was at hand.
        false_alarm_rate: Share of clean frames that may be called doubtful, as it was asked for.
        measured: That share on frames that the limits were not fitted to (cross-validation), with its interval.
        samples: Clean frames that the limits were fitted to.
        fitted_on: What these frames were, in words; empty where nothing was fitted.
    """

    signals: Annotated[dict[SignalName, SignalSpec], Field(max_length=MOST_SIGNALS)] = Field(default_factory=dict)
    input: InputReference | None = None
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] | None = None
    measured: Metric | None = None
    samples: Count = 0
    fitted_on: Sentence = ""


class Manifest(_Record):
    """What a bundle says of itself.

    Attributes:
        schema_version: Of this form; a reader refuses a newer one.
        physedge_version: That wrote it.
        release: Rises by the maker's will; a device refuses a lower one than it has run.
        spec: The declaration of the network.
        outputs: In the graph's order.
        artefacts: Every graph in the bundle; the first is full precision.
        target: Engine that the export was asked for.
        shipped: Engine name to the entry of the graph that runs on it; another engine runs full precision.
        golden: Replayed at every start.
        verdict: Of the export as a whole.
        verdicts: Per graph, engine and device.
        parameters: Weights of the network, and `macs` of one inference.
        macs: Multiply-accumulates of one inference.
        tools: Package to version, of all that took part.
        data: Sets that were used, by role (`calibration`, `evaluation`, `weights`).
        trust: The trust signals and their limits, fitted at export.
        entries: Every file but `manifest.json` and `SIGNATURE`.
    """

    schema_version: int = SCHEMA_VERSION
    physedge_version: Text40
    release: Count = 0
    spec: ModelSpec
    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=MOST_OUTPUTS)]
    artefacts: Annotated[tuple[Artefact, ...], Field(min_length=1, max_length=16)]
    target: Text40
    shipped: Annotated[dict[Text40, EntryName], Field(max_length=16)]
    golden: Annotated[tuple[GoldenCase, ...], Field(min_length=1, max_length=MOST_GOLDEN_FRAMES)]
    verdict: Verdict
    verdicts: Annotated[tuple[VerdictRecord, ...], Field(max_length=256)] = ()
    parameters: Count = 0
    macs: Count = 0
    tools: Annotated[dict[Text200, Text200], Field(max_length=512)] = Field(default_factory=dict)
    data: Annotated[dict[Text40, DataRecord], Field(max_length=64)] = Field(default_factory=dict)
    trust: TrustRecord = TrustRecord()
    entries: Annotated[dict[EntryName, Entry], Field(max_length=512)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _agrees(self) -> Manifest:
        # Neither verdicts nor hashes are part of any rule, and they are most of a manifest.
        document = self.model_dump(mode="json", exclude={"verdicts", "tools", "data", "entries"})
        if broken := broken_rule(MANIFEST_RULES, document):
            raise ValueError(broken)
        return self

    def artefact(self, entry: str) -> Artefact:
        """The record of a graph.

        Raises:
            KeyError: No graph has this entry.
        """
        for artefact in self.artefacts:
            if artefact.entry == entry:
                return artefact
        raise KeyError(entry)

    def canonical_bytes(self) -> bytes:
        """The one byte form of this manifest."""
        content = self.model_dump(mode="json")
        return canonical_json(content)


def canonical_json(content: object) -> bytes:
    """Sorted keys, no spaces, UTF-8, no NaN, one line end."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8")


def parse_manifest(data: bytes, *, origin: str) -> Manifest:
    """Read a manifest with distrust.

    Raises:
        IntegrityError: It is no JSON object (`PE-BUNDLE-008`), has a newer (`PE-BUNDLE-009`) or a forgotten schema
            (`PE-BUNDLE-014`), does not say what it must (`PE-BUNDLE-008`), lacks what physedge writes today
            (`PE-BUNDLE-016`), or is not in canonical form (`PE-BUNDLE-007`).
    """
    try:
        content = parse_json(data)
        if not isinstance(content, dict):
            raise ValueError("no JSON object")
    except ValueError as error:
        raise _broken_manifest(origin, str(error)) from error
    version = content.get("schema_version")
    if type(version) is int and version < OLDEST_SCHEMA_VERSION:
        raise IntegrityError(
            "PE-BUNDLE-014",
            found=f"{origin} has manifest schema {version}",
            expected=f"schema {OLDEST_SCHEMA_VERSION} or newer; older ones lack checks that count today",
            next_step="ask its maker for a bundle of this generation",
        )
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise IntegrityError(
            "PE-BUNDLE-009",
            found=f"{origin} has manifest schema {version}",
            expected=f"schema {SCHEMA_VERSION} or older",
            next_step="update physedge on this machine",
        )
    try:
        # Strictly: a text where a number belongs is not a number. What differs in form only shows in the bytes below.
        manifest = Manifest.model_validate_json(canonical_json(content), strict=True)
        canonical = manifest.canonical_bytes()  # NaN and lone surrogates have none
    except (ValidationError, ValueError, UsageError, RecursionError) as error:
        detail = "; ".join(_first_error(error))
        raise _broken_manifest(origin, detail) from error
    if canonical != data and canonical_json(content) == data:
        lacking = _lacking(content, json.loads(canonical))
        if lacking:
            raise _older_manifest(origin, manifest.physedge_version, lacking)
    if canonical != data:
        raise IntegrityError(
            "PE-BUNDLE-007",
            found=f"the manifest of {origin} is not in canonical form",
            expected="the bytes that physedge writes",
            next_step="copy the bundle again from where it was made",
        )
    return manifest


def _lacking(written: Any, whole: Any, path: str = "") -> str | None:
    """The first member that `whole` has and `written` has not; None where they differ in anything else, or nothing."""
    lacking = ""
    if isinstance(written, dict) and isinstance(whole, dict):
        if not written.keys() <= whole.keys():
            return None
        for name in sorted(whole):
            place = f"{path}.{name}" if path else name
            found = place if name not in written else _lacking(written[name], whole[name], place)
            if found is None:
                return None
            lacking = lacking or found
        return lacking
    if isinstance(written, list) and isinstance(whole, list) and len(written) == len(whole):
        for index, pair in enumerate(zip(written, whole, strict=True)):
            found = _lacking(*pair, f"{path}.{index}")
            if found is None:
                return None
            lacking = lacking or found
        return lacking
    return "" if type(written) is type(whole) and written == whole else None


def _older_manifest(origin: str, version: str, lacking: str) -> IntegrityError:
    return IntegrityError(
        "PE-BUNDLE-016",
        found=f"{origin} was written by an older physedge ({version[:40]}): its manifest has no {lacking[:120]}",
        expected="all that physedge writes today",
        next_step="export the network again, or use the physedge that wrote it",
    )


def _first_error(error: Exception) -> list[str]:
    if isinstance(error, UsageError):
        return [error.found]
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return [".".join(str(part) for part in first["loc"]), first["msg"]]
    return [str(error)]


def _broken_manifest(origin: str, detail: str) -> IntegrityError:
    return IntegrityError(
        "PE-BUNDLE-008",
        found=f"the manifest of {origin} cannot be used ({detail})",
        expected="a manifest as docs/bundle.md specifies it",
        next_step="copy the bundle again from where it was made",
    )
