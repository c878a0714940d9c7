"""The packing station: golden outputs and their bounds, the manifest, the card, one bundle."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge.deploy.card import write_card
from physedge.deploy.judge import Graph
from physedge.deploy.sbom import SBOM_ENTRY, bill_of_materials
from physedge_runtime.bundle import write_bundle
from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.frame import Frame
from physedge_runtime.graph_check import check_graph
from physedge_runtime.graph_interface import check_interface
from physedge_runtime.manifest import (
    Artefact,
    DataRecord,
    GoldenCase,
    Manifest,
    Output,
    OwnAnswers,
    TrustRecord,
    VerdictRecord,
)
from physedge_runtime.net import check_voltages
from physedge_runtime.resize import prepare
from physedge_runtime.spec import ModelSpec
from physedge_runtime.trust import is_signal
from physedge_runtime.verdict import Verdict

CARD_ENTRY = "card.md"

# A replay may differ twice as much as at export, and by this much besides: other processors round otherwise.
_ROOM_FACTOR = 2.0
_LEAST_MEAN_BOUND = {"fp32": 1e-4, "fp16": 2e-3, "int8": 5e-3}
_LEAST_MAX_BOUND = {"fp32": 1e-3, "fp16": 5e-2, "int8": 0.1}
# The same computation as another processor rounds it: at most 3e-7 were seen of one engine (benchmarks/own_answers.py),
# as long as no activation falls on another step. Where some do, nothing tells it from a fault.
_OWN_MEAN_BOUND = 1e-4
_OWN_MAX_BOUND = 1e-3
_TOOLS = ("torch", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "numpy", "physedge")


Answers = tuple[dict[str, NDArray[np.float32]], ...]
"""For each golden frame, output name to float32 values with the batch axis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenSet:
    """Golden frames with full precision's answers.

    Attributes:
        frames: Raw frames.
        answers: For each frame, output name to float32 values with the batch axis.
    """

    frames: tuple[NDArray[Any], ...]
    answers: Answers


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnGolden:
    """What reduced graphs themselves answer to the golden frames.

    Attributes:
        engine: Name of the engine that answered.
        computed_by: Engine, version and processor.
        answers: Entry of a graph to its answers, as in `GoldenSet`.
    """

    engine: str
    computed_by: str
    answers: Mapping[str, Answers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Everything that goes into a bundle.

    Attributes:
        spec: The declaration of the network.
        outputs: Of the graphs.
        graphs: Full precision first.
        methods: Entry to how it was made, in a few words.
        int8_mac_shares: Entry to the fraction of MACs in INT8.
        shipped: Engine to entry.
        target: Engine that was asked for.
        golden: Golden frames.
        own: What the reduced graphs answered to them; None where no engine was here that they are for.
        errors: Entry to the largest (mean, single) error on the golden frames, over the engines that ran it.
        verdict: On the whole.
        verdicts: Per graph, engine and device.
        data: Sets that were used.
        trust: The trust signals with their limits.
        parameters: Weights.
        macs: Of one inference.
        extra: Further entries, for example the TensorRT recipe.
        card: The card of an earlier export, whose words are kept.
    """

    spec: ModelSpec
    outputs: tuple[Output, ...]
    graphs: Sequence[Graph]
    methods: Mapping[str, str]
    int8_mac_shares: Mapping[str, float] = field(default_factory=dict)
    shipped: Mapping[str, str]
    target: str
    golden: GoldenSet
    own: OwnGolden | None = None
    errors: Mapping[str, tuple[float, float]]
    verdict: Verdict
    verdicts: Sequence[VerdictRecord]
    data: Mapping[str, DataRecord]
    trust: TrustRecord
    parameters: int
    macs: int
    extra: Mapping[str, bytes] = field(default_factory=dict)
    card: str = ""


def answer_golden(
    graph: Graph,
    engine: str,
    spec: ModelSpec,
    outputs: Sequence[Output],
    frames: Sequence[NDArray[Any]],
    *,
    emulate: bool = False,
) -> Answers:
    """What a graph on an engine answers for raw frames.

    Args:
        graph: The graph.
        engine: Its engine.
        spec: The declaration of the network.
        outputs: Of the graph.
        frames: Raw frames.
        emulate: Compute Q/DQ in float as it is written: what a GPU's 32-bit accumulators give, and this processor's
            INT8 kernels would not.
    """
    request = EngineRequest(
        graph=graph.data,
        graph_sha256=graph.sha256,
        input_shape=(1, *spec.input_shape),
        outputs={output.name: (1, *output.shape) for output in outputs},
        options={"optimise": not emulate},
    )
    with open_engine(engine, request) as opened:
        return tuple(opened.infer(_input(frame, spec)) for frame in frames)


def golden_error(golden: GoldenSet, answers: Sequence[Mapping[str, NDArray[np.float32]]]) -> tuple[float, float]:
    """The largest mean and the largest single |answer - full precision| over frames and outputs.

    The mean is that of answers only: a trust signal is a single number, and would widen the bound of a whole mask.
    """
    differences = [
        (name, np.abs(answer[name] - expected))
        for answer, known in zip(answers, golden.answers, strict=True)
        for name, expected in known.items()
    ]
    mean = max(float(difference.mean()) for name, difference in differences if not is_signal(name))
    return mean, max(float(difference.max()) for _, difference in differences)


def bundle_path(name: str, verdict: Verdict, output: Path | None) -> Path:
    """Where a bundle goes: `build/NAME.physedge`, with the verdict in the name where it is no ACCEPT.

    Args:
        name: Of the network.
        verdict: On the whole.
        output: The file that was asked for; None for the default.
    """
    path = output or Path("build") / f"{name}.physedge"
    marks = {Verdict.REJECT: "rejected", Verdict.INCONCLUSIVE: "inconclusive"}
    mark = marks.get(verdict)
    return path.with_name(f"{path.name.removesuffix('.physedge')}.{mark}.physedge") if mark else path


def pack(path: Path, contents: Contents) -> Manifest:
    """Write the bundle; gives the manifest as written."""
    golden_entries, cases = _golden_entries(contents)
    manifest = Manifest(
        physedge_version=importlib.metadata.version("physedge"),
        spec=contents.spec,
        outputs=contents.outputs,
        artefacts=tuple(_artefact(graph, contents) for graph in contents.graphs),
        target=contents.target,
        shipped=dict(contents.shipped),
        golden=cases,
        verdict=contents.verdict,
        verdicts=tuple(contents.verdicts),
        parameters=contents.parameters,
        macs=contents.macs,
        tools=tool_versions(),
        data=dict(contents.data),
        trust=contents.trust,
    )
    entries = {
        **{graph.entry: graph.data for graph in contents.graphs},
        **golden_entries,
        **contents.extra,
        CARD_ENTRY: write_card(manifest, contents.card, physics=_physics(contents.graphs[0].data)).encode("utf-8"),
        **_bill(manifest, contents.graphs),
    }
    for graph in contents.graphs:
        check_graph(graph.data, origin=graph.entry)  # now, rather than on the device
        check_interface(graph.data, manifest, origin=graph.entry)
    return write_bundle(path, manifest, entries)


def _physics(model: bytes) -> dict[str, int]:
    """Modules that ask for floating point, what scales the picture and the answer aside, to their operators."""
    import onnx

    from physedge_export.marks import is_float, module_of

    nodes = [node for node in onnx.load_from_string(model).graph.node if is_float(node)]
    counted = Counter(module_of(node.name) for node in nodes)
    return {name: count for name, count in counted.items() if name not in ("", "graph", "input", "output")}


def _bill(manifest: Manifest, graphs: Sequence[Graph]) -> dict[str, bytes]:
    """The bill of materials; left out where its library, an extra, is not installed."""
    if importlib.util.find_spec("cyclonedx") is None:
        return {}
    return {SBOM_ENTRY: bill_of_materials(manifest, {graph.entry: graph.sha256 for graph in graphs})}


def _artefact(graph: Graph, contents: Contents) -> Artefact:
    mean_error, max_error = contents.errors.get(graph.entry, (0.0, 0.0))
    own = contents.own
    return Artefact(
        entry=graph.entry,
        precision=graph.precision,
        method=contents.methods[graph.entry],
        int8_mac_share=contents.int8_mac_shares.get(graph.entry, 0.0),
        golden_mean_bound=_rounded(max(_LEAST_MEAN_BOUND[graph.precision], _ROOM_FACTOR * mean_error)),
        golden_max_bound=_rounded(max(_LEAST_MAX_BOUND[graph.precision], _ROOM_FACTOR * max_error)),
        own=OwnAnswers(
            engine=own.engine,
            computed_by=own.computed_by,
            answers=tuple(
                {name: _own_entry(index, name, graph.entry) for name in answer}
                for index, answer in enumerate(own.answers[graph.entry])
            ),
            mean_bound=_OWN_MEAN_BOUND,
            max_bound=_OWN_MAX_BOUND,
        )
        if own is not None and graph.entry in own.answers
        else None,
    )


def _own_entry(index: int, output: str, graph: str) -> str:
    """`golden/0.probability.int8-cpu` for `model.int8-cpu.onnx`."""
    return f"golden/{index}.{output}.{graph.removeprefix('model.').rpartition('.')[0]}"


def _rounded(bound: float) -> float:
    return float(f"{bound:.3g}")


def _golden_entries(contents: Contents) -> tuple[dict[str, bytes], tuple[GoldenCase, ...]]:
    entries: dict[str, bytes] = {}
    cases = []
    for index, (frame, answer) in enumerate(zip(contents.golden.frames, contents.golden.answers, strict=True)):
        name = f"golden/{index}.frame"
        dtype = "<f4" if contents.spec.frame is None else np.uint8
        entries[name] = np.ascontiguousarray(frame, dtype).tobytes()
        outputs = {}
        for output, values in answer.items():
            outputs[output] = f"golden/{index}.{output}"
            entries[outputs[output]] = np.ascontiguousarray(values, "<f4").tobytes()
        cases.append(GoldenCase(frame=name, shape=frame.shape, outputs=outputs))
    for graph, answers in (contents.own.answers if contents.own is not None else {}).items():
        for index, answer in enumerate(answers):
            for output, values in answer.items():
                entries[_own_entry(index, output, graph)] = np.ascontiguousarray(values, "<f4").tobytes()
    return entries, tuple(cases)


def _input(frame: NDArray[Any], spec: ModelSpec) -> NDArray[Any]:
    if spec.frame is None:
        return check_voltages(frame, spec.input_shape)[np.newaxis]
    return prepare(Frame(pixels=frame), spec.frame)[np.newaxis]


def tool_versions() -> dict[str, str]:
    """Package to version, of what is installed of those that decide about a result."""
    versions = {}
    for tool in _TOOLS:
        try:
            versions[tool] = importlib.metadata.version(tool)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
