"""Which images a network is calibrated with: every stratum alike, and within a stratum as different as can be.

The ranges that a calibration finds are those of its most extreme images, so images are taken one by one, each
the one that is farthest from all taken so far (Gonzalez 1985), in the space of the image statistics. That covers
the set with a radius at most twice the smallest possible one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.image_statistics import standardised
from physedge_runtime.errors import UsageError

DEFAULT_COUNT = 128
MINIMUM_COUNT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSet:
    """The images that were chosen, as evidence.

    Attributes:
        names: Of the chosen images.
        sha256s: Of their files, in the same order.
        strata: Of each.
        indices: Of each in the pool.
        pool_size: Images there were to choose from.
        seed: Of the choice.
    """

    names: tuple[str, ...]
    sha256s: tuple[str, ...]
    strata: tuple[str, ...]
    indices: tuple[int, ...]
    pool_size: int
    seed: int

    def __post_init__(self) -> None:
        lengths = {len(self.names), len(self.sha256s), len(self.strata), len(self.indices)}
        if len(lengths) != 1:
            raise ValueError(f"expected one name, hash, stratum and index an image, got {sorted(lengths)}")

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sha256(self) -> str:
        """One hash over the sorted hashes of all files: names and order do not matter."""
        return hashlib.sha256("\n".join(sorted(self.sha256s)).encode()).hexdigest()

    def to_dict(self) -> dict[str, object]:
        """The same as plain values for JSON."""
        return {
            "count": len(self),
            "pool_size": self.pool_size,
            "seed": self.seed,
            "sha256": self.sha256,
            "images": [
                {"name": name, "sha256": digest, "stratum": stratum}
                for name, digest, stratum in zip(self.names, self.sha256s, self.strata, strict=True)
            ],
        }


def choose_calibration_set(
    names: Sequence[str],
    sha256s: Sequence[str],
    statistics: NDArray[np.float64],
    strata: Sequence[str],
    *,
    count: int = DEFAULT_COUNT,
    seed: int = 0,
) -> CalibrationSet:
    """The images to calibrate with, `count` of them or all there are.

    Args:
        names: Of the images in the pool.
        sha256s: Of their files.
        statistics: (image, statistic), as `image_statistics.statistics_table` gives it.
        strata: Of each image.
        count: Images to choose.
        seed: Of the choice.

    Raises:
        UsageError: PE-CALIB-001, no images; PE-CALIB-006, fewer than 8.
    """
    if len(names) == 0:
        raise UsageError(
            "PE-CALIB-001",
            found="no calibration images",
            expected="at least one image of the kind that the device will see",
            next_step="name a folder of training images with --calib DIR",
        )
    if min(len(names), count) < MINIMUM_COUNT:
        raise UsageError(
            "PE-CALIB-006",
            found=f"{min(len(names), count)} calibration images",
            expected=f"at least {MINIMUM_COUNT}, better {DEFAULT_COUNT}",
            next_step="name a folder with more training images with --calib DIR",
        )
    found = choose_indices(statistics, strata, count=count, generator=np.random.default_rng(seed))
    chosen = tuple(int(index) for index in found)
    return CalibrationSet(
        names=tuple(names[index] for index in chosen),
        sha256s=tuple(sha256s[index] for index in chosen),
        strata=tuple(strata[index] for index in chosen),
        indices=chosen,
        pool_size=len(names),
        seed=seed,
    )


def choose_indices(
    statistics: NDArray[np.float64],
    strata: Sequence[str],
    *,
    count: int,
    generator: np.random.Generator,
) -> NDArray[np.intp]:
    """Indices of the chosen images, ascending; at most `count`, fewer where there are fewer.

    Args:
        statistics: (image, statistic).
        strata: Of each image.
        count: Images to choose.
        generator: Source of randomness: the first image of each stratum.
    """
    if len(statistics) != len(strata):
        raise ValueError(f"expected one stratum an image ({len(statistics)}), got {len(strata)}")
    space = standardised(statistics)
    labels = np.asarray(strata)
    members = {name: np.flatnonzero(labels == name) for name in sorted(set(strata))}
    shares = allotted({name: len(indices) for name, indices in members.items()}, count)
    chosen = [
        indices[farthest_points(space[indices], count=shares[name], generator=generator)]
        for name, indices in members.items()
    ]
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.intp)


def allotted(sizes: dict[str, int], count: int) -> dict[str, int]:
    """How many each stratum gives: the same number each, less where it has less, the rest shared by the others."""
    shares = dict.fromkeys(sizes, 0)
    left = min(count, sum(sizes.values()))
    # The smallest first: what it cannot give is known before the others are asked.
    for position, name in enumerate(sorted(sizes, key=lambda key: (sizes[key], key))):
        shares[name] = min(sizes[name], left // (len(sizes) - position))
        left -= shares[name]
    return shares


def farthest_points(space: NDArray[np.float64], *, count: int, generator: np.random.Generator) -> NDArray[np.intp]:
    """Indices of `count` rows of `space` (point, coordinate), each the farthest from all before it."""
    if count <= 0 or len(space) == 0:
        return np.zeros(0, dtype=np.intp)
    chosen = np.empty(min(count, len(space)), dtype=np.intp)
    chosen[0] = generator.integers(len(space))
    distance = np.linalg.norm(space - space[chosen[0]], axis=1)
    distance[chosen[0]] = -1.0
    for position in range(1, len(chosen)):
        chosen[position] = distance.argmax()
        distance = np.minimum(distance, np.linalg.norm(space - space[chosen[position]], axis=1))
        distance[chosen[: position + 1]] = -1.0
    return chosen
