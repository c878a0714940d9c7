"""`export`, station by station: trace, check, quantise, judge, choose, pack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from physedge.deploy.candidates import UNSIGNED_ENTRY, make_candidates
from physedge.deploy.card_merge import read_card
from physedge.deploy.choosing import ENTRY, choose_candidate, evidence, full_precision, judge_candidate, set_bar
from physedge.deploy.golden import golden_frames
from physedge.deploy.judge import REFERENCE_ENGINE, Graph, data_record, not_run
from physedge.deploy.laws import targets_for
from physedge.deploy.network import Network, find_network
from physedge.deploy.options import ExportOptions, check_options, with_project_data
from physedge.deploy.pack import (
    CARD_ENTRY,
    Answers,
    Contents,
    GoldenSet,
    OwnGolden,
    answer_golden,
    bundle_path,
    golden_error,
    pack,
    tool_versions,
)
from physedge.deploy.progress import Progress, no_progress
from physedge.deploy.tensorrt_station import deliver_for_tensorrt, prepare_tensorrt
from physedge.deploy.traced import trace_network
from physedge.deploy.trust import CleanFrames, SignalWatch, fit_trust, signal_limits, trust_sentence, watch_inputs
from physedge.deploy.work import Work, where_card_lies
from physedge_calibrate.evaluate import Sample, read_samples
from physedge_calibrate.metrics.table import metric_for
from physedge_calibrate.spread import kept_workers
from physedge_runtime.bundle import read_bundle, write_atomically
from physedge_runtime.device import this_device
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.keys import ANYBODY
from physedge_runtime.manifest import DataRecord, Manifest, Output, TrustRecord
from physedge_runtime.verdict import Verdict

if TYPE_CHECKING:
    from torch import nn

    from physedge.deploy.calibration import Calibration
    from physedge_export.graph import TracedGraph
    from physedge_export.passes.base import PassReport

__all__ = ["ExportOptions", "ExportReport", "export"]

# At three raw sizes each.
_PARITY_FRAMES = 3


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
    told: tuple[str, ...] = ()
    if network is None:
        options, told = with_project_data(options)
    check_options(options)
    network = network or find_network(options.choice)
    if options.metric is not None:
        metric_for(options.metric, task=network.spec.task)
    from physedge.models.signals import declared_signals

    # Now, rather than after minutes of work: a card that cannot be merged ends the export.
    card = read_card(where_card_lies(network, options))
    calibration, samples = _read_data(options, network, progress)
    module = network.build() if network.onnx is None else None
    work, traced = _trace(options, network, module, progress)
    work.samples, work.card = samples, card
    work.statements += told
    _check_graph(work, traced, module)
    work.signals = signal_limits(declared_signals(module), network.spec.trust)
    if samples:
        work.targets = targets_for(network.spec)
        work.data["evaluation"] = data_record("evaluation", [sample.image_path for sample in samples])
    if calibration is not None:
        _quantise(work, traced, calibration)
    elif options.precision == "auto":
        work.statements.append(
            "no INT8 graph was made: it needs --calib DIR, or train/ and val/ in physedge.toml's data"
        )
    with kept_workers():
        if options.target == "tensorrt":
            shipped, verdict = prepare_tensorrt(work, traced, module, calibration)
        else:
            shipped, verdict = _judge(work, module)
    trust = _fit_trust(work, module, shipped, calibration)
    report = _pack(work, module, shipped, verdict, trust)
    return deliver_for_tensorrt(work, report) if options.target == "tensorrt" else report


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
) -> tuple[Work, TracedGraph]:
    with progress("tracing to ONNX", None):
        traced, passes = trace_network(network, module, options.target)
    work = Work(
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


def _check_graph(work: Work, traced: TracedGraph, module: nn.Module | None) -> None:
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


def _quantise(work: Work, traced: TracedGraph, calibration: Calibration) -> None:
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
    work.not_made = found.statements
    work.data["calibration"] = calibration.record
    work.extra.update({**calibration.evidence, **found.evidence})
    share = found.made[0].int8_mac_share
    work.statements += [f"INT8: {share:.1%} of the multiply-accumulates, {calibration.summary}", *found.statements]


def _judge(work: Work, module: nn.Module | None) -> tuple[dict[str, str], Verdict]:
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
    work.extra[ENTRY] = evidence(bar, judged, choice, bench, not_made=work.not_made)
    work.statements += [f"{entry}: {reason}" for entry, reason in choice.reasons]
    entry = choice.chosen.name if choice.chosen is not None else full.graph.entry
    # A loser's graph does not travel; what it scored does.
    work.made = [one for one in work.made if one.graph.entry in {full.graph.entry, UNSIGNED_ENTRY, entry}]
    (verdict,) = (one.record.verdict for one in judged if one.made.graph.entry == entry)
    return {work.engine: entry}, verdict


def _fit_trust(
    work: Work, module: nn.Module | None, shipped: dict[str, str], calibration: Calibration | None
) -> TrustRecord:
    """Limits for the signals of the graph that ships: on the evaluated frames, else on the calibration pictures."""
    from physedge.models.signals import declared_signals

    (entry,) = set(shipped.values())
    usual = calibration.inputs if calibration is not None else ()
    clean = None
    if watch := work.watches.get(entry):
        groups = [sample.group for sample in work.samples]
        others = _watch_other_kinds(work, entry, watch)
        described = "evaluation frames, other kinds of bodies included," if others else "evaluation frames"
        clean = CleanFrames(watch, (*groups, *others), usual, described)
    elif calibration is not None:
        with work.progress("taking down the trust signals", len(usual)) as advance:
            watch = watch_inputs(work.court(), work.graphs[0], usual, advance)
        clean = CleanFrames(watch, None, usual, "calibration pictures, which were no held-out data")
    outputs = [output.name for output in work.outputs]
    trust = fit_trust(work.network.spec, outputs, declared_signals(module), clean, work.options.false_alarm_rate)
    work.statements.append(trust_sentence(trust))
    return trust


def _watch_other_kinds(work: Work, entry: str, watch: SignalWatch) -> list[str]:
    """Take down the signals of simulated bodies of other kinds, too, which limits must let pass; the kind of each."""
    voltages, data = work.network.spec.voltages, work.options.data
    if voltages is None or data is None:
        return []
    from physedge.data.voltage_kinds import read_clean_kinds

    kinds = read_clean_kinds(data, voltages)
    (graph,) = (graph for graph in work.graphs if graph.entry == entry)
    frames = [sample.picture() for samples in kinds.values() for sample in samples]
    with work.progress("taking down the signals of other kinds of bodies", len(frames)) as advance:
        watch.extend(watch_inputs(work.court(), graph, frames, advance))
    return [kind for kind, samples in kinds.items() for _ in samples]


def _pack(
    work: Work, module: nn.Module | None, shipped: dict[str, str], verdict: Verdict, trust: TrustRecord
) -> ExportReport:
    spec = work.network.spec
    with work.progress("packing the bundle", None):
        frames = golden_frames(spec, work.options.golden)
        full = work.graphs[0]
        golden = GoldenSet(
            frames=tuple(frames), answers=answer_golden(full, REFERENCE_ENGINE, spec, work.outputs, frames)
        )
        emulates = work.options.target == "tensorrt"
        answers = {
            graph.entry: answer_golden(graph, work.engine, spec, work.outputs, frames, emulate=emulates)
            for graph in work.graphs
        }
        errors = {entry: golden_error(golden, answer) for entry, answer in answers.items()}
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
                own=None if emulates else _own_answers(work, answers),
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
        beside = where_card_lies(work.network, work.options)
        write_atomically(beside, read_bundle(path, trust=ANYBODY).read(CARD_ENTRY))
    work.statements.append(f"card: {beside}; the next export keeps what is written around its measured blocks")
    return ExportReport(
        bundle=path, manifest=manifest, verdict=verdict, network=work.network, statements=tuple(work.statements)
    )


def _own_answers(work: Work, answers: dict[str, Answers]) -> OwnGolden | None:
    reduced = {graph.entry: answers[graph.entry] for graph in work.graphs[1:]}
    if not reduced:
        return None
    version = tool_versions().get(work.engine, "")
    return OwnGolden(engine=work.engine, computed_by=f"{work.engine} {version} on {this_device()}", answers=reduced)


def _cost(module: nn.Module | None, work: Work) -> tuple[int, int]:
    from physedge_calibrate.macs import mac_counts

    macs = sum(count.macs for count in mac_counts(work.graphs[0].data))
    parameters = sum(parameter.numel() for parameter in module.parameters()) if module is not None else 0
    return parameters, macs
