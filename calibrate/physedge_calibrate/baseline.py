"""Whether a run is slower than an earlier one by more than their noise."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from physedge_calibrate.bench import Bench, Timing
from physedge_runtime.errors import GateFailed, UsageError

# A median may move by this share from run to run on an idle machine.
DEFAULT_NOISE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a baseline keeps of one function.

    Attributes:
        median_ms: Median time of a call on the wall.
        median_error_ms: Half the width of its 95 % interval.
        cpu_median_ms: Median processor time of a call.
        cpu_median_error_ms: Half the width of its 95 % interval.
    """

    median_ms: float
    median_error_ms: float
    cpu_median_ms: float
    cpu_median_error_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowdown:
    """A function that became slower.

    Attributes:
        name: Of the function.
        baseline_ms: Its median then.
        median_ms: Its median now.
        ratio: Now over then.
    """

    name: str
    baseline_ms: float
    median_ms: float
    ratio: float


def slowdowns(
    bench: Bench, baseline: Mapping[str, Kept], *, noise: float = DEFAULT_NOISE, by_wall: Collection[str] = ()
) -> tuple[Slowdown, ...]:
    """The functions whose time rose by more than `noise` and by more than their medians are uncertain, worst first.

    Processor time decides, since other processes do not count in it; for the functions in `by_wall`, which wait for
    another device, the time on the wall.

    Args:
        bench: The run now.
        baseline: The earlier run by name, as `baseline_of` gives it.
        noise: Share by which a median may rise.
        by_wall: Names of functions that are compared by the clock on the wall.

    Raises:
        UsageError: PE-CALIB-009, the two runs have no function in common.
    """
    common = [timing for timing in bench.timings if timing.name in baseline]
    if not common:
        raise UsageError(
            "PE-CALIB-009",
            found=f"a baseline of {', '.join(sorted(baseline)) or 'nothing'}",
            expected=f"at least one of {', '.join(timing.name for timing in bench.timings)}",
            next_step="measure the baseline again with the same engines, precisions and threads",
        )
    found = []
    for timing in common:
        then, now = (_deciding(one, timing.name in by_wall) for one in (baseline[timing.name], timing))
        uncertain_ms = math.hypot(then[1], now[1])
        if now[0] > then[0] * (1 + noise) and now[0] - then[0] > uncertain_ms:
            ratio = now[0] / then[0] if then[0] > 0 else math.inf
            found.append(Slowdown(name=timing.name, baseline_ms=then[0], median_ms=now[0], ratio=ratio))
    return tuple(sorted(found, key=lambda entry: -entry.ratio))


def baseline_of(bench: Bench) -> dict[str, Kept]:
    """What to keep of a run for a later comparison, by name."""
    return {
        timing.name: Kept(
            median_ms=timing.median_ms,
            median_error_ms=timing.median_error_ms,
            cpu_median_ms=timing.cpu_median_ms,
            cpu_median_error_ms=timing.cpu_median_error_ms,
        )
        for timing in bench.timings
    }


def refuse_slowdowns(found: tuple[Slowdown, ...], *, noise: float = DEFAULT_NOISE) -> None:
    """Do nothing where nothing became slower.

    Raises:
        GateFailed: PE-CALIB-010, with the functions and the times.
    """
    if not found:
        return
    worst = "; ".join(f"{one.name} {one.baseline_ms:.2f} to {one.median_ms:.2f} ms ({one.ratio:.2f}x)" for one in found)
    raise GateFailed(
        "PE-CALIB-010",
        found=f"slower than the baseline: {worst}",
        expected=f"at most {1 + noise:.2f}x",
        next_step="look for what changed, or measure a new baseline if this is meant",
    )


def _deciding(one: Kept | Timing, by_wall: bool) -> tuple[float, float]:
    """Median and its error in milliseconds."""
    return (one.median_ms, one.median_error_ms) if by_wall else (one.cpu_median_ms, one.cpu_median_error_ms)
