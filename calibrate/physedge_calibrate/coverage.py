"""How well the chosen calibration images cover the images they were chosen from: as text, as data, as a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.image_statistics import STATISTIC_NAMES, standardised

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_POOL_STYLE: dict[str, Any] = {"color": "#c3cad3", "label": "pool"}
_CHOSEN_STYLE: dict[str, Any] = {"color": "#1763a6", "label": "chosen", "histtype": "step", "linewidth": 1.8}
_SHOWN_STRATA = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticCoverage:
    """One statistic in the pool and among the chosen.

    Attributes:
        name: Of the statistic.
        pool_low: 1st percentile in the pool.
        pool_median: Median in the pool.
        pool_high: 99th percentile in the pool.
        chosen_low: Smallest value among the chosen.
        chosen_median: Median among the chosen.
        chosen_high: Largest value among the chosen.
        covered_fraction: Share of the pool's images that lie between the smallest and the largest chosen value.
    """

    name: str
    pool_low: float
    pool_median: float
    pool_high: float
    chosen_low: float
    chosen_median: float
    chosen_high: float
    covered_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumCoverage:
    """Images of one stratum in the pool and among the chosen."""

    name: str
    pool_count: int
    chosen_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """The coverage of a pool of images by those chosen from it.

    Attributes:
        pool_count: Images in the pool.
        chosen_count: Images chosen.
        strata: Counts of each stratum, by name.
        statistics: Each statistic.
        nearest_median: Median over the pool of the distance to the nearest chosen image, in spreads of the pool.
        nearest_largest: The largest such distance.
    """

    pool_count: int
    chosen_count: int
    strata: tuple[StratumCoverage, ...]
    statistics: tuple[StatisticCoverage, ...]
    nearest_median: float
    nearest_largest: float

    def to_dict(self) -> dict[str, object]:
        """The same as plain values for JSON."""
        return asdict(self)

    def to_text(self) -> str:
        """A table for a terminal."""
        lines = [
            f"{self.chosen_count} of {self.pool_count} images; the nearest chosen one is {self.nearest_median:.2f} "
            f"spreads away at the median and {self.nearest_largest:.2f} at most",
            "",
            f"{'stratum':<20}{'pool':>8}{'chosen':>8}",
            *(f"{row.name:<20}{row.pool_count:>8}{row.chosen_count:>8}" for row in self.strata),
            "",
            f"{'statistic':<20}{'pool p1 / median / p99':>26}{'chosen least / median / most':>32}{'covered':>10}",
        ]
        for row in self.statistics:
            pool = f"{row.pool_low:.3f} / {row.pool_median:.3f} / {row.pool_high:.3f}"
            chosen = f"{row.chosen_low:.3f} / {row.chosen_median:.3f} / {row.chosen_high:.3f}"
            lines.append(f"{row.name:<20}{pool:>26}{chosen:>32}{row.covered_fraction:>10.3f}")
        return "\n".join(lines) + "\n"


def coverage(
    statistics: NDArray[np.float64], strata: Sequence[str], chosen: Sequence[int] | NDArray[np.intp]
) -> Coverage:
    """How the images at the indices `chosen` cover all.

    Args:
        statistics: (image, statistic) of the pool.
        strata: Of each image in the pool.
        chosen: Indices of the chosen ones.
    """
    from scipy.spatial import KDTree

    indices = np.asarray(chosen, dtype=np.intp)
    if len(indices) == 0:
        raise ValueError("expected at least one chosen image")
    space = standardised(statistics)
    nearest = np.asarray(KDTree(space[indices]).query(space)[0])
    pool_counts, chosen_counts = Counter(strata), Counter(strata[index] for index in indices)
    return Coverage(
        pool_count=len(statistics),
        chosen_count=len(indices),
        strata=tuple(
            StratumCoverage(name=name, pool_count=pool_counts[name], chosen_count=chosen_counts[name])
            for name in sorted(pool_counts)
        ),
        statistics=tuple(
            _one_statistic(name, statistics[:, column], statistics[indices, column])
            for column, name in enumerate(STATISTIC_NAMES)
        ),
        nearest_median=float(np.median(nearest)),
        nearest_largest=float(nearest.max()),
    )


def draw_coverage(
    path: Path, statistics: NDArray[np.float64], strata: Sequence[str], chosen: Sequence[int] | NDArray[np.intp]
) -> None:
    """Write a PNG: the distribution of each statistic in the pool and among the chosen, and the strata."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    indices = np.asarray(chosen, dtype=np.intp)
    figure = Figure(figsize=(12, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 4)
    for axis, name, column in zip(axes.flat, STATISTIC_NAMES, statistics.T, strict=False):
        # Grey pictures have a saturation of 0 up to rounding: no 24 bins fit between two neighbouring numbers.
        column = np.round(column, 9)
        edges = np.histogram_bin_edges(column, bins=24)
        for values, style in ((column, _POOL_STYLE), (column[indices], _CHOSEN_STYLE)):
            axis.hist(values, edges.tolist(), weights=np.full(len(values), 1 / len(values)), **style)
        axis.set_title(name.replace("_", " "), fontsize=10)
        axis.tick_params(labelsize=8)
    _draw_strata(axes.flat[len(STATISTIC_NAMES)], strata, indices)
    axes.flat[0].legend(loc="upper right", fontsize=8, frameon=False)
    figure.suptitle(f"Calibration images: {len(indices)} of {len(statistics)}, shares of images", fontsize=12)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _draw_strata(axis: Axes, strata: Sequence[str], indices: NDArray[np.intp]) -> None:
    names = sorted(set(strata))[:_SHOWN_STRATA]
    pool, chosen = Counter(strata), Counter(strata[index] for index in indices)
    rows = np.arange(len(names))
    axis.barh(rows, [pool[name] for name in names], color=_POOL_STYLE["color"])
    axis.barh(rows, [chosen[name] for name in names], height=0.4, color=_CHOSEN_STYLE["color"])
    axis.set_yticks(rows, names)
    axis.invert_yaxis()
    axis.set_title("images by stratum", fontsize=10)
    axis.tick_params(labelsize=8)


def _one_statistic(name: str, pool: NDArray[np.float64], chosen: NDArray[np.float64]) -> StatisticCoverage:
    low, middle, high = (float(value) for value in np.percentile(pool, [1, 50, 99]))
    least, most = float(chosen.min()), float(chosen.max())
    return StatisticCoverage(
        name=name,
        pool_low=low,
        pool_median=middle,
        pool_high=high,
        chosen_low=least,
        chosen_median=float(np.median(chosen)),
        chosen_high=most,
        covered_fraction=float(((pool >= least) & (pool <= most)).mean()),
    )
