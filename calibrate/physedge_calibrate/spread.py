"""One evaluation over several processes, or over the machines of a Ray cluster; the same figures as in one.

The first few are answered in this process: where all of them would take it less than another one takes to start, none
is. The others are cut into runs of neighbours, each run is evaluated where there is room, and the parts are put
together in the order of the samples. Every process answers on one thread: the figures do not depend on how many there
were.
"""

from __future__ import annotations

import dataclasses
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any, Protocol, Self, cast

import numpy as np

from physedge_calibrate.evaluate import evaluate
from physedge_calibrate.samples import OF_THE_SET, Evaluation, Infer, Sample
from physedge_runtime.engines import ENGINES, Engine, EngineRequest, open_engine
from physedge_runtime.errors import EnvironmentFault, missing_extra
from physedge_runtime.spec import ModelSpec

# Below this many samples a process, starting one costs more than it saves.
LEAST_SAMPLES = 12
# What the first process costs until it answers, on the wall: an interpreter, its imports and an engine.
_START_S = 3.0
# Runs a process, so that one slow run does not keep the others waiting.
_RUNS = 4
LOCAL_RAY = "local"
_KNOCK_S = 10.0


class Watch(Protocol):
    """Sees what goes in and comes out of an engine; travels to other processes and back."""

    def fresh(self) -> Self:
        """One that has seen nothing."""
        ...

    def extend(self, later: Any) -> None:
        """Take over what another one saw, after what this one saw."""
        ...

    def around(self, infer: Infer) -> Infer:
        """The same engine call, watched."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One run of neighbours: where it starts, how it scores, what answered, what was seen."""

    start: int
    evaluation: Evaluation
    fingerprint: str
    watch: Watch | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineJob:
    """A graph on an engine, as it travels to another process.

    Attributes:
        engine: A name of `physedge_runtime.engines.ENGINES`.
        request: What it is opened with.
        spec: The declaration of the network.
    """

    engine: str
    request: EngineRequest
    spec: ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Where an evaluation runs.

    Attributes:
        processes: On this machine; 1 stays in this process.
        ray: Address of a Ray cluster, or `local` for one that is started here and ends with the evaluation. Its
            machines need physedge and the same paths to the data.
    """

    processes: int = 1
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ValueError(f"expected at least one process, got {self.processes}")


HERE = Spread()


def evaluate_spread(
    job: EngineJob,
    samples: Sequence[Sample],
    *,
    spread: Spread = HERE,
    advance: Callable[[], object] = lambda: None,
    watch: Watch | None = None,
) -> tuple[Evaluation, str]:
    """Evaluate a graph on an engine; gives the evaluation and the engine's fingerprint.

    Args:
        job: Graph and engine.
        samples: In the order in which they are scored.
        spread: Where it runs.
        advance: Called after every sample.
        watch: Sees every sample, in their order.

    Raises:
        EnvironmentFault: Ray is asked for and not installed (`PE-ENV-001`), or cannot be reached (`PE-RAY-001`).
    """
    # A device of its own answers one process after the other.
    most = 1 if ENGINES[job.engine].device_files else len(samples) // LEAST_SAMPLES
    processes = min(spread.processes, max(1, most))
    if spread.ray is None and processes == 1:
        with open_engine(job.engine, job.request) as engine:
            infer = watch.around(engine.infer) if watch is not None else engine.infer
            return evaluate(infer, samples, job.spec, advance=advance), engine.fingerprint
    job = replace(job, request=replace(job.request, threads=1))
    blank = watch.fresh() if watch is not None else None
    found: dict[int, _Part] = {}
    begun = 0
    if spread.ray is None and processes not in _kept:
        for part in _begun_here(job, samples, blank, processes, advance):
            found[part.start] = part
            begun += len(part.evaluation)
    parts: Iterator[_Part] = iter(())
    if spread.ray is not None:
        parts = _over_ray(job, samples, blank, spread.ray)
    elif begun < len(samples):
        parts = _over_processes(job, samples, blank, processes, begun)
    for part in parts:
        found[part.start] = part
        for _ in range(len(part.evaluation)):
            advance()
    ordered = [found[start] for start in sorted(found)]
    if watch is not None:
        for part in ordered:
            watch.extend(part.watch)
    return merged([part.evaluation for part in ordered]), ordered[0].fingerprint


def merged(parts: Sequence[Evaluation]) -> Evaluation:
    """One evaluation of all samples from those of consecutive runs.

    Raises:
        ValueError: The parts are of different kinds, or disagree about what belongs to the whole set.
    """
    if len({type(part) for part in parts}) != 1:
        raise ValueError(f"expected parts of one kind, got {sorted({type(part).__name__ for part in parts})}")
    lengths = [len(part) for part in parts]
    return cast("Evaluation", _merged_records(list(parts), lengths))


def _merged_records(records: list[Any], lengths: list[int]) -> Any:
    values = {}
    for field in dataclasses.fields(records[0]):
        column = [getattr(record, field.name) for record in records]
        of_the_set = bool(field.metadata.get(OF_THE_SET))
        values[field.name] = column[0] if of_the_set else _merged_values(field.name, column, lengths)
    return type(records[0])(**values)


def _merged_values(name: str, column: list[Any], lengths: list[int]) -> Any:
    first = column[0]
    if dataclasses.is_dataclass(first):
        return _merged_records(column, lengths)
    if isinstance(first, dict):
        return {key: _merged_values(f"{name}.{key}", [value[key] for value in column], lengths) for key in first}
    if isinstance(first, tuple | list | np.ndarray) and [len(value) for value in column] == lengths:
        if isinstance(first, np.ndarray):
            return np.concatenate(column)
        return type(first)(entry for value in column for entry in value)
    if any(value != first for value in column[1:]):
        raise ValueError(f"the parts of an evaluation disagree about {name}, which is no column of samples")
    return first


def _begun_here(
    job: EngineJob, samples: Sequence[Sample], blank: Watch | None, processes: int, advance: Callable[[], object]
) -> Iterator[_Part]:
    """The first samples, answered in this process; all of them where starting others would take longer."""
    with open_engine(job.engine, job.request) as engine:

        def run(start: int, end: int) -> _Part:
            watch = blank.fresh() if blank is not None else None
            infer = watch.around(engine.infer) if watch is not None else engine.infer
            evaluation = evaluate(infer, samples[start:end], job.spec, advance=advance)
            return _Part(start=start, evaluation=evaluation, fingerprint=engine.fingerprint, watch=watch)

        began = time.perf_counter()
        yield run(0, LEAST_SAMPLES)
        rest = len(samples) - LEAST_SAMPLES
        rest_s = (time.perf_counter() - began) / LEAST_SAMPLES * rest
        if rest > 0 and rest_s * (1.0 - 1.0 / processes) < _START_S:
            yield run(LEAST_SAMPLES, len(samples))


def _runs(count: int, processes: int, begun: int = 0) -> Iterator[tuple[int, int]]:
    """Start and end of each run of what has not begun."""
    size = max(1, -(-(count - begun) // (processes * _RUNS)))
    for start in range(begun, count, size):
        yield start, min(start + size, count)


@contextmanager
def kept_workers() -> Iterator[None]:
    """Within this block the processes that evaluate stay between one evaluation and the next."""
    global _keeper
    if _keeper is not None:
        yield
        return
    with ExitStack() as stack:
        _keeper = stack
        try:
            yield
        finally:
            _keeper = None
            _kept.clear()


_keeper: ExitStack | None = None
_kept: dict[int, ProcessPoolExecutor] = {}


def _workers(processes: int, stack: ExitStack) -> ProcessPoolExecutor:
    """A pool that ends with the stack; within `kept_workers` the one that is there already."""
    if _keeper is not None:
        if processes not in _kept:
            _kept[processes] = _keeper.enter_context(_pool(processes))
        return _kept[processes]
    return stack.enter_context(_pool(processes))


def _pool(processes: int) -> ProcessPoolExecutor:
    # A forked copy of a process with threads (engines, OpenMP) may hang.
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


def _over_processes(
    job: EngineJob, samples: Sequence[Sample], blank: Watch | None, processes: int, begun: int
) -> Iterator[_Part]:
    with ExitStack() as stack:
        pool = _workers(processes, stack)
        waiting: list[Future[_Part]] = [
            pool.submit(_answer_on, job, start, samples[start:end], blank)
            for start, end in _runs(len(samples), processes, begun)
        ]
        try:
            for done in as_completed(waiting):
                yield done.result()
        finally:
            for one in waiting:
                one.cancel()


# Of a process that evaluates runs: what it has open.
_job: EngineJob | None = None
_engine: Engine | None = None


def _answer_on(job: EngineJob, start: int, samples: Sequence[Sample], blank: Watch | None) -> _Part:
    """One run in a process that may have the engine open from the run before."""
    global _job, _engine
    if _engine is None or _job != job:
        if _engine is not None:
            _engine.close()
        _job, _engine = job, open_engine(job.engine, job.request)
    watch = blank.fresh() if blank is not None else None
    infer = watch.around(_engine.infer) if watch is not None else _engine.infer
    evaluation = evaluate(infer, samples, job.spec)
    return _Part(start=start, evaluation=evaluation, fingerprint=_engine.fingerprint, watch=watch)


def _over_ray(job: EngineJob, samples: Sequence[Sample], blank: Watch | None, address: str) -> Iterator[_Part]:
    # Read at the import, and by the cluster that is started here.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise missing_extra("ray", "ray") from error
    started_here = not ray.is_initialized()
    if started_here:
        _reach(address)
    try:
        processes = max(1, int(ray.cluster_resources().get("CPU", 1)))
        shared = ray.put(job)
        remote = ray.remote(num_cpus=1, max_retries=2)(_answer_on)
        runs = _runs(len(samples), processes)
        waiting = [remote.remote(shared, start, samples[start:end], blank) for start, end in runs]
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=1)
            yield ray.get(ready[0])
    finally:
        if started_here:
            ray.shutdown()


def _reach(address: str) -> None:
    import ray

    options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
    if address == LOCAL_RAY:
        options["include_dashboard"] = False
    try:
        _knock(address)
        ray.init(address=address, **options)
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise EnvironmentFault(
            "PE-RAY-001",
            found=f"no Ray cluster at {address} ({lines[0][:200] if lines else type(error).__name__})",
            expected="the address of a running cluster, or `local`",
            next_step="start one with `ray start --head --disable-usage-stats`, or leave --ray out",
        ) from error


def _knock(address: str) -> None:
    """Connect to HOST:PORT and hang up: Ray itself would try for minutes where nobody listens."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit() and "/" not in host:
        with socket.create_connection((host, int(port)), timeout=_KNOCK_S):
            pass
