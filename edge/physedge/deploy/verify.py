"""`verify`: a bundle on this machine - every byte, the golden frames, and the verdict where labelled data is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from physedge.deploy.judge import REFERENCE_ENGINE, Court, Graph, data_record, judge_evaluation, record, run_graph
from physedge.deploy.laws import answer_targets, find_laws, targets_for
from physedge.deploy.progress import Progress, no_progress
from physedge_calibrate.dataset import subset_folder
from physedge_calibrate.evaluate import Sample, read_samples
from physedge_calibrate.metrics.table import metric_for
from physedge_calibrate.spread import HERE, Spread, kept_workers
from physedge_calibrate.tolerance import Tolerance
from physedge_runtime.bundle import Bundle, write_atomically
from physedge_runtime.isolated import is_vouched_for
from physedge_runtime.manifest import DataRecord, VerdictRecord, canonical_json
from physedge_runtime.net import GoldenReplay, choose_artefact, choose_engine, engine_request
from physedge_runtime.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found of a bundle on this machine.

    Attributes:
        bundle: The bundle.
        engine: Fingerprint of the engine that replayed the golden frames.
        golden: One record a golden frame.
        as_exported: Whether the graph computes here as it did at export; None where the bundle does not say.
        verdict: On the labelled data; None where none was given.
        data: The labelled data; None where none was given.
        written: The verdict file, or None.
    """

    bundle: Bundle
    engine: str
    golden: tuple[GoldenReplay, ...]
    as_exported: bool | None = None
    verdict: VerdictRecord | None = None
    data: DataRecord | None = None
    written: Path | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing speaks against running it here."""
        return self.verdict is None or self.verdict.verdict is Verdict.ACCEPT


def verify(
    bundle: Bundle,
    *,
    tolerance: Tolerance,
    engine: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    data: Path | None = None,
    seed: int = 0,
    spread: Spread = HERE,
    metric: str | None = None,
    progress: Progress = no_progress,
) -> Verification:
    """Replay the golden frames, and judge the graph that ships on labelled data.

    Args:
        bundle: A bundle whose bytes were checked when it was read.
        tolerance: How much of full precision must be kept.
        engine: As for `Bundle.open`.
        precision: As for `Bundle.open`.
        threads: Of the engines.
        data: Folder of labelled data; its `val` where it has one.
        seed: Of the bootstrap.
        spread: Where evaluations run.
        metric: That decides; the headline metric of the task where None.
        progress: As for `export`.

    Raises:
        IntegrityError: A golden frame does not come out (`PE-BUNDLE-020`).
        UsageError: The data cannot be used.
    """
    if metric is not None:
        metric_for(metric, task=bundle.manifest.spec.task)
    samples = _samples(bundle, data)
    with (
        progress("replaying the golden frames", None),
        bundle.open(
            engine=engine,
            precision=precision,
            threads=threads,
            allow_rejected=True,
            isolate=not is_vouched_for(bundle),
        ) as net,
    ):
        golden, as_exported, fingerprint = net.golden, net.computes_as_exported, net.engine
    if not samples:
        return Verification(bundle=bundle, engine=fingerprint, golden=golden, as_exported=as_exported)
    origin = engine_request(bundle, bundle.manifest.artefacts[0])
    court = Court(
        spec=bundle.manifest.spec,
        outputs=bundle.manifest.outputs,
        samples=samples,
        tolerance=tolerance,
        threads=threads,
        seed=seed,
        bundle_sha256=origin.bundle_sha256,
        recipe_sha256=origin.recipe_sha256,
        spread=spread,
        metric_name=metric,
        signals=bundle.manifest.trust.signals,
        targets=targets_for(bundle.manifest.spec),
    )
    with kept_workers():
        verdict = _judge(bundle, court, engine, precision, progress)
    data_hash = data_record("evaluation", [sample.image_path for sample in samples])
    written = _write(bundle, verdict, data_hash)
    return Verification(
        bundle=bundle,
        engine=fingerprint,
        golden=golden,
        as_exported=as_exported,
        verdict=verdict,
        data=data_hash,
        written=written,
    )


def _samples(bundle: Bundle, data: Path | None) -> Sequence[Sample]:
    return read_samples(subset_folder(data, "val"), bundle.manifest.spec) if data is not None else ()


def _judge(bundle: Bundle, court: Court, engine: str, precision: str | None, progress: Progress) -> VerdictRecord:
    manifest = bundle.manifest
    name = choose_engine(manifest) if engine == "auto" else engine
    artefact = choose_artefact(manifest, name, precision)
    graph = Graph(entry=artefact.entry, precision=artefact.precision, data=bundle.read(artefact.entry))
    full = Graph(entry=manifest.artefacts[0].entry, precision="fp32", data=bundle.read(manifest.artefacts[0].entry))
    with progress(f"evaluating full precision on {REFERENCE_ENGINE}", len(court.samples)) as advance:
        reference, _ = run_graph(court, full, REFERENCE_ENGINE, advance)
    if graph.entry == full.entry and name == REFERENCE_ENGINE:
        candidate = reference
    else:
        with progress(f"evaluating {graph.precision} on {name}", len(court.samples)) as advance:
            candidate, _ = run_graph(court, graph, name, advance)
    with progress("asking for the laws of the network", None):
        images = answer_targets(court, full, REFERENCE_ENGINE)
        laws = find_laws(court, graph, name, reference, candidate, images)
    judgement = judge_evaluation(court, reference, candidate, laws=laws.checks, remarks=laws.remarks)
    return record(court, graph, name, reference, candidate, judgement)


def _write(bundle: Bundle, verdict: VerdictRecord, data: DataRecord) -> Path:
    path = bundle.path.with_name(f"{bundle.path.name.removesuffix('.physedge')}.verdict.json")
    content = {
        "schema_version": 1,
        "bundle_sha256": bundle.sha256,
        "data": data.model_dump(mode="json"),
        "verdict": verdict.model_dump(mode="json"),
    }
    write_atomically(path, canonical_json(content))
    return path
