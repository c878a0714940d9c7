"""The candidates: every way we know to make a network smaller for an engine, each with its share of MACs in INT8.

    unsigned     Q/DQ, unsigned activations, 7-bit weights
    mixed        the same, the most sensitive layers given back to float
    timed        the same, the parts of the network that INT8 makes slower given back to float
    nncf         OpenVINO's own representation, quantised by NNCF with its overflow fix
    controlled   the same, layers given back until it answers as full precision does

The embedded physics stays in float in all of them. A new one is one function and one line in `_MAKERS`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge.deploy.judge import REFERENCE_ENGINE, Graph
from physedge_calibrate.agreement import agreement
from physedge_calibrate.executed import executed_int8_share
from physedge_calibrate.macs import mac_counts
from physedge_calibrate.nncf import QuantizedIr, quantize_ir, quantize_ir_with_accuracy_control
from physedge_calibrate.profile import profile_graph, shortened, slower_parts
from physedge_calibrate.quantize import QuantizedModel, quantize_unsigned
from physedge_calibrate.sensitivity import (
    LayerSensitivity,
    draw_sensitivity,
    layer_sensitivity,
    layers_to_keep_in_float,
)
from physedge_calibrate.tolerance import Tolerance
from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.errors import BuildError, EnvironmentFault
from physedge_runtime.ir import is_ir, pack_ir
from physedge_runtime.manifest import canonical_json

if TYPE_CHECKING:
    from physedge.deploy.calibration import Calibration
    from physedge.deploy.progress import Progress
    from physedge_export.graph import TracedGraph
    from physedge_runtime.spec import ModelSpec

UNSIGNED_ENTRY = "model.int8-cpu.onnx"
_SENSITIVITY_IMAGES = 8
_TRIALS = 16
_PROFILE_ROUNDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One candidate.

    Attributes:
        graph: The graph.
        method: How it was made, in a few words.
        int8_mac_share: Fraction of the multiply-accumulates that runs in INT8.
    """

    graph: Graph
    method: str
    int8_mac_share: float

    @property
    def can_be_simulated(self) -> bool:
        """Whether its Q/DQ nodes can be computed in float, as they are written."""
        return self.graph.entry.endswith(".onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSet:
    """All that were made, and what was found on the way.

    Attributes:
        made: The candidates.
        statements: Sentences for people: what was not made, and why.
        evidence: Entries for the bundle.
    """

    made: tuple[Made, ...]
    statements: tuple[str, ...] = ()
    evidence: Mapping[str, bytes] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class _Bench:
    """The workbench on which candidates are made."""

    traced: TracedGraph
    calibration: Calibration
    spec: ModelSpec
    engine: str
    tolerance: Tolerance
    progress: Progress
    folder: Path
    threads: int
    input_name: str
    quantisable: bytes = field(repr=False)
    made: list[Made] = field(default_factory=list)
    statements: list[str] = field(default_factory=list)
    evidence: dict[str, bytes] = field(default_factory=dict)
    quantised: QuantizedModel | None = None
    ir: QuantizedIr | None = None

    @property
    def ranges(self) -> Path:
        """Of all tensors, found once."""
        return self.folder / "ranges.json"

    def unsigned(self, entry: str, float_nodes: frozenset[str], method: str = "") -> QuantizedModel:
        """A Q/DQ graph, with these nodes in float, as a candidate."""
        with self.progress("calibrating and quantising to INT8", len(self.calibration.inputs)) as advance:
            quantised = quantize_unsigned(
                self.quantisable,
                self.calibration.inputs,
                input_name=self.input_name,
                float_nodes=float_nodes,
                engine="openvino" if self.engine == "openvino" else "onnxruntime",
                ranges=self.ranges,
                progress=lambda _seen: advance(),
            )
        self.add(entry, quantised.model, quantised.method + method, quantised.int8_mac_share)
        return quantised

    def add(self, entry: str, data: bytes, method: str, written_share: float) -> None:
        """A candidate; its share of MACs in INT8 is the engine's own account where the engine gives one."""
        from physedge_export.canonical import canonical

        data = data if is_ir(data) else canonical(data)
        share = written_share
        if self.engine == "openvino":
            share = executed_int8_share(data, {count.node: count.macs for count in mac_counts(self.traced.model)})
        graph = Graph(entry=entry, precision="int8", data=data)
        self.made.append(Made(graph=graph, method=method, int8_mac_share=share))

    def request(self, graph: bytes) -> EngineRequest:
        """What an engine is opened with to try a graph."""
        return EngineRequest(
            graph=graph,
            graph_sha256="",
            input_shape=(1, *self.spec.input_shape),
            outputs={output.name: (1, *output.shape[1:]) for output in self.traced.outputs},
            threads=self.threads,
        )

    def trial(self) -> NDArray[Any]:
        """One input on which candidates are timed."""
        return np.ascontiguousarray(self.calibration.inputs[0])[np.newaxis]

    def answers(self, graph: bytes, engine: str) -> list[dict[str, NDArray[np.float32]]]:
        """Of a graph on an engine, to the inputs on which candidates are tried."""
        inputs = self.calibration.trials[:_TRIALS]
        with open_engine(engine, self.request(graph)) as opened:
            return [opened.infer(np.ascontiguousarray(values)[np.newaxis]) for values in inputs]


def make_candidates(
    traced: TracedGraph,
    calibration: Calibration,
    spec: ModelSpec,
    engine: str,
    *,
    every: bool,
    tolerance: Tolerance,
    threads: int,
    progress: Progress,
) -> CandidateSet:
    """The candidates for an engine.

    Args:
        traced: Full precision.
        calibration: Pictures to calibrate with, and further ones to try candidates on.
        spec: The declaration of the network.
        engine: That the candidates are to be fast in.
        every: All that we know; else the unsigned Q/DQ graph alone.
        tolerance: Of the gate: what accuracy control aims at.
        threads: Of the engines that try candidates.
        progress: As for `export`.

    Raises:
        UsageError: No calibration pictures.
        BuildError: The Q/DQ graph cannot be made; any other that cannot is left out, and told.
    """
    from physedge_export.passes.table import approximate
    from physedge_export.shipped import input_name

    with tempfile.TemporaryDirectory(prefix="physedge-") as folder:
        bench = _Bench(
            traced=traced,
            calibration=calibration,
            spec=spec,
            engine=engine,
            tolerance=tolerance,
            progress=progress,
            folder=Path(folder),
            threads=threads,
            input_name=input_name(spec),
            quantisable=approximate(traced, engine).model,
        )
        _unsigned(bench)
        for name, make, engines in _MAKERS if every else ():
            if engine not in engines:
                continue
            try:
                make(bench)
            except (BuildError, EnvironmentFault) as error:
                bench.statements.append(f"the candidate {name} was not made: {error.found}")
    return CandidateSet(
        made=tuple(bench.made), statements=tuple(bench.statements), evidence=dict(sorted(bench.evidence.items()))
    )


def _unsigned(bench: _Bench) -> None:
    bench.quantised = bench.unsigned(UNSIGNED_ENTRY, bench.traced.float_nodes)


def _mixed(bench: _Bench) -> None:
    """Give back to float the few layers that cost most of the accuracy."""
    assert bench.quantised is not None
    layers = _sweep(bench, bench.quantised)
    kept = layers_to_keep_in_float(layers)
    shares = {layer.node: layer.mac_share for layer in layers}
    if not kept or set(kept) == set(shares):
        bench.statements.append("the candidate mixed was not made: no few layers cost most of the accuracy")
        return
    told = f", {len(kept)} sensitive layers in float ({sum(shares[name] for name in kept):.1%} of MACs)"
    bench.unsigned("model.int8-mixed.onnx", bench.traced.float_nodes | frozenset(kept), told)


def _timed(bench: _Bench) -> None:
    """Give back to float the parts of the network that are slower in INT8 on this engine, by its own counters."""
    assert bench.quantised is not None
    with bench.progress(f"profiling both precisions on {bench.engine}", None):
        full, small = (
            profile_graph(bench.engine, bench.request(graph), bench.trial(), rounds=_PROFILE_ROUNDS)
            for graph in (bench.traced.model, bench.quantised.model)
        )
    slower = slower_parts(full, small)
    modules = bench.traced.module_of_node
    nodes = frozenset(node for node, module in modules.items() if shortened(module, 1) in slower)
    if not nodes.intersection(bench.quantised.quantised_nodes):
        bench.statements.append("the candidate timed was not made: no part of the network is slower in INT8")
        return
    if nodes.issuperset(bench.quantised.quantised_nodes):
        bench.statements.append("the candidate timed was not made: every part of the network is slower in INT8")
        return
    gain_ms = sum(small.by_module()[part] - full.by_module()[part] for part in slower)
    told = f", {', '.join(slower)} in float ({gain_ms:.1f} ms slower in INT8)"
    bench.unsigned("model.int8-timed.onnx", bench.traced.float_nodes | nodes, told)


def _sweep(bench: _Bench, quantised: QuantizedModel) -> tuple[LayerSensitivity, ...]:
    modules = bench.traced.module_of_node
    labels = {name: modules.get(name) or name for name in quantised.quantised_nodes}
    with bench.progress("sensitivity: each layer quantised alone", len(quantised.quantised_nodes)) as advance:
        layers = layer_sensitivity(
            bench.traced.model,
            quantised,
            bench.calibration.inputs[:_SENSITIVITY_IMAGES],
            input_name=bench.input_name,
            threads=bench.threads,
            progress=lambda _done, _all: advance(),
        )
    picture = bench.folder / "sensitivity.png"
    draw_sensitivity(picture, layers, labels=labels)
    bench.evidence["calibration/sensitivity.png"] = picture.read_bytes()
    bench.evidence["calibration/sensitivity.json"] = canonical_json(
        [
            {
                "node": layer.node,
                "module": labels[layer.node],
                "operator": layer.operator,
                "mac_share": layer.mac_share,
                "error": layer.error,
            }
            for layer in layers
        ]
    )
    return layers


def _nncf(bench: _Bench) -> None:
    with bench.progress("quantising with NNCF", None):
        bench.ir = quantize_ir(bench.traced.model, bench.calibration.inputs, float_nodes=bench.traced.float_nodes)
    ir = bench.ir
    bench.add("model.int8-nncf.ovir", pack_ir(ir.xml, ir.weights), ir.method, ir.int8_mac_share)


def _controlled(bench: _Bench) -> None:
    """Accuracy control, where plain NNCF leaves something to mend: else both would be one."""
    if bench.ir is None:
        return
    allowed = 1.0 - bench.tolerance.kept_fraction
    reference = bench.answers(bench.traced.model, REFERENCE_ENGINE)
    plain = bench.answers(pack_ir(bench.ir.xml, bench.ir.weights), bench.engine)
    spec = bench.spec
    kept = float(np.mean([agreement(spec, *pair) for pair in zip(reference, plain, strict=True)]))
    if 1.0 - kept <= allowed:
        bench.statements.append(
            f"the candidate controlled was not made: plain NNCF agrees with full precision by {kept:.4f} on "
            f"{len(reference)} further pictures, so there is no layer to give back"
        )
        return

    def score(index: int, outputs: Mapping[str, NDArray[np.float32]]) -> float:
        return agreement(spec, reference[index], outputs)

    with bench.progress("quantising with NNCF and accuracy control", None):
        ir = quantize_ir_with_accuracy_control(
            bench.traced.model,
            bench.calibration.inputs,
            bench.calibration.trials[:_TRIALS],
            score,
            max_drop=allowed,
            float_nodes=bench.traced.float_nodes,
        )
    bench.add("model.int8-nncf-controlled.ovir", pack_ir(ir.xml, ir.weights), ir.method, ir.int8_mac_share)


_Maker = Callable[[_Bench], Any]
_BOTH = ("onnxruntime", "openvino")
_MAKERS: tuple[tuple[str, _Maker, tuple[str, ...]], ...] = (
    ("mixed", _mixed, _BOTH),
    ("timed", _timed, _BOTH),
    ("nncf", _nncf, ("openvino",)),
    ("controlled", _controlled, ("openvino",)),
)
