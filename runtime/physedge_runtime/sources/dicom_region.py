"""The two-dimensional tissue regions of an ultrasound picture (PS3.3, C.8.5.5), and which of them are looked at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from physedge_runtime.errors import UsageError
from physedge_runtime.sources.base import Source, WithRegions
from physedge_runtime.sources.dicom_header import Header, numbers_of

if TYPE_CHECKING:
    from pydicom import Dataset

ALL, FIRST, WHOLE = "all", "first", "whole"
_CORNERS = ("RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1")
_TWO_DIMENSIONAL, _TISSUE, _COLOUR_FLOW = 1, 1, 2
_CENTIMETRES = 3
_MM_PER_CM = 10.0

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels, the last two exclusive."""


@dataclass(frozen=True, slots=True)
class View:
    """One part of the picture that is answered by itself.

    Attributes:
        box: Where it lies; None for the whole picture.
        spacing_mm: Height and width of its pixels, where the region states them.
        part: In words which part it is and what is not looked at; empty where that is all there is.
    """

    box: Box | None = None
    spacing_mm: tuple[float, float] | None = None
    part: str = ""


def check_choice(choice: str) -> str:
    """The choice as it is written.

    Raises:
        UsageError: It is neither `all`, `first`, `whole` nor a number from 1 on (`PE-SRC-032`).
    """
    if choice in (ALL, FIRST, WHOLE) or (choice.isascii() and choice.isdecimal() and int(choice) > 0):
        return choice
    raise UsageError(
        "PE-SRC-032",
        found=f"the ultrasound region '{choice}'",
        expected="all, first, whole, or the number of a region counted from 1",
        next_step="correct --region",
    )


def choose_region(sources: Iterable[Source], choice: str) -> None:
    """Tell every source that has regions which are looked at.

    Raises:
        UsageError: The choice is written otherwise, or no source has regions (`PE-SRC-032`).
    """
    chosen = [source for source in sources if isinstance(source, WithRegions)]
    for source in chosen:
        source.choose_region(choice)
    if not chosen:
        raise UsageError(
            "PE-SRC-032",
            found="a region, and no DICOM file among the sources",
            expected="--region beside a DICOM file or a folder of them",
            next_step="leave --region out",
        )


def views(header: Header, choice: str) -> tuple[View, ...]:
    """What of each frame is looked at, in the order of the file's regions; the whole picture where it has none.

    Args:
        header: Of the file.
        choice: `all` (each region apart), `first`, `whole`, or a region's number among the tissue regions.

    Raises:
        UsageError: The file has no region of that number (`PE-SRC-032`).
    """
    found, unusable = _tissue_boxes(header)
    count = len(found) + len(unusable)
    if choice.isdecimal() and int(choice) not in [number for number, _ in found]:
        raise UsageError(
            "PE-SRC-032",
            found=f"no usable tissue region {choice} in the DICOM file, which states {count}",
            expected="the number of a region, counted from 1",
            next_step="correct --region, or leave it out: each region is then answered by itself",
        )
    if choice == WHOLE or not found:
        words = "the whole picture: no tissue region that the file states can be used" if unusable else ""
        return (View(part=words if choice != WHOLE else ""),)
    chosen = found if choice == ALL else found[:1] if choice == FIRST else [found[_place(found, int(choice))]]
    left_out = [number for number, _ in found if number not in [one for one, _ in chosen]] + unusable
    flow = _has_colour_elsewhere(header, [box for _, (box, _) in found])
    return tuple(
        View(box, spacing_mm, _words(number, count, sorted(left_out), flow)) for number, (box, spacing_mm) in chosen
    )


def _place(found: list[tuple[int, tuple[Box, tuple[float, float] | None]]], number: int) -> int:
    return [one for one, _ in found].index(number)


def _words(number: int, count: int, left_out: list[int], has_colour_elsewhere: bool) -> str:
    words = f"region {number} of {count}" if count > 1 else ""
    missed = [f"region {one}" for one in left_out] + (["a region in colour"] if has_colour_elsewhere else [])
    if missed:
        words = f"{words or 'region 1'}; {' and '.join(missed)} not looked at"
    return words


def _tissue_boxes(header: Header) -> tuple[list[tuple[int, tuple[Box, tuple[float, float] | None]]], list[int]]:
    """Number and place of each usable tissue region, and the numbers of the unusable ones."""
    found: list[tuple[int, tuple[Box, tuple[float, float] | None]]] = []
    unusable: list[int] = []
    number = 0
    for region in _regions(header, _TISSUE):
        number += 1
        box = _box(header, region)
        if box is None:
            unusable.append(number)
            header.note(f"tissue region {number} of the DICOM file has no usable corners", "it is not looked at")
        elif box in [known for _, (known, _) in found]:
            number -= 1  # some devices state a region twice
        else:
            found.append((number, (box, _spacing_mm(region))))
    return found, unusable


def _has_colour_elsewhere(header: Header, boxes: list[Box]) -> bool:
    """Whether a two-dimensional region in colour lies mostly beside the tissue regions (in a dual view)."""
    for region in _regions(header, _COLOUR_FLOW):
        box = _box(header, region)
        if box is not None and not any(_overlap(box, known) >= 0.5 for known in boxes):
            return True
    return False


def _overlap(box: Box, other: Box) -> float:
    """The share of `box` that `other` covers."""
    width = min(box[2], other[2]) - max(box[0], other[0])
    height = min(box[3], other[3]) - max(box[1], other[1])
    return max(0, width) * max(0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


def _regions(header: Header, data_type: int) -> list[Dataset]:
    try:
        stated = header.dataset.get("SequenceOfUltrasoundRegions") or ()
        return [
            one
            for one in stated
            if _is(one, "RegionSpatialFormat", _TWO_DIMENSIONAL) and _is(one, "RegionDataType", data_type)
        ]
    except Exception:  # pydicom parses a sequence when it is asked for it
        header.note("SequenceOfUltrasoundRegions of the DICOM file cannot be read", "the whole picture is looked at")
        return []


def _is(region: Dataset, keyword: str, value: int) -> bool:
    try:
        return numbers_of(region, keyword) == (value,)
    except ValueError:
        return False


def _box(header: Header, region: Dataset) -> Box | None:
    """The region within the picture; None where it states no corners, or lies outside."""
    try:
        corners = [numbers_of(region, keyword) for keyword in _CORNERS]
    except ValueError:
        return None
    if any(len(corner) != 1 for corner in corners):
        return None
    left, top, right, bottom = (int(corner[0]) for corner in corners)
    rows, columns = int(header.dataset.Rows), int(header.dataset.Columns)
    box = max(0, left), max(0, top), min(columns, right + 1), min(rows, bottom + 1)
    return box if box[2] > box[0] and box[3] > box[1] else None


def _spacing_mm(region: Dataset) -> tuple[float, float] | None:
    """Height and width of the region's pixels; None where it is not calibrated in centimetres both ways."""
    units = _is(region, "PhysicalUnitsXDirection", _CENTIMETRES) and _is(
        region, "PhysicalUnitsYDirection", _CENTIMETRES
    )
    try:
        down, across = numbers_of(region, "PhysicalDeltaY"), numbers_of(region, "PhysicalDeltaX")
    except ValueError:
        return None
    if not units or len(down) != 1 or len(across) != 1 or down[0] == 0 or across[0] == 0:
        return None
    return abs(down[0]) * _MM_PER_CM, abs(across[0]) * _MM_PER_CM
