"""How fast a bundle answers on this device: engines x precisions x threads, all in turns, in one run.

Every case answers the bundle's first golden frame, and its answer is held against full precision's: a figure of speed
without one of error would praise a graph that is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.baseline import DEFAULT_NOISE, Kept, Slowdown, slowdowns
from physedge_calibrate.bench import Bench, run_bench
from physedge_runtime.bundle import Bundle
from physedge_runtime.device import this_device
from physedge_runtime.engines import ENGINES, Engine, EngineRequest, open_engine
from physedge_runtime.errors import EnvironmentFault, PhysedgeError, UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.manifest import Artefact
from physedge_runtime.net import check_voltages, choose_artefact, engine_request
from physedge_runtime.resize import prepare

# Enough for a 90th percentile.
DEFAULT_ROUNDS = 64
SCHEMA_VERSION = 1
# They wait for another device, so that the time of this process says little.
TIMED_BY_WALL = frozenset({"tensorrt"})


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchCase:
    """One way to run a bundle.

    Attributes:
        engine: A name of `physedge_runtime.engines.ENGINES`.
        artefact: The graph.
        threads: Of the engine.
    """

    engine: str
    artefact: Artefact
    threads: int

    @property
    def name(self) -> str:
        """For people, and what a baseline is compared by."""
        return f"{self.engine} {self.artefact.precision} {self.threads} thread{'s' if self.threads > 1 else ''}"

    def request(self, bundle: Bundle, options: Mapping[str, Any] | None = None) -> EngineRequest:
        """What the engine is opened with.

        Args:
            bundle: That holds the graph.
            options: As for `engine_request`, for example to profile.
        """
        return engine_request(bundle, self.artefact, threads=self.threads, options=options)

    def open(self, bundle: Bundle, options: Mapping[str, Any] | None = None) -> Engine:
        """The engine, ready to answer; arguments as for `request`."""
        return open_engine(self.engine, self.request(bundle, options))


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """What one case answered, besides its time.

    Attributes:
        case: The case.
        largest_difference: Largest |output - full precision| on the first golden frame.
    """

    case: BenchCase
    largest_difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """One run, with what is needed to repeat it.

    Attributes:
        bundle: The bundle.
        bench: The times, by the names of the cases.
        results: One for each case, in the order of the times.
        left_out: Sentences: what was not measured, and why.
        seed: Of the order within a round.
    """

    bundle: Bundle
    bench: Bench
    results: tuple[CaseResult, ...]
    left_out: tuple[str, ...]
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: the record that `--baseline` reads later."""
        from physedge.deploy.pack import tool_versions

        return {
            "schema_version": SCHEMA_VERSION,
            "kind": "physedge bench",
            "bundle": self.bundle.path.name,
            "bundle_sha256": self.bundle.sha256,
            "device": asdict(this_device()),
            "tools": tool_versions(),
            "seed": self.seed,
            "left_out": list(self.left_out),
            "cases": [
                {
                    "name": result.case.name,
                    "engine": result.case.engine,
                    "precision": result.case.artefact.precision,
                    "graph": result.case.artefact.entry,
                    "int8_mac_share": result.case.artefact.int8_mac_share,
                    "threads": result.case.threads,
                    "largest_difference": result.largest_difference,
                }
                for result in self.results
            ],
            "bench": self.bench.to_dict(),
        }

    def slower_than(self, path: Path, *, noise: float = DEFAULT_NOISE) -> tuple[Slowdown, ...]:
        """The cases that are slower than in an earlier record, by more than the noise.

        Raises:
            UsageError: It is no such record (`PE-BENCH-001`), is of another device (`PE-BENCH-002`), or has no case
                in common (`PE-CALIB-009`).
        """
        by_wall = {result.case.name for result in self.results if result.case.engine in TIMED_BY_WALL}
        return slowdowns(self.bench, _read_baseline(path), noise=noise, by_wall=by_wall)


def bench_cases(
    bundle: Bundle, *, engines: Sequence[str] = (), precisions: Sequence[str] = (), threads: Sequence[int] = ()
) -> tuple[tuple[BenchCase, ...], tuple[str, ...]]:
    """What to measure, and sentences about what cannot be.

    Args:
        bundle: The bundle.
        engines: Names; all that are usable here where empty.
        precisions: `fp32`, `fp16`, `int8`; all that the bundle holds for an engine where empty.
        threads: Of the engines; one, and all cores, where empty.

    Raises:
        UsageError: A named engine or precision is not there (`PE-ENGINE-001`, `PE-ENGINE-003`).
    """
    chosen = tuple(engines) or tuple(name for name, entry in ENGINES.items() if entry.is_usable and name != "fake")
    counts = tuple(threads) or tuple(sorted({1, this_device().cores}))
    held = sorted({artefact.precision for artefact in bundle.manifest.artefacts})
    cases, left_out = [], []
    for engine, precision in product(chosen, tuple(precisions) or held):
        try:
            artefact = choose_artefact(bundle.manifest, engine, precision)
        except UsageError as error:
            if precisions:
                raise
            left_out.append(f"{engine} {precision}: {error.found}")
            continue
        cases += [BenchCase(engine=engine, artefact=artefact, threads=count) for count in counts]
    return tuple(cases), tuple(left_out)


