"""The judging station: the graph and engine that ship, over labelled data, against full precision."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from physedge_calibrate.evaluate import TASKS, Evaluation, Sample
from physedge_calibrate.gate import Judgement, Tolerance, check_outputs, judge
from physedge_calibrate.laws.greit import Target
from physedge_calibrate.laws.law import LawCheck
from physedge_calibrate.metrics.table import Metric, headline_metric, metric_for
from physedge_calibrate.spread import HERE, EngineJob, Spread, Watch, evaluate_spread
from physedge_calibrate.statistics import mean_interval
from physedge_runtime.device import this_device
from physedge_runtime.engines import Engine, EngineRequest, open_engine
from physedge_runtime.manifest import DataRecord, Output, VerdictRecord
from physedge_runtime.manifest import Metric as Figure
from physedge_runtime.spec import ModelSpec, SignalSpec
from physedge_runtime.verdict import Verdict

REFERENCE_ENGINE = "onnxruntime"

Advance = Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A graph that can be run: its bytes, and what the manifest says of it."""

    entry: str
    precision: str
    data: bytes

    @property
    def sha256(self) -> str:
        """Of the graph."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Court:
    """What every judgement of one network shares.

    Attributes:
        spec: The declaration of the network.
        outputs: Of the graphs.
        samples: Labelled, in order.
        tolerance: How much of full precision must be kept.
        threads: Of the engines, where one process evaluates.
        seed: Of the bootstrap.
        bundle_sha256: As for `EngineRequest`, where the graphs come from a bundle.
        recipe_sha256: As for `EngineRequest`.
        spread: Where evaluations run.
        metric_name: Of the metric that decides; the headline metric of the task where None.
        signals: What the network says of its trust signals; those with a hard limit are laws.
        targets: Small targets that a reconstruction must show as full precision does.
    """

    spec: ModelSpec
    outputs: tuple[Output, ...]
    samples: Sequence[Sample]
    tolerance: Tolerance
    threads: int | None = None
    seed: int = 0
    bundle_sha256: str = ""
    recipe_sha256: str = ""
    spread: Spread = HERE
    metric_name: str | None = None
    signals: Mapping[str, SignalSpec] = field(default_factory=dict)
    targets: Sequence[Target] = ()

    @property
    def metric(self) -> Metric:
        """The metric that decides.

        Raises:
            UsageError: It does not fit the task (`PE-METRIC-001`).
        """
        task = self.spec.task
        return headline_metric(task) if self.metric_name is None else metric_for(self.metric_name, task=task)


def spread_over_cores(threads: int | None) -> Spread:
    """A process a core, each on one thread; this process alone where somebody asked for a number of threads."""
    return HERE if threads is not None else Spread(processes=this_device().cores)


def open_graph(court: Court, graph: Graph, engine: str, *, emulate: bool = False) -> Engine:
    """The engine with the graph, ready to run; `emulate` as for `run_graph`."""
    return open_engine(engine, engine_request(court, graph, emulate=emulate))


def run_graph(
    court: Court,
    graph: Graph,
    engine: str,
    advance: Advance = lambda: None,
    watch: Watch | None = None,
    *,
    emulate: bool = False,
) -> tuple[Evaluation, str]:
    """Evaluate a graph on an engine; gives the evaluation and the engine's fingerprint.

    Args:
        court: Samples, and where they are evaluated.
        graph: The graph.
        engine: A name of `physedge_runtime.engines.ENGINES`.
        advance: Called after every sample.
        watch: Sees what goes in and comes out of the engine.
        emulate: Compute Q/DQ in float as it is written: the graph's own numbers, without an engine's integer kernels.
    """
    job = EngineJob(engine=engine, request=engine_request(court, graph, emulate=emulate), spec=court.spec)
    return evaluate_spread(job, court.samples, spread=court.spread, advance=advance, watch=watch)


def engine_request(court: Court, graph: Graph, *, emulate: bool = False) -> EngineRequest:
    """What an engine is opened with; `emulate` as for `run_graph`."""
    return EngineRequest(
        graph=graph.data,
        graph_sha256=graph.sha256,
        input_shape=(1, *court.spec.input_shape),
        outputs={output.name: (1, *output.shape) for output in court.outputs},
        threads=court.threads,
        bundle_sha256=court.bundle_sha256,
        recipe_sha256=court.recipe_sha256,
        options={"optimise": False} if emulate else {},
    )


def judge_evaluation(
    court: Court,
    reference: Evaluation,
    candidate: Evaluation,
    *,
    laws: Sequence[LawCheck] = (),
    remarks: Sequence[str] = (),
) -> Judgement:
    """Hold a candidate's answers against full precision's.

    Args:
        court: Metric and bounds.
        reference: Full precision's answers.
        candidate: The candidate's.
        laws: What was found of the network's laws on the candidate.
        remarks: Further notes.
    """
    metric = court.metric
    set_losses, told = TASKS[court.spec.task].hold(reference, candidate, court.seed)
    return judge(
        reference.scores(metric.name),
        candidate.scores(metric.name),
        groups=candidate.groups,
        strata=candidate.strata,
        tolerance=court.tolerance,
        generator=np.random.default_rng(court.seed),
        metric=metric,
        findings=check_outputs(candidate.answers, reference=reference.answers, threshold=candidate.found_from),
        set_losses=set_losses,
        laws=laws,
        remarks=(*told, *remarks),
    )


def record(
    court: Court, graph: Graph, engine: str, reference: Evaluation, candidate: Evaluation, judgement: Judgement
) -> VerdictRecord:
    """What the manifest and the verdict file keep of a judgement."""
    metric = court.metric.name
    measured, full = metrics_of(candidate, court), metrics_of(reference, court)
    return VerdictRecord(
        artefact=graph.entry,
        precision=graph.precision,
        engine=engine,
        device=str(this_device()),
        verdict=judgement.verdict,
        metric=metric,
        samples=len(candidate),
        groups=len(set(candidate.groups)),
        reference=full[metric],
        measured=measured[metric],
        metrics=measured,
        reasons=tuple(judgement.reasons) + tuple(judgement.notes),
        details=judgement.to_dict(),
    )


def metrics_of(evaluation: Evaluation, court: Court) -> dict[str, Figure]:
    """Every figure of the task with its 95 % interval, the metric that decides among them."""
    found = evaluation.figures(court.seed)
    if court.metric.name not in found:
        interval = mean_interval(
            evaluation.scores(court.metric.name),
            groups=list(evaluation.groups),
            generator=np.random.default_rng(court.seed),
        )
        found[court.metric.name] = court.metric.bounded(interval)
    return {
        name: Figure(value=interval.estimate, low=interval.low, high=interval.high) for name, interval in found.items()
    }


def not_run(graph: Graph, engine: str, reason: str) -> VerdictRecord:
    """The record of a graph that nobody judged, with the reason."""
    return VerdictRecord(
        artefact=graph.entry,
        precision=graph.precision,
        engine=engine,
        device=str(this_device()),
        verdict=Verdict.NOT_RUN,
        reasons=(reason,),
    )


def data_record(name: str, paths: Sequence[Path]) -> DataRecord:
    """How many files, and one hash over the sorted hashes of all: the order and the names do not matter."""
    hashes = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in paths)
    return DataRecord(name=name, count=len(hashes), sha256=hashlib.sha256("\n".join(hashes).encode()).hexdigest())
