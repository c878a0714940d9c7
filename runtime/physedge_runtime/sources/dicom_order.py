"""Which files of a folder are DICOM images, and in which order they follow each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physedge_runtime.sources.content import Content, contents_of
from physedge_runtime.sources.dicom_file import read_header
from physedge_runtime.sources.dicom_header import DOSES, LEFT_ALONE, SEGMENTATIONS, frame_count, numbers_of, text_of
from physedge_runtime.sources.folder import natural_key

if TYPE_CHECKING:
    from pydicom import Dataset


@dataclass(frozen=True, slots=True)
class _Image:
    path: Path
    name: str
    series: tuple[float, str]
    number: float | None
    position: tuple[float, ...]  # along the normal of its slice; empty where it is not known
    frames: int


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder holds.

    Attributes:
        paths: The images, series after series.
        frames: Of all of them.
        notes: Sentences for the log, without names.
    """

    paths: tuple[Path, ...]
    frames: int
    notes: tuple[str, ...]


def images_in_order(folder: Path) -> Found:
    """Every DICOM image below a folder.

    Series come one after the other by their numbers; the files of each by instance number where every one has its own,
    else by their positions along the normal of the slices, else by name.

    Raises:
        SourceError: A file that is named as a DICOM file, or begins as one, is damaged (`PE-SRC-011`).
    """
    images: list[_Image] = []
    left_out: Counter[str] = Counter()
    for path in sorted(path for path, content in contents_of(folder).items() if content is Content.DICOM):
        header = read_header(path, stop_before_pixels=True)
        if other := _no_picture(header):
            left_out[other] += 1
        else:
            images.append(_describe(path, path.relative_to(folder).as_posix(), header))
    notes = [_words(left_out)] if left_out else []
    ordered: list[_Image] = []
    for _, series in groupby(sorted(images, key=lambda one: one.series), key=lambda one: one.series):
        part, note = _in_series(list(series))
        ordered += part
        notes += [note] if note and note not in notes else []
    return Found(tuple(one.path for one in ordered), sum(one.frames for one in ordered), tuple(notes))


def _no_picture(header: Dataset) -> str:
    """What an object is that holds no picture; empty where it holds one."""
    kind = text_of(header, "SOPClassUID")
    if kind in SEGMENTATIONS:
        return "segmentation"
    if kind in DOSES:
        return "dose"
    return "" if "Rows" in header else "other object"


def _words(left_out: Counter[str]) -> str:
    kinds = ", ".join(f"{count} {kind}{'s' if count > 1 else ''}" for kind, count in sorted(left_out.items()))
    return f"left out of the folder, because it holds no picture: {kinds}"


def _describe(path: Path, name: str, header: Dataset) -> _Image:
    number = _one(header, "InstanceNumber")
    series = _one(header, "SeriesNumber") or 0.0, text_of(header, "SeriesInstanceUID")
    return _Image(path, name, series, number, _position(header), frame_count(header))


def _one(header: Dataset, keyword: str) -> float | None:
    try:
        numbers = numbers_of(header, keyword)
    except ValueError:
        return None
    return numbers[0] if len(numbers) == 1 else None


def _position(header: Dataset) -> tuple[float, ...]:
    try:
        place = numbers_of(header, "ImagePositionPatient")
        axes = numbers_of(header, "ImageOrientationPatient")
    except ValueError:
        return ()
    if len(place) != 3 or len(axes) != 6:
        return ()
    return (round(float(np.dot(np.cross(axes[:3], axes[3:]), place)), 4),)


def _in_series(images: list[_Image]) -> tuple[list[_Image], str]:
    """The files of one series in order, and what is to be said about it."""
    if _all_differ(one.number for one in images):
        return sorted(images, key=lambda one: one.number or 0.0), ""
    if all(one.position for one in images) and _all_differ(one.position for one in images):
        return sorted(images, key=lambda one: one.position), _unordered("by position")
    return sorted(images, key=lambda one: (one.number or 0.0, natural_key(one.name))), _unordered("by name")


def _all_differ(values: Iterable[object]) -> bool:
    kept = list(values)
    return None not in kept and len(set(kept)) == len(kept)


def _unordered(how: str) -> str:
    return (
        f"{LEFT_ALONE}: InstanceNumber of a DICOM series is missing, repeated, or holds something that is no number; "
        f"its files are ordered {how}"
    )
