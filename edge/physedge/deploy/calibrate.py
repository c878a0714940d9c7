"""`calibrate`: choose pictures, quantise and report, without a bundle and without a verdict.

The graphs are tried on further pictures of the pool: how far they answer as full precision does. That needs no truth,
and it is no verdict; `export --data` gives one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge.deploy.calibration import Calibration, calibration_pool, choose_calibration
from physedge.deploy.candidates import Made, make_candidates
from physedge.deploy.gpu import signed_graph
from physedge.deploy.judge import REFERENCE_ENGINE, Graph
from physedge.deploy.network import NetworkChoice, find_network
from physedge.deploy.progress import Progress, no_progress
from physedge.deploy.traced import trace_network
from physedge_calibrate.agreement import agreement
from physedge_calibrate.dataset import subset_folder
from physedge_calibrate.evaluate import read_samples
from physedge_calibrate.sampling import DEFAULT_COUNT
from physedge_calibrate.tolerance import Tolerance, standard
from physedge_runtime.bundle import write_atomically
from physedge_runtime.device import this_device
from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.errors import UsageError
from physedge_runtime.manifest import canonical_json
from physedge_runtime.spec import ModelSpec

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOptions:
    """What `physedge calibrate` was asked for.

    Attributes:
        choice: The network.
        calibration: Folder of pictures to choose from.
        data: Folder of evaluation data that must share no picture with the pool.
        target: A name of `physedge_export.targets.TARGETS`.
        output: Folder for what is written.
        count: Pictures to choose.
        strata: A CSV file or a pattern, as for `named_strata`.
        tolerance: What accuracy control aims at.
        threads: Of the engines.
        seed: Of the choice.
    """

    choice: NetworkChoice = field(default_factory=NetworkChoice)
    calibration: Path
    data: Path | None = None
    target: str = REFERENCE_ENGINE
    output: Path = Path("build/calibration")
    count: int = DEFAULT_COUNT
    strata: str | None = None
    tolerance: Tolerance = field(default_factory=standard)
    threads: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """How a quantised graph answers the further pictures.

    Attributes:
        made: The graph.
        agreement: Mean agreement with full precision, 1 for the same answers.
        least_agreement: Of the picture that agrees least.
        largest_difference: Largest |output - full precision|.
    """

    made: Made
    agreement: float
    least_agreement: float
    largest_difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateReport:
    """What `calibrate` wrote.

    Attributes:
        folder: With the files.
        files: Their names.
        tried: The graphs.
        trials: Pictures they were tried on.
        statements: Sentences for people.
    """

    folder: Path
    files: tuple[str, ...]
    tried: tuple[Tried, ...]
    trials: int
    statements: tuple[str, ...]


def calibrate(options: CalibrateOptions, progress: Progress = no_progress) -> CalibrateReport:
    """Choose calibration pictures, quantise for a target, and write graphs, lists, coverage and sensitivity.

    Args:
        options: What was asked for.
        progress: As for `export`.

    Raises:
        UsageError: A folder or an option cannot be used, or a leak; nothing was written.
        BuildError: The network cannot be traced or quantised; nothing was written.
    """
    from physedge_export.targets import find_target

    find_target(options.target)
    network = find_network(options.choice)
    spec = network.spec
    if spec.frame is None:
        raise UsageError(
            "PE-CALIB-011",
            found=f"a network whose input are {spec.input_shape[0]} voltages",
            expected="a network that takes pictures",
            next_step="use `physedge export --calib`, which reads frames of voltages",
        )
    pool = calibration_pool(options.calibration)
    samples = read_samples(subset_folder(options.data, "val"), spec) if options.data else ()
    with progress("choosing calibration pictures, looking for leaks", len(pool) + len(samples)) as advance:
        calibration = choose_calibration(
            options.calibration,
            pool,
            spec.frame,
            samples,
            seed=options.seed,
            strata=options.strata,
            count=options.count,
            advance=advance,
        )
    with progress("tracing to ONNX", None):
        module = network.build() if network.onnx is None else None
        traced, _ = trace_network(network, module, options.target)
    if options.target == "tensorrt":
        graph, quantised = signed_graph(traced, calibration)
        made: tuple[Made, ...] = (Made(graph=graph, method=quantised.method, int8_mac_share=quantised.int8_mac_share),)
        evidence: Mapping[str, bytes] = {}
        told: tuple[str, ...] = ("computed as written in ONNX Runtime: no GPU judged it",)
    else:
        found = make_candidates(
            traced,
            calibration,
            spec,
            options.target,
            every=True,
            tolerance=options.tolerance,
            threads=options.threads or this_device().cores,
            progress=progress,
        )
        made, evidence, told = found.made, found.evidence, found.statements
    full = Graph(entry="model.onnx", precision="fp32", data=traced.model)
    shapes = {output.name: (1, *output.shape[1:]) for output in traced.outputs}
    with progress("trying the graphs on further pictures", len(made)) as advance:
        reference = _answers(full, REFERENCE_ENGINE, spec, shapes, calibration, options)
        tried = []
        for one in made:
            tried.append(_try(one, reference, spec, shapes, calibration, options))
            advance()
    return _write(options, calibration, tried, evidence, (f"from {network.origin}", calibration.summary, *told))


def _answers(
    graph: Graph,
    engine: str,
    spec: ModelSpec,
    shapes: Mapping[str, tuple[int, ...]],
    calibration: Calibration,
    options: CalibrateOptions,
) -> list[dict[str, NDArray[np.float32]]]:
    request = EngineRequest(
        graph=graph.data,
        graph_sha256=graph.sha256,
        input_shape=(1, *spec.input_shape),
        outputs=shapes,
        threads=options.threads,
        options={"optimise": options.target != "tensorrt"},
    )
    with open_engine(engine, request) as opened:
        return [opened.infer(np.ascontiguousarray(values)[np.newaxis]) for values in calibration.trials]


def _try(
    made: Made,
    reference: Sequence[dict[str, NDArray[np.float32]]],
    spec: ModelSpec,
    shapes: Mapping[str, tuple[int, ...]],
    calibration: Calibration,
    options: CalibrateOptions,
) -> Tried:
    engine = REFERENCE_ENGINE if options.target == "tensorrt" else options.target
    answers = _answers(made.graph, engine, spec, shapes, calibration, options)
    agreements = [agreement(spec, *pair) for pair in zip(reference, answers, strict=True)]
    return Tried(
        made=made,
        agreement=float(np.mean(agreements)),
        least_agreement=float(np.min(agreements)),
        largest_difference=max(
            float(np.abs(answer[name] - known[name]).max())
            for known, answer in zip(reference, answers, strict=True)
            for name in known
        ),
    )


def _write(
    options: CalibrateOptions,
    calibration: Calibration,
    tried: Sequence[Tried],
    evidence: Mapping[str, bytes],
    statements: tuple[str, ...],
) -> CalibrateReport:
    record: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "target": options.target,
        "device": str(this_device()),
        "seed": options.seed,
        "calibration_sha256": calibration.chosen.sha256,
        "trials": len(calibration.trials),
        "graphs": [
            {
                "file": one.made.graph.entry,
                "sha256": one.made.graph.sha256,
                "size_bytes": len(one.made.graph.data),
                "method": one.made.method,
                "int8_mac_share": one.made.int8_mac_share,
                "agreement": one.agreement,
                "least_agreement": one.least_agreement,
                "largest_difference": one.largest_difference,
            }
            for one in tried
        ],
        "statements": list(statements),
    }
    files = {Path(entry).name: data for entry, data in {**calibration.evidence, **evidence}.items()}
    files |= {one.made.graph.entry: one.made.graph.data for one in tried}
    files["calibration.json"] = canonical_json(record)
    options.output.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomically(options.output / name, data)
    return CalibrateReport(
        folder=options.output,
        files=tuple(sorted(files)),
        tried=tuple(tried),
        trials=len(calibration.trials),
        statements=statements,
    )
