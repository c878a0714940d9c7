"""How a time is spread over many frames, in memory that does not grow; percentiles only where enough was measured.

A percentile is quoted from the number of samples at which early stopping of MLPerf Inference allows it: the least at
which a percentile that is missed would, with a confidence of 0.99, show in more than one sample. 64 for p90, 662 for
p99, 6,636 for p99.9.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass

_LEAST_MS = 1e-3
_LARGEST_MS = 1e6
_BIN_RATIO = 1.005
_LOG_RATIO = math.log(_BIN_RATIO)
_BINS = math.ceil(math.log(_LARGEST_MS / _LEAST_MS) / _LOG_RATIO) + 1

PERCENTILES = {"p90_ms": (0.90, 64), "p99_ms": (0.99, 662), "p999_ms": (0.999, 6636)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How a time is spread.

    Attributes:
        samples: How many.
        median_ms: Within 0.5 %; None without a sample.
        p90_ms: From 64 samples on, else None.
        p99_ms: From 662 samples on, else None.
        p999_ms: From 6,636 samples on, else None.
        largest_ms: Exact; None without a sample.
    """

    samples: int
    median_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    p999_ms: float | None = None
    largest_ms: float | None = None

    def to_dict(self) -> dict[str, float | int | None]:
        """For JSON."""
        return {
            "samples": self.samples,
            "median_ms": self.median_ms,
            "p90_ms": self.p90_ms,
            "p99_ms": self.p99_ms,
            "p999_ms": self.p999_ms,
            "largest_ms": self.largest_ms,
        }

    def __str__(self) -> str:
        if self.median_ms is None:
            return "no sample"
        parts = [f"median {self.median_ms:.2f}"]
        named = (("p90", self.p90_ms), ("p99", self.p99_ms), ("p99.9", self.p999_ms), ("largest", self.largest_ms))
        parts += [f"{name} {value:.2f}" for name, value in named if value is not None]
        return ", ".join(parts) + " ms"


class SpreadCounter:
    """Counts times into bins that grow by 0.5 %, from a microsecond to a thousand seconds: 33 kB, whatever comes."""

    def __init__(self) -> None:
        self._counts = array("Q", bytes(8 * _BINS))
        self._samples = 0
        self._largest_ms = 0.0

    def add(self, time_ms: float) -> None:
        """Count one time; what is below a microsecond counts as one."""
        index = int(math.log(max(time_ms, _LEAST_MS) / _LEAST_MS) / _LOG_RATIO)
        self._counts[min(index, _BINS - 1)] += 1
        self._samples += 1
        self._largest_ms = max(self._largest_ms, time_ms)

    def spread(self) -> Spread:
        """What has been counted so far."""
        if not self._samples:
            return Spread(samples=0)
        quoted = {
            name: self._quantile(share) for name, (share, needed) in PERCENTILES.items() if self._samples >= needed
        }
        return Spread(
            samples=self._samples,
            median_ms=self._quantile(0.5),
            largest_ms=round(self._largest_ms, 4),
            **quoted,
        )

    def _quantile(self, share: float) -> float:
        """The smallest bin that has at least this share of the samples at or below it; its middle."""
        wanted = math.ceil(share * self._samples)
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= wanted:
                middle_ms: float = _LEAST_MS * _BIN_RATIO ** (index + 0.5)
                return round(min(middle_ms, self._largest_ms), 4)
        return round(self._largest_ms, 4)
