"""The choosing station: every candidate judged and timed, the fastest that passes, where a lower precision must pay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge.deploy.candidates import Made
from physedge.deploy.judge import REFERENCE_ENGINE, Court, Graph, judge_evaluation, open_graph, record, run_graph
from physedge.deploy.laws import Images, answer_targets, find_laws
from physedge.deploy.trust import SignalWatch
from physedge_calibrate.bench import Bench, run_bench
from physedge_calibrate.choose import Candidate, Choice, choose
from physedge_calibrate.evaluate import Evaluation, evaluate
from physedge_calibrate.gate import Judgement
from physedge_calibrate.samples import Sample
from physedge_calibrate.stages import Stages
from physedge_runtime.device import this_device
from physedge_runtime.frame import Frame
from physedge_runtime.manifest import VerdictRecord, canonical_json
from physedge_runtime.resize import prepare
from physedge_runtime.verdict import Verdict

if TYPE_CHECKING:
    from torch import nn

    from physedge.deploy.progress import Progress
    from physedge_runtime.spec import ModelSpec

ENTRY = "calibration/candidates.json"
SCHEMA_VERSION = 1
_ROUNDS = 24
_SIMULATED = "computed as written in ONNX Runtime, and judged on no GPU"
_FULL_METHOD = "traced in full precision"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One candidate with its verdict.

    Attributes:
        made: The candidate.
        evaluation: Its answers on the target's engine.
        judgement: The verdict with its numbers.
        record: What the manifest keeps.
        stages: Where the score was lost.
        watch: What the graph said of its answers.
    """

    made: Made
    evaluation: Evaluation
    judgement: Judgement
    record: VerdictRecord
    stages: Stages
    watch: SignalWatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What every candidate is held against.

    Attributes:
        court: Samples and bounds.
        engine: That ships.
        reference: Full precision's answers in ONNX Runtime.
        watch: What full precision said of its answers there.
        torch_mean: The network's mean score in torch; None where it was not run.
        target_images: Full precision's answers to the court's targets.
    """

    court: Court
    engine: str
    reference: Evaluation
    watch: SignalWatch
    torch_mean: float | None = None
    target_images: Images = ()

    def mean(self, evaluation: Evaluation) -> float:
        """The mean of the metric that decides."""
        return float(np.mean(evaluation.scores(self.court.metric.name)))


def full_precision(graph: Graph) -> Made:
    """The candidate that needs no making."""
    return Made(graph=graph, method=_FULL_METHOD, int8_mac_share=0.0)


def set_bar(court: Court, full: Graph, engine: str, module: nn.Module | None, progress: Progress) -> Bar:
    """Evaluate full precision: in torch where the module is given, and in ONNX Runtime."""
    with progress(f"evaluating full precision on {REFERENCE_ENGINE}", len(court.samples)) as advance:
        watch = SignalWatch(court.spec)
        reference, _ = run_graph(court, full, REFERENCE_ENGINE, advance, watch)
    images = answer_targets(court, full, REFERENCE_ENGINE)
    bar = Bar(court=court, engine=engine, reference=reference, watch=watch, target_images=images)
    if module is None:
        return bar
    from physedge_export.reference import reference_outputs

    answer = partial(reference_outputs, module, court.spec)
    with progress("evaluating in torch", len(court.samples)) as advance:
        torch_mean = bar.mean(evaluate(answer, court.samples, court.spec, advance=advance))
    return replace(bar, torch_mean=torch_mean)


def judge_candidate(bar: Bar, made: Made, progress: Progress, *, always_simulate: bool) -> Judged:
    """Evaluate a candidate on the engine that ships, judge it, and say where its score was lost.

    Args:
        bar: What it is held against.
        made: The candidate.
        progress: As for `export`.
        always_simulate: Compute Q/DQ in float also where the candidate passes.
    """
    court, graph = bar.court, made.graph
    if graph.precision == "fp32" and bar.engine == REFERENCE_ENGINE:
        candidate, watch = bar.reference, bar.watch
    else:
        watch = SignalWatch(court.spec)
        with progress(f"evaluating {graph.entry} on {bar.engine}", len(court.samples)) as advance:
            candidate, _ = run_graph(court, graph, bar.engine, advance, watch)
    laws = find_laws(court, graph, bar.engine, bar.reference, candidate, bar.target_images)
    judgement = judge_evaluation(court, bar.reference, candidate, laws=laws.checks, remarks=laws.remarks)
    simulated = None
    wanted = always_simulate or judgement.verdict is Verdict.REJECT
    if wanted and graph.precision == "int8" and made.can_be_simulated:
        with progress(f"simulating {graph.entry} as it is written", len(court.samples)) as advance:
            simulated = bar.mean(run_graph(court, graph, REFERENCE_ENGINE, advance, emulate=True)[0])
    stages = Stages(
        torch=bar.torch_mean,
        full_precision=bar.mean(bar.reference),
        simulated=simulated,
        target=bar.mean(candidate),
    )
    told = record(court, graph, bar.engine, bar.reference, candidate, judgement)
    attribution = stages.attribution(court.metric, court.tolerance)
    return Judged(
        made=made,
        evaluation=candidate,
        judgement=judgement,
        record=told.model_copy(
            update={
                "reasons": (*told.reasons, *([attribution] if attribution else [])),
                "details": {**told.details, "stages": stages.to_dict()},
            }
        ),
        stages=stages,
        watch=watch,
    )


def simulate_candidate(bar: Bar, made: Made, progress: Progress) -> Judged:
    """What a quantised graph would score on a processor that accumulates in 32 bits; nobody judged it there.

    Its Q/DQ nodes are computed in float in ONNX Runtime, as they are written.
    """
    court, graph = bar.court, made.graph
    watch = SignalWatch(court.spec)
    with progress(f"simulating {graph.entry} as it is written", len(court.samples)) as advance:
        candidate, _ = run_graph(court, graph, REFERENCE_ENGINE, advance, watch, emulate=True)
    laws = find_laws(court, graph, REFERENCE_ENGINE, bar.reference, candidate, bar.target_images, emulate=True)
    judgement = judge_evaluation(court, bar.reference, candidate, laws=laws.checks, remarks=laws.remarks)
    mean = bar.mean(candidate)
    stages = Stages(full_precision=bar.mean(bar.reference), simulated=mean, target=mean)
    told = record(court, graph, bar.engine, bar.reference, candidate, judgement)
    reasons = (f"{_SIMULATED}: it would be {judgement.verdict}, {told.reasons[0]}", *told.reasons[1:])
    return Judged(
        made=made,
        evaluation=candidate,
        judgement=judgement,
        record=told.model_copy(update={"verdict": Verdict.NOT_RUN, "reasons": reasons}),
        stages=stages,
        watch=watch,
    )


def time_candidates(bar: Bar, judged: Sequence[Judged], advance: Callable[[], object]) -> Bench:
    """All candidates in one interleaved run on the engine that ships."""
    inputs = _timed_input(bar.court.samples[0], bar.court.spec)
    with ExitStack() as stack:
        opened = {
            one.made.graph.entry: stack.enter_context(open_graph(bar.court, one.made.graph, bar.engine))
            for one in judged
        }
        return run_bench(
            {entry: partial(ready.infer, inputs) for entry, ready in opened.items()},
            rounds=_ROUNDS,
            generator=np.random.default_rng(bar.court.seed),
            progress=lambda _done: advance(),
        )


def choose_candidate(bar: Bar, judged: Sequence[Judged], progress: Progress) -> tuple[Choice, Bench]:
    """Time all and choose; candidates are named by their entries.

    Processor time decides: other processes on the machine do not count in it.
    """
    with progress(f"timing {len(judged)} graphs in turns on {bar.engine}", _ROUNDS) as advance:
        bench = time_candidates(bar, judged, advance)
    choice = choose(
        [
            Candidate(
                name=one.made.graph.entry,
                precision=one.made.graph.precision,
                method=one.made.method,
                verdict=one.record.verdict,
                verdict_reason=one.record.reasons[0] if one.record.reasons else "",
                median_ms=bench.timing(one.made.graph.entry).cpu_median_ms,
                median_error_ms=bench.timing(one.made.graph.entry).cpu_median_error_ms,
                loss=one.judgement.comparison.drop.estimate if one.judgement.comparison else None,
                int8_mac_share=one.made.int8_mac_share,
            )
            for one in judged
        ]
    )
    return choice, bench


def evidence(
    bar: Bar,
    judged: Sequence[Judged],
    choice: Choice | None = None,
    bench: Bench | None = None,
    *,
    not_made: Sequence[str] = (),
) -> bytes:
    """The table of candidates with the scores of every sample, as an entry of the bundle.

    Args:
        bar: What they were held against.
        judged: The candidates.
        choice: What ships, and why not the others.
        bench: The interleaved run.
        not_made: Sentences about candidates that were not made.
    """
    metric = bar.court.metric
    reference = bar.reference.scores(metric.name)
    reasons = dict(choice.reasons) if choice is not None else {}
    rows = []
    for one in judged:
        entry = one.made.graph.entry
        rows.append(
            {
                "entry": entry,
                "precision": one.made.graph.precision,
                "method": one.made.method,
                "int8_mac_share": one.made.int8_mac_share,
                "size_bytes": len(one.made.graph.data),
                "verdict": one.record.verdict,
                "reason": reasons.get(entry) or (one.record.reasons[0] if one.record.reasons else ""),
                "reasons": list(one.record.reasons),
                "measured": one.record.measured.model_dump() if one.record.measured else None,
                "comparison": (plain := one.judgement.to_dict())["comparison"],
                "set_losses": plain["set_losses"],
                "laws": plain["laws"],
                "stages": one.stages.to_dict(),
                "time": _times(bench, entry, judged[0].made.graph.entry),
                "ships": choice is None or (choice.chosen is not None and choice.chosen.name == entry),
            }
        )
    return canonical_json(
        {
            "schema_version": SCHEMA_VERSION,
            "engine": bar.engine,
            "device": str(this_device()),
            "metric": metric.name,
            "higher_is_better": metric.higher_is_better,
            "tolerance": bar.court.tolerance.name,
            "kept_fraction": bar.court.tolerance.kept_fraction,
            "threads": bar.court.threads,
            "bench": bench.to_dict() if bench is not None else None,
            "candidates": rows,
            "not_made": list(not_made),
            "samples": [
                {
                    "name": name,
                    "group": group,
                    "stratum": stratum,
                    "reference": float(reference[index]),
                    "scores": {
                        one.made.graph.entry: float(one.evaluation.scores(metric.name)[index]) for one in judged
                    },
                }
                for index, (name, group, stratum) in enumerate(
                    zip(bar.reference.names, bar.reference.groups, bar.reference.strata, strict=True)
                )
            ],
        }
    )


def _times(bench: Bench | None, entry: str, full_entry: str) -> Mapping[str, Any] | None:
    if bench is None:
        return None
    timing, full = bench.timing(entry), bench.timing(full_entry)
    return {
        "cpu_median_ms": timing.cpu_median_ms,
        "cpu_median_error_ms": timing.cpu_median_error_ms,
        "median_ms": timing.median_ms,
        "samples": timing.samples,
        "speed_up": full.cpu_median_ms / timing.cpu_median_ms if timing.cpu_median_ms else None,
    }


def _timed_input(sample: Sample, spec: ModelSpec) -> NDArray[Any]:
    picture = sample.picture()
    if spec.frame is None:
        return np.ascontiguousarray(picture, np.float32)[np.newaxis]
    return prepare(Frame(pixels=picture), spec.frame)[np.newaxis]
