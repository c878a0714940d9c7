"""The calibration station: choose a diverse set, refuse what is also evaluated, keep the evidence."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.coverage import coverage, draw_coverage
from physedge_calibrate.dataset import list_pictures, read_picture, stratum_from_name, subset_folder
from physedge_calibrate.image_statistics import ImageStatistics, image_statistics, statistics_table
from physedge_calibrate.leakage import ImagePrint, find_leaks, image_print, refuse_leaks
from physedge_calibrate.samples import Sample
from physedge_calibrate.sampling import DEFAULT_COUNT, CalibrationSet, choose_calibration_set
from physedge_calibrate.strata import WHOLE, strata_from_csv, strata_from_folders, strata_from_pattern
from physedge_runtime.device import this_device
from physedge_runtime.frame import Frame, FrameSpec
from physedge_runtime.manifest import DataRecord, canonical_json
from physedge_runtime.resize import prepare

Advance = Callable[[], object]

TRIALS = 16

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The pictures that INT8 is calibrated with, and the evidence about them.

    Attributes:
        chosen: Names, hashes and strata.
        inputs: uint8 (height, width, channel) each, in the declared form.
        trials: Further pictures of the pool in the declared form, on which candidates are tried before they are
            judged; chosen ones where the pool has no others.
        evidence: Entries for the bundle: the list with hashes, the coverage as text and picture.
        summary: A sentence for people.
    """

    chosen: CalibrationSet
    inputs: tuple[NDArray[Any], ...] = field(repr=False)
    trials: tuple[NDArray[Any], ...] = field(repr=False)
    evidence: dict[str, bytes] = field(repr=False)
    summary: str

    @property
    def record(self) -> DataRecord:
        """For the manifest."""
        return DataRecord(name="calibration", count=len(self.chosen), sha256=self.chosen.sha256)


def calibration_pool(folder: Path) -> list[Path]:
    """The pictures that may be chosen: those of `train` where the folder has one.

    Raises:
        UsageError: No such folder, or no picture in it.
    """
    return list_pictures(subset_folder(folder, "train"))


def choose_calibration(
    folder: Path,
    pool: Sequence[Path],
    spec: FrameSpec,
    evaluation: Sequence[Sample],
    *,
    seed: int,
    strata: str | None = None,
    count: int = DEFAULT_COUNT,
    advance: Advance = lambda: None,
) -> Calibration:
    """Choose, check against the evaluation data, and describe.

    Args:
        folder: That `--calib` named; names in the evidence are relative to it.
        pool: Its pictures.
        spec: The declared form of the input.
        evaluation: The samples that will judge; none of them may stand in the pool.
        seed: Of the choice.
        strata: A CSV file or a pattern, as for `named_strata`; None takes them from folders, else from names.
        count: Pictures to choose.
        advance: Called after every picture that was looked at; pool and evaluation together.

    Raises:
        UsageError: Too few pictures (`PE-CALIB-006`), a leak (`PE-CALIB-005`), or strata that cannot be used
            (`PE-CALIB-007`, `PE-CALIB-008`).
    """
    labels = named_strata(pool, strata, root=folder) if strata else _told_strata(pool, root=folder)

    def look(path: Path) -> tuple[ImagePrint, ImageStatistics]:
        pixels = read_picture(path)
        name = path.relative_to(folder).as_posix()
        return image_print(name, pixels, data=path.read_bytes()), image_statistics(pixels)

    def look_at_judged(sample: Sample) -> ImagePrint:
        return image_print(sample.name, sample.picture(), data=sample.image_path.read_bytes())

    # Decoding and counting let go of Python's lock.
    with ThreadPoolExecutor(this_device().cores) as threads:
        looks = list(_told(threads.map(look, pool), advance))
        judged = list(_told(threads.map(look_at_judged, evaluation), advance))
    prints, statistics = [one for one, _ in looks], [two for _, two in looks]
    refuse_leaks(find_leaks(prints, judged))
    table = statistics_table(statistics)
    chosen = choose_calibration_set(
        [entry.name for entry in prints], [entry.file_sha256 for entry in prints], table, labels, count=count, seed=seed
    )
    others = sorted(set(range(len(pool))) - set(chosen.indices)) or list(chosen.indices)
    spaced = [others[place] for place in np.linspace(0, len(others) - 1, min(TRIALS, len(others))).astype(int)]
    return Calibration(
        chosen=chosen,
        inputs=tuple(prepare(Frame(pixels=read_picture(pool[index])), spec) for index in chosen.indices),
        trials=tuple(prepare(Frame(pixels=read_picture(pool[index])), spec) for index in spaced),
        evidence=_evidence(chosen, table, labels),
        summary=f"calibrated on {len(chosen)} of {chosen.pool_size} pictures, chosen for diversity",
    )


def _told(values: Iterator[_Value], advance: Advance) -> Iterator[_Value]:
    """The values, each told when it has come."""
    for value in values:
        yield value
        advance()


def named_strata(paths: Sequence[Path], strata: str, *, root: Path) -> tuple[str, ...]:
    """The stratum of each picture by a CSV file (a name that ends in .csv) or a pattern of file names.

    Raises:
        UsageError: It cannot be used (`PE-CALIB-007`), or leaves a picture out (`PE-CALIB-008`).
    """
    if strata.endswith(".csv"):
        return strata_from_csv(paths, Path(strata), root=root)
    return strata_from_pattern(paths, strata)


def with_strata(samples: Sequence[Sample], strata: str, *, root: Path) -> Sequence[Sample]:
    """The samples, each with the stratum that a CSV file or a pattern gives it; see `named_strata`."""
    labels = named_strata([sample.image_path for sample in samples], strata, root=root)
    # Every kind of sample is a frozen record with its stratum.
    return [replace(sample, stratum=label) for sample, label in zip(samples, labels, strict=True)]  # type: ignore[type-var]


def _told_strata(paths: Sequence[Path], *, root: Path) -> tuple[str, ...]:
    """From folders; where those say nothing and every name does, from names."""
    labels = strata_from_folders(paths, root=root)
    names = tuple(stratum_from_name(path.stem) for path in paths)
    return names if set(labels) == {WHOLE} and all(names) else labels


def _evidence(chosen: CalibrationSet, table: NDArray[np.float64], strata: Sequence[str]) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "coverage.png"
        draw_coverage(picture, table, strata, chosen.indices)
        return {
            "calibration/images.json": canonical_json(chosen.to_dict()),
            "calibration/coverage.txt": coverage(table, strata, chosen.indices).to_text().encode("utf-8"),
            "calibration/coverage.png": picture.read_bytes(),
        }
