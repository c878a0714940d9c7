"""How long functions take, measured so that they can be compared: in turns, in one run, with the tails they allow.

On a busy machine two runs one after the other compare the machine with itself. Here every round calls each
function once, in an order drawn anew, so that all see the same neighbours and the same clock.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# With fewer samples a percentile is not quoted. From MLPerf's early stopping: if the true percentile were higher, the
# chance to see at most one of so many samples above it is at most 0.01.
PERCENTILE_SAMPLES: Mapping[float, int] = {50.0: 1, 90.0: 64, 99.0: 662, 99.9: 6636}
_CPU_FREQUENCIES = Path("/sys/devices/system/cpu")

Clock = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The times of one function.

    Attributes:
        name: Of the function.
        samples: Calls that were measured.
        median_ms: Median time of a call, by the clock on the wall.
        least_ms: Shortest.
        most_ms: Longest.
        percentiles_ms: Those that the number of samples allows, by percent.
        cpu_median_ms: Median time of the process on all its threads; other processes do not count.
    """

    name: str
    samples: int
    median_ms: float
    least_ms: float
    most_ms: float
    percentiles_ms: Mapping[str, float]
    cpu_median_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """What else the machine was doing.

    Attributes:
        load_1min: Runnable processes, averaged over the last minute; NaN where the system does not say.
        processors: Logical processors.
        clock_mhz: Mean of the processors' clocks; NaN where the system does not say.
    """

    load_1min: float
    processors: int
    clock_mhz: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """One interleaved run.

    Attributes:
        timings: By the order in which the functions were given.
        rounds: Calls of each function that were measured.
        before: The machine at the start.
        after: The machine at the end.
    """

    timings: tuple[Timing, ...]
    rounds: int
    before: MachineState
    after: MachineState

    def timing(self, name: str) -> Timing:
        """The times of the function of this name.

        Raises:
            KeyError: There is none.
        """
        for timing in self.timings:
            if timing.name == name:
                return timing
        raise KeyError(name)

    def to_dict(self) -> dict[str, object]:
        """The same as plain values for JSON; what the system did not say becomes null."""
        plain = asdict(self)
        for state in ("before", "after"):
            plain[state] = {
                key: None if isinstance(value, float) and math.isnan(value) else value
                for key, value in plain[state].items()
            }
        return plain


def run_bench(
    functions: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    generator: np.random.Generator,
    warm_up: int = 3,
    progress: Callable[[int], object] | None = None,
    wall_clock: Clock = time.perf_counter_ns,
    cpu_clock: Clock = time.process_time_ns,
) -> Bench:
    """Call every function `rounds` times, in turns, and time each call.

    Args:
        functions: What to time, by name.
        rounds: Measured calls of each.
        generator: Source of randomness: the order within a round.
        warm_up: Calls of each before, not measured.
        progress: Called with the number of rounds done.
        wall_clock: Nanoseconds that never go back.
        cpu_clock: Nanoseconds of processor time of this process.
    """
    if rounds < 1 or not functions:
        raise ValueError(f"expected at least one round and one function, got {rounds} and {len(functions)}")
    names = list(functions)
    for name in names:
        for _ in range(warm_up):
            functions[name]()
    before = machine_state()
    wall_ns, cpu_ns = np.zeros((2, len(names), rounds))
    for turn in range(rounds):
        for index in generator.permutation(len(names)):
            function = functions[names[index]]
            cpu_start, wall_start = cpu_clock(), wall_clock()
            function()
            wall_ns[index, turn] = wall_clock() - wall_start
            cpu_ns[index, turn] = cpu_clock() - cpu_start
        if progress is not None:
            progress(turn + 1)
    return Bench(
        timings=tuple(_timing(*row) for row in zip(names, wall_ns / 1e6, cpu_ns / 1e6, strict=True)),
        rounds=rounds,
        before=before,
        after=machine_state(),
    )


def quotable_percentiles(samples: int) -> tuple[float, ...]:
    """The percentiles that so many samples allow."""
    return tuple(percent for percent, least in PERCENTILE_SAMPLES.items() if samples >= least)


def percentiles_of(times_ms: Sequence[float] | NDArray[np.float64]) -> dict[str, float]:
    """The percentiles that the number of samples allows, keys as `p99.9`."""
    values = np.asarray(times_ms, dtype=np.float64)
    return {f"p{percent:g}": float(np.percentile(values, percent)) for percent in quotable_percentiles(len(values))}


def machine_state() -> MachineState:
    """The load and the clock of the processors now."""
    try:
        load = os.getloadavg()[0]
    except OSError:
        load = math.nan
    clocks = []
    for path in sorted(_CPU_FREQUENCIES.glob("cpu[0-9]*/cpufreq/scaling_cur_freq")):
        try:
            clocks.append(int(path.read_text()) / 1000)
        except (OSError, ValueError):
            continue
    return MachineState(
        load_1min=load,
        processors=os.cpu_count() or 1,
        clock_mhz=float(np.mean(clocks)) if clocks else math.nan,
    )


def _timing(name: str, wall_ms: NDArray[np.float64], cpu_ms: NDArray[np.float64]) -> Timing:
    return Timing(
        name=name,
        samples=len(wall_ms),
        median_ms=float(np.median(wall_ms)),
        least_ms=float(wall_ms.min()),
        most_ms=float(wall_ms.max()),
        percentiles_ms=percentiles_of(wall_ms),
        cpu_median_ms=float(np.median(cpu_ms)),
    )