def bench_bundle(
    bundle: Bundle,
    *,
    engines: Sequence[str] = (),
    precisions: Sequence[str] = (),
    threads: Sequence[int] = (),
    rounds: int = DEFAULT_ROUNDS,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> BenchReport:
    """Measure a bundle on this device.

    Args:
        bundle: Read and checked.
        engines: As for `bench_cases`.
        precisions: As for `bench_cases`.
        threads: As for `bench_cases`.
        rounds: Measured inferences of every case.
        seed: Of the order within a round.
        advance: Called after every round.

    Raises:
        UsageError: As `bench_cases`.
        EnvironmentFault: A named engine cannot be opened, or none can (`PE-BENCH-003`).
    """
    cases, left_out = bench_cases(bundle, engines=engines, precisions=precisions, threads=threads)
    inputs, expected = golden_input(bundle)
    refused: dict[str, str] = {}
    with ExitStack() as stack:
        opened: dict[str, tuple[BenchCase, Engine]] = {}
        for case in cases:
            try:
                opened[case.name] = case, stack.enter_context(case.open(bundle))
            except PhysedgeError as error:
                if engines:
                    raise
                refused[f"{case.engine} {case.artefact.precision}"] = error.found
        if not opened:
            raise EnvironmentFault(
                "PE-BENCH-003",
                found="no engine here opens a graph of this bundle",
                expected="at least one engine and graph to time",
                next_step="run `physedge doctor`, or name one with --engine to see why",
            )
        results = tuple(
            CaseResult(case=case, largest_difference=_difference(engine.infer(inputs), expected))
            for case, engine in opened.values()
        )
        bench = run_bench(
            {name: partial(engine.infer, inputs) for name, (_, engine) in opened.items()},
            rounds=rounds,
            generator=np.random.default_rng(seed),
            progress=lambda _done: advance(),
        )
    told = (*left_out, *(f"{name}: {why}" for name, why in refused.items()))
    return BenchReport(bundle=bundle, bench=bench, results=results, left_out=told, seed=seed)


def golden_input(bundle: Bundle) -> tuple[NDArray[Any], dict[str, NDArray[np.float32]]]:
    """The input for the graphs of the first golden frame, and what full precision answers."""
    case, spec = bundle.manifest.golden[0], bundle.manifest.spec
    raw = bundle.read(case.frame)
    if spec.frame is None:
        voltages = np.frombuffer(raw, "<f4").reshape(case.shape)
        inputs: NDArray[Any] = check_voltages(voltages, spec.input_shape)[np.newaxis]
    else:
        inputs = prepare(Frame(pixels=np.frombuffer(raw, np.uint8).reshape(case.shape)), spec.frame)[np.newaxis]
    return inputs, {name: np.frombuffer(bundle.read(entry), "<f4") for name, entry in case.outputs.items()}


def _difference(answers: Mapping[str, NDArray[np.float32]], expected: Mapping[str, NDArray[np.float32]]) -> float:
    return max(float(np.abs(answers[name].reshape(-1) - values).max()) for name, values in expected.items())


def _read_baseline(path: Path) -> dict[str, Kept]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["kind"] != "physedge bench" or record["schema_version"] > SCHEMA_VERSION:
            raise ValueError("a record of another kind")
        kept = {
            row["name"]: Kept(**{name: float(row[name]) for name in Kept.__dataclass_fields__})
            for row in record["bench"]["timings"]
        }
        device = record["device"]
        there = {name: device[name] for name in ("processor", "cores")}
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "PE-BENCH-001",
            found=f"{path} is no record of a run ({error})",
            expected="a file that `physedge bench` wrote",
            next_step="measure a baseline with `physedge bench --output FILE`",
        ) from error
    here = {name: getattr(this_device(), name) for name in there}
    if there != here:
        raise UsageError(
            "PE-BENCH-002",
            found=f"a baseline of {there['processor']} with {there['cores']} cores",
            expected=f"one of this device, {here['processor']} with {here['cores']} cores",
            next_step="measure a baseline on this device",
        )
    return kept
