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
_CPU_INFO = Path("/proc/cpuinfo")

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
        median_error_ms: Half the width of the 95 % interval of the median on the wall, from the order of the samples
            alone, whatever their distribution.
        cpu_median_error_ms: The same of the median processor time.
    """

    name: str
    samples: int
    median_ms: float
    least_ms: float
    most_ms: float
    percentiles_ms: Mapping[str, float]
    cpu_median_ms: float
    median_error_ms: float
    cpu_median_error_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """What else the machine was doing.

    Attributes:
        load_1min: Runnable processes, averaged over the last minute; NaN where the system does not say.
        processors: Logical processors.
        clock_mhz: Mean of the processors' clocks; NaN where the system does not say.
        governor: How the kernel sets the clock, as `performance`; empty where the system does not say.
    """

    load_1min: float
    processors: int
    clock_mhz: float
    governor: str = ""


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
    clocks = _clocks_mhz()
    governors = {_first_line(path) for path in _CPU_FREQUENCIES.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    return MachineState(
        load_1min=load,
        processors=os.cpu_count() or 1,
        clock_mhz=float(np.mean(clocks)) if clocks else math.nan,
        governor=", ".join(sorted(governors - {""})),
    )


def median_error(times_ms: Sequence[float] | NDArray[np.float64]) -> float:
    """Half the width of the 95 % interval of the median, from the order of the samples alone.

    The interval's ends are the samples of rank n/2 ± 0.98·√n (the normal form of the binomial of ranks); with too few
    samples they are the least and the largest.
    """
    values = np.sort(np.asarray(times_ms, dtype=np.float64))
    count = len(values)
    reach = 0.98 * math.sqrt(count)
    low, high = max(0, math.floor(count / 2 - reach)), min(count - 1, math.ceil(count / 2 + reach))
    return float(values[high] - values[low]) / 2


def _clocks_mhz() -> list[float]:
    """Of every processor, by the kernel's own interface, else as /proc/cpuinfo has it."""
    lines = [_first_line(path) for path in sorted(_CPU_FREQUENCIES.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    clocks = [int(line) / 1000 for line in lines if line.isdigit()]
    if clocks:
        return clocks
    try:
        rows = [row.partition(":") for row in _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()]
        return [float(value) for key, _, value in rows if key.strip() == "cpu MHz"]
    except (OSError, ValueError):
        return []


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").partition("\n")[0].strip()
    except OSError:
        return ""


def _timing(name: str, wall_ms: NDArray[np.float64], cpu_ms: NDArray[np.float64]) -> Timing:
    return Timing(
        name=name,
        samples=len(wall_ms),
        median_ms=float(np.median(wall_ms)),
        least_ms=float(wall_ms.min()),
        most_ms=float(wall_ms.max()),
        percentiles_ms=percentiles_of(wall_ms),
        cpu_median_ms=float(np.median(cpu_ms)),
        median_error_ms=median_error(wall_ms),
        cpu_median_error_ms=median_error(cpu_ms),
    )
