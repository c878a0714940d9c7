"""`export`, station by station: trace, check, quantise, judge, choose, pack."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from physedge.deploy.candidates import UNSIGNED_ENTRY, Made, make_candidates
from physedge.deploy.card_merge import card_path, read_card
from physedge.deploy.choosing import (
    ENTRY,
    choose_candidate,
    evidence,
    full_precision,
    judge_candidate,
    set_bar,
    simulate_candidate,
)
from physedge.deploy.golden import golden_frames
from physedge.deploy.judge import REFERENCE_ENGINE, Court, Graph, data_record, not_run
from physedge.deploy.network import Network, NetworkChoice, find_network
from physedge.deploy.pack import CARD_ENTRY, Contents, GoldenSet, answer_golden, bundle_path, golden_error, pack
from physedge.deploy.traced import trace_network
from physedge.deploy.trust import (
    FALSE_ALARM_RATE,
    CleanFrames,
    SignalWatch,
    fit_trust,
    trust_sentence,
    watch_inputs,
)
from physedge_calibrate.evaluate import Sample, read_samples
from physedge_calibrate.metrics.table import metric_for
from physedge_calibrate.spread import HERE, Spread
from physedge_calibrate.tolerance import Tolerance, standard
from physedge_runtime.bundle import read_bundle, write_atomically
from physedge_runtime.device import this_device
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.keys import ANYBODY
from physedge_runtime.manifest import DataRecord, Manifest, Output, TrustRecord, VerdictRecord
from physedge_runtime.verdict import Verdict

if TYPE_CHECKING:
    from torch import nn

    from physedge.deploy.calibration import Calibration
    from physedge_export.graph import TracedGraph
    from physedge_export.passes.base import PassReport

# At three raw sizes each.
_PARITY_FRAMES = 3
PRECISIONS = ("auto", "fp32", "fp16", "int8")

Advance = Callable[[], object]
Progress = Callable[[str, int | None], AbstractContextManager[Advance]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What `physedge export` was asked for.

    Attributes:
        choice: The network.
        target: A name of `physedge_export.targets.TARGETS`.
        precision: `auto`, `fp32`, `fp16` or `int8`.
        calibration: Folder of calibration pictures; without it no INT8 is made.
        data: Folder of labelled evaluation data; without it there is no accuracy verdict.
        golden: Folder of real golden frames; synthetic ones where None.
        output: The bundle; `build/NAME.physedge` where None.
        tolerance: Of the gate.
        threads: Of the engines that judge.
        seed: Of everything that is drawn.
        profile: A device that an engine is meant for; a name of `physedge_export.targets.profiles`.
        false_alarm_rate: Share of clean frames that the trust signals may call doubtful.
        spread: Where evaluations run.
        strata: Of calibration and evaluation pictures: a CSV file or a pattern, as for `named_strata`.
        metric: That decides; the headline metric of the task where None.
    """

    choice: NetworkChoice = field(default_factory=NetworkChoice)
    target: str = "onnxruntime"
    precision: str = "auto"
    calibration: Path | None = None
    data: Path | None = None
    golden: Path | None = None
    output: Path | None = None
    tolerance: Tolerance = field(default_factory=standard)
    threads: int | None = None
    seed: int = 0
    profile: str | None = None
    false_alarm_rate: float = FALSE_ALARM_RATE
    spread: Spread = HERE
    strata: str | None = None
    metric: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What `export` delivered.

    Attributes:
        bundle: The file.
        manifest: As written.
        verdict: On the whole.
        network: The network that was exported.
        statements: Sentences for people: what was made, what was not, and why.
    """

    bundle: Path
    manifest: Manifest
    verdict: Verdict
    network: Network
    statements: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """False where a verdict was asked for and is no ACCEPT."""
        return self.verdict in (Verdict.ACCEPT, Verdict.NOT_RUN)


@dataclass(slots=True)
class _Work:
    """What the stations hand on."""

    options: ExportOptions
    network: Network
    progress: Progress
    outputs: tuple[Output, ...]
    made: list[Made]
    data: dict[str, DataRecord]
    statements: list[str]
    samples: Sequence[Sample] = ()
    verdicts: list[VerdictRecord] = field(default_factory=list)
    extra: dict[str, bytes] = field(default_factory=dict)
    card: str = ""
    watches: dict[str, SignalWatch] = field(default_factory=dict)

    @property
    def graphs(self) -> list[Graph]:
        """All that will be packed, full precision first."""
        return [made.graph for made in self.made]

    @property
    def engine(self) -> str:
        """The engine that judges for this target."""
        return self.options.target if self.options.target != "tensorrt" else REFERENCE_ENGINE

    def court(self) -> Court:
        """What every judgement shares."""
        return Court(
            spec=self.network.spec,
            outputs=self.outputs,
            samples=self.samples,
            tolerance=self.options.tolerance,
            threads=self.options.threads,
            seed=self.options.seed,
            spread=self.options.spread,
            metric_name=self.options.metric,
        )


def no_progress(_description: str, _total: int | None) -> AbstractContextManager[Advance]:
    """Show nothing."""
    return nullcontext(lambda: None)


def export(options: ExportOptions, progress: Progress = no_progress, *, network: Network | None = None) -> ExportReport:
    """Take a network from its weights to a bundle with a verdict.

    Args:
        options: What was asked for.
        progress: Called with a description and a number of steps; its context gives a function to call after each.
        network: In place of the one that the options mean.

    Raises:
        UsageError: An option or a folder cannot be used; nothing was written.
        BuildError: The trace, the parity or the quantisation failed; nothing was written.
    """
    _check(options)
    network = network or find_network(options.choice)
    if options.metric is not None:
        metric_for(options.metric, task=network.spec.task)
    # Now, rather than after minutes of work: a card that cannot be merged ends the export.
    card = read_card(_card_path(network, options))
    calibration, samples = _read_data(options, network, progress)
    module = network.build() if network.onnx is None else None
    work, traced = _trace(options, network, module, progress)
    work.samples, work.card = samples, card
    _check_graph(work, traced, module)
    if samples:
        work.data["evaluation"] = data_record("evaluation", [sample.image_path for sample in samples])
    if calibration is not None:
        _quantise(work, traced, calibration)
    else:
        work.statements.append("no INT8 graph was made: it needs --calib DIR, and there is no default set")
    if options.target == "tensorrt":
        shipped, verdict = _prepare_tensorrt(work, traced, module, calibration)
    else:
        shipped, verdict = _judge(work, module)
    trust = _fit_trust(work, module, shipped, calibration)
    report = _pack(work, module, shipped, verdict, trust)
    return _deliver_engines(work, report) if options.target == "tensorrt" else report


def _check(options: ExportOptions) -> None:
    from physedge_export.targets import find_target

    find_target(options.target)
    if options.precision not in PRECISIONS:
        raise UsageError(
            "PE-EXPORT-001",
            found=f"the precision {options.precision!r}",
            expected=f"one of {', '.join(PRECISIONS)}",
            next_step="choose one of these with --precision",
        )
    if options.precision == "int8" and options.calibration is None:
        raise UsageError(
            "PE-EXPORT-002",
            found="--precision int8 without calibration pictures",
            expected="--calib DIR with pictures of the training set",
            next_step="add --calib DIR; there is no default set, ever",
        )
    if options.profile is not None:
        _check_profile(options)
    if options.precision == "fp16" and options.target != "tensorrt":
        raise UsageError(
            "PE-EXPORT-004",
            found=f"--precision fp16 for {options.target}",
            expected="fp16 for the target tensorrt only; processors compute it in fp32",
            next_step="choose fp32 or int8, or --target tensorrt",
        )


def _check_profile(options: ExportOptions) -> None:
    from physedge_export.targets.profiles import find_profile

    assert options.profile is not None
    profile = find_profile(options.profile)
    if options.target != "tensorrt":
        raise UsageError(
            "PE-EXPORT-005",
            found=f"--profile {options.profile} for the target {options.target}",
            expected="a device profile with --target tensorrt only",
            next_step="add --target tensorrt, or leave --profile out",
        )
    if options.precision != "auto":
        profile.require(options.precision)


def _read_data(
    options: ExportOptions, network: Network, progress: Progress
) -> tuple[Calibration | None, Sequence[Sample]]:
    from physedge.deploy.calibration import calibration_pool, choose_calibration, with_strata
    from physedge_calibrate.dataset import subset_folder

    samples = read_samples(subset_folder(options.data, "val"), network.spec) if options.data else ()
    if options.strata and options.data:
        samples = with_strata(samples, options.strata, root=options.data)
    if options.calibration is None:
        return None, samples
    if network.spec.voltages is not None:
        return _read_voltages(options, network.spec.voltages, samples, progress), samples
    pool = calibration_pool(options.calibration)
    assert network.spec.frame is not None
    with progress("choosing calibration pictures, looking for leaks", len(pool) + len(samples)) as advance:
        calibration = choose_calibration(
            options.calibration,
            pool,
            network.spec.frame,
            samples,
            seed=options.seed,
            strata=options.strata,
            advance=advance,
        )
    return calibration, samples


def _read_voltages(
    options: ExportOptions, spec: VoltageSpec, samples: Sequence[Sample], progress: Progress
) -> Calibration:
    from physedge.deploy.voltage_calibration import choose_voltage_calibration, voltage_pool

    assert options.calibration is not None
    pool = voltage_pool(options.calibration, spec)
    with progress("choosing calibration measurements, looking for leaks", len(pool) + len(samples)) as advance:
        return choose_voltage_calibration(pool, samples, seed=options.seed, advance=advance)


def _trace(
    options: ExportOptions, network: Network, module: nn.Module | None, progress: Progress
) -> tuple[_Work, TracedGraph]:
    with progress("tracing to ONNX", None):
        traced, passes = trace_network(network, module, options.target)
    work = _Work(
        options=options,
        network=network,
        progress=progress,
        outputs=tuple(Output(name=output.name, shape=output.shape[1:]) for output in traced.outputs),
        made=[full_precision(Graph(entry="model.onnx", precision="fp32", data=traced.model))],
        data={},
        statements=[f"exporting {network.origin}", _passes_sentence(passes)],
    )
    if network.weights_sha256:
        work.data["weights"] = DataRecord(name="weights", count=1, sha256=network.weights_sha256)
    return work, traced


def _passes_sentence(passes: PassReport) -> str:
    rewritten = ", ".join(f"{name} {count}" for name, count in passes.changed.items() if count) or "nothing to rewrite"
    return f"graph passes: {passes.nodes_before} to {passes.nodes_after} operators ({rewritten})"


def _check_graph(work: _Work, traced: TracedGraph, module: nn.Module | None) -> None:
    """Ask the target about every operator; hold the graph against the module, on real frames where there are any."""
    from physedge_export.audit import audit

    report = audit(traced.model, work.options.target).require()
    operators = sum(report.operators.values())
    work.statements.append(f"operators: {operators} of {len(report.operators)} kinds, taken by {report.checked_by}")
    if module is None:
        return
    from physedge_export.parity import check_parity

    spec = work.network.spec
    frames = [sample.picture() for sample in work.samples[:_PARITY_FRAMES]] or golden_frames(spec)[:_PARITY_FRAMES]
    with work.progress("comparing graph and network from the raw frame on", None):
        parity = check_parity(module, spec, traced.model, frames, threads=work.options.threads)
    work.statements.append(f"parity: {parity.sentence()}")


def _quantise(work: _Work, traced: TracedGraph, calibration: Calibration) -> None:
    """Every candidate where one is to be chosen and can be judged, else the Q/DQ graph alone."""
    options = work.options
    found = make_candidates(
        traced,
        calibration,
        work.network.spec,
        work.engine,
        every=options.precision == "auto" and options.target != "tensorrt" and bool(work.samples),
        tolerance=options.tolerance,
        threads=options.threads or this_device().cores,
        progress=work.progress,
    )
    work.made += found.made
    work.data["calibration"] = calibration.record
    work.extra.update({**calibration.evidence, **found.evidence})
    share = found.made[0].int8_mac_share
    work.statements += [f"INT8: {share:.1%} of the multiply-accumulates, {calibration.summary}", *found.statements]


def _prepare_tensorrt(
    work: _Work, traced: TracedGraph, module: nn.Module | None, calibration: Calibration | None
) -> tuple[dict[str, str], Verdict]:
    """Graphs and recipe for an engine that is built on the device; nobody judges it here."""
    from physedge.deploy.gpu import NOT_BUILT, half_graph, signed_graph
    from physedge_export.audit import audit
    from physedge_export.targets.tensorrt import HALF_ENTRY, SIGNED_ENTRY, recipe
    from physedge_runtime.net import RECIPE_ENTRY

    spec = work.network.spec
    chosen = work.graphs[0]
    if work.options.precision != "fp32":
        with work.progress("converting to half precision", None):
            half = half_graph(traced, module, spec)
        work.made.append(Made(graph=half, method="half precision, physics in float32", int8_mac_share=0.0))
        chosen = half
    if calibration is not None:
        with work.progress("quantising for TensorRT", None):
            signed, quantised = signed_graph(traced, calibration)
        work.made.append(Made(graph=signed, method=quantised.method, int8_mac_share=quantised.int8_mac_share))
        chosen = signed if work.options.precision == "int8" else chosen
    for graph in work.graphs[1:]:
        if graph.entry in (HALF_ENTRY, SIGNED_ENTRY):
            reader = audit(graph.data, "tensorrt").require().checked_by
            work.statements.append(f"{graph.entry}: every operator and type taken by {reader}")
    plan = recipe(chosen.entry, chosen.data, chosen.precision, spec)
    work.extra[RECIPE_ENTRY] = plan.to_bytes()
    work.statements += [
        f"delivered for TensorRT: {', '.join(graph.entry for graph in work.graphs)} and {RECIPE_ENTRY}",
        NOT_BUILT,
        f"on the device: {plan.trtexec}",
    ]
    work.verdicts.append(not_run(chosen, "tensorrt", NOT_BUILT))
    if calibration is not None and work.samples:
        bar = set_bar(work.court(), work.graphs[0], "tensorrt", None, work.progress)
        simulated = simulate_candidate(bar, work.made[-1], work.progress)
        work.extra[ENTRY] = evidence(bar, [simulated])
        work.statements.append(f"{simulated.made.graph.entry}: {simulated.record.reasons[0]}")
    return {"tensorrt": chosen.entry}, Verdict.NOT_RUN


def _deliver_engines(work: _Work, report: ExportReport) -> ExportReport:
    """Beside the bundle: engines for RTX GPUs where they can be built here, and the script that builds elsewhere."""
    from physedge.deploy.engines import deliver_engines
    from physedge_export.targets.tensorrt import recipe

    (entry,) = report.manifest.shipped.values()
    graph = next(graph for graph in work.graphs if graph.entry == entry)
    plan = recipe(entry, graph.data, graph.precision, work.network.spec)
    delivered = deliver_engines(report.bundle, graph, plan, profile=work.options.profile, progress=work.progress)
    return replace(report, statements=(*report.statements, *delivered.statements))


def _judge(work: _Work, module: nn.Module | None) -> tuple[dict[str, str], Verdict]:
    """Which graph ships for the target, and the verdict on it."""
    full, *reduced = work.made
    asked = reduced[0] if reduced and work.options.precision == "int8" else full
    if not work.samples:
        reason = "no accuracy verdict: it needs labelled data, --data DIR"
        work.statements.append(reason)
        work.verdicts.append(not_run(asked.graph, work.engine, reason))
        return {work.engine: asked.graph.entry}, Verdict.NOT_RUN
    chooses = bool(reduced) and work.options.precision == "auto"
    bar = set_bar(work.court(), full.graph, work.engine, module if chooses else None, work.progress)
    judged = [
        judge_candidate(bar, made, work.progress, always_simulate=chooses)
        for made in (work.made if chooses else [asked])
    ]
    work.verdicts += [one.record for one in judged]
    work.watches |= {one.made.graph.entry: one.watch for one in judged}
    if not chooses:
        work.extra[ENTRY] = evidence(bar, judged)
        return {work.engine: asked.graph.entry}, judged[0].record.verdict
    choice, bench = choose_candidate(bar, judged, work.progress)
    work.extra[ENTRY] = evidence(bar, judged, choice, bench)
    work.statements += [f"{entry}: {reason}" for entry, reason in choice.reasons]
    entry = choice.chosen.name if choice.chosen is not None else full.graph.entry
    # A loser's graph does not travel; what it scored does.
    work.made = [one for one in work.made if one.graph.entry in {full.graph.entry, UNSIGNED_ENTRY, entry}]
    (verdict,) = (one.record.verdict for one in judged if one.made.graph.entry == entry)
    return {work.engine: entry}, verdict


def _fit_trust(
    work: _Work, module: nn.Module | None, shipped: dict[str, str], calibration: Calibration | None
) -> TrustRecord:
    """Limits for the signals of the graph that ships: on the evaluated frames, else on the calibration pictures."""
    from physedge.models.signals import declared_signals

    (entry,) = set(shipped.values())
    usual = calibration.inputs if calibration is not None else ()
    clean = None
    if watch := work.watches.get(entry):
        clean = CleanFrames(watch, tuple(sample.group for sample in work.samples), usual, "evaluation frames")
    elif calibration is not None:
        with work.progress("taking down the trust signals", len(usual)) as advance:
            watch = watch_inputs(work.court(), work.graphs[0], usual, advance)
        clean = CleanFrames(watch, None, usual, "calibration pictures, which were no held-out data")
    outputs = [output.name for output in work.outputs]
    trust = fit_trust(work.network.spec, outputs, declared_signals(module), clean, work.options.false_alarm_rate)
    work.statements.append(trust_sentence(trust))
    return trust


def _pack(
    work: _Work, module: nn.Module | None, shipped: dict[str, str], verdict: Verdict, trust: TrustRecord
) -> ExportReport:
    spec = work.network.spec
    with work.progress("packing the bundle", None):
        frames = golden_frames(spec, work.options.golden)
        full = work.graphs[0]
        golden = GoldenSet(
            frames=tuple(frames), answers=answer_golden(full, REFERENCE_ENGINE, spec, work.outputs, frames)
        )
        errors = {
            graph.entry: golden_error(
                golden,
                answer_golden(
                    graph, work.engine, spec, work.outputs, frames, emulate=work.options.target == "tensorrt"
                ),
            )
            for graph in work.graphs
        }
        work.statements += [
            f"golden frames: {entry} is at most {largest:.2g} from full precision, {mean:.2g} in the mean"
            for entry, (mean, largest) in errors.items()
            if entry != full.entry
        ]
        parameters, macs = _cost(module, work)
        path = bundle_path(spec.name, verdict, work.options.output)
        manifest = pack(
            path,
            Contents(
                spec=spec,
                outputs=work.outputs,
                graphs=work.graphs,
                methods={one.graph.entry: one.method for one in work.made},
                int8_mac_shares={one.graph.entry: one.int8_mac_share for one in work.made},
                shipped=shipped,
                target=work.options.target,
                golden=golden,
                errors=errors,
                verdict=verdict,
                verdicts=work.verdicts,
                data=work.data,
                trust=trust,
                parameters=parameters,
                macs=macs,
                extra=work.extra,
                card=work.card,
            ),
        )
        beside = _card_path(work.network, work.options)
        write_atomically(beside, read_bundle(path, trust=ANYBODY).read(CARD_ENTRY))
    work.statements.append(f"card: {beside}; the next export keeps what is written around its measured blocks")
    return ExportReport(
        bundle=path, manifest=manifest, verdict=verdict, network=work.network, statements=tuple(work.statements)
    )


def _card_path(network: Network, options: ExportOptions) -> Path:
    """One card for a network, whatever the verdict puts into the name of its bundle."""
    return card_path(bundle_path(network.spec.name, Verdict.ACCEPT, options.output))


def _cost(module: nn.Module | None, work: _Work) -> tuple[int, int]:
    from physedge_calibrate.macs import mac_counts

    macs = sum(count.macs for count in mac_counts(work.graphs[0].data))
    parameters = sum(parameter.numel() for parameter in module.parameters()) if module is not None else 0
    return parameters, macs
