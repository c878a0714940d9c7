"""Where the time of a bundle goes, engine by engine and precision by precision."""

from __future__ import annotations

from collections.abc import Sequence

from physedge.deploy.bench import BenchCase, golden_input
from physedge_calibrate.profile import Profile, profile_graph
from physedge_calibrate.profile_readers import READERS
from physedge_runtime.bundle import Bundle
from physedge_runtime.errors import UsageError


def profile_cases(bundle: Bundle, cases: Sequence[BenchCase], *, rounds: int) -> tuple[Profile, ...]:
    """The profile of every engine and graph among some cases, on one thread, for the first golden frame.

    Args:
        bundle: Read and checked.
        cases: Of `bench_cases`; those of engines without counters are passed over.
        rounds: Measured inferences of each.

    Raises:
        UsageError: No engine among them has counters (`PE-BENCH-004`).
        EnvironmentFault: `onnx` is not installed (`PE-ENV-001`).
    """
    chosen = {(case.engine, case.artefact.entry): case for case in cases if case.engine in READERS}
    if not chosen:
        raise UsageError(
            "PE-BENCH-004",
            found=f"a profile of {', '.join(sorted({case.engine for case in cases}))}",
            expected=f"one of {', '.join(READERS)} among the engines",
            next_step="name one of these with --engine, or leave --profile out",
        )
    inputs, _ = golden_input(bundle)
    return tuple(
        profile_graph(
            case.engine,
            case.request(bundle),
            inputs,
            title=f"{case.engine} {case.artefact.precision}",
            rounds=rounds,
        )
        for case in chosen.values()
    )
