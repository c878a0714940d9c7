"""Whether a run is slower than an earlier one by more than their noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from physedge_calibrate.bench import Bench, Timing
from physedge_runtime.errors import GateFailed, UsageError

# A median may move by this share from run to run on an idle machine.
DEFAULT_NOISE = 0.05


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


def slowdowns(bench: Bench, baseline: Mapping[str, float], *, noise: float = DEFAULT_NOISE) -> tuple[Slowdown, ...]:
    """The functions whose processor time rose by more than `noise`, the worst first.

    Args:
        bench: The run now.
        baseline: Median processor times in milliseconds of the earlier run, by name, as `baseline_of` gives them.
        noise: Share by which a median may rise.

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
    found = [_slowdown(timing, baseline[timing.name]) for timing in common]
    slower = [entry for entry in found if entry.ratio > 1 + noise]
    return tuple(sorted(slower, key=lambda entry: -entry.ratio))


def baseline_of(bench: Bench) -> dict[str, float]:
    """What to keep of a run for a later comparison: median processor times in milliseconds, by name."""
    return {timing.name: timing.cpu_median_ms for timing in bench.timings}


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


def _slowdown(timing: Timing, baseline_ms: float) -> Slowdown:
    ratio = timing.cpu_median_ms / baseline_ms if baseline_ms > 0 else float("inf")
    return Slowdown(name=timing.name, baseline_ms=baseline_ms, median_ms=timing.cpu_median_ms, ratio=ratio)
