"""Where the frames of a DICOM image lie in the body or on a slide, as functional groups that a segmentation repeats."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from physedge_runtime.sources.dicom_header import frame_group, numbers_of, text_of

if TYPE_CHECKING:
    from pydicom import Dataset

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
_PATIENT = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")
_MEASURES = ("SliceThickness", "SpacingBetweenSlices", "PixelSpacing")


@dataclass(frozen=True, slots=True)
class Place:
    """Of one frame.

    Attributes:
        groups: Functional groups by their keywords: position, orientation, size of a pixel.
        order: What the frames are put in order by; equal for the same place.
    """

    groups: dict[str, Dataset]
    order: tuple[float, ...]


def place_in_body(source: Dataset, frame: int) -> Place | None:
    """Position, orientation and pixel spacing of a frame, counted from 0; None where one of them is not stated."""
    if not text_of(source, "FrameOfReferenceUID"):
        return None
    groups = _stated_in_groups(source, frame) or _stated_at_the_top(source)
    if groups is None:
        return None
    try:
        position = numbers_of(groups["PlanePositionSequence"], "ImagePositionPatient")
        axes = numbers_of(groups["PlaneOrientationSequence"], "ImageOrientationPatient")
        sides = numbers_of(groups["PixelMeasuresSequence"], "PixelSpacing")
    except ValueError:
        return None
    if (len(position), len(axes), len(sides)) != (3, 6, 2):
        return None
    normal = (
        axes[1] * axes[5] - axes[2] * axes[4],
        axes[2] * axes[3] - axes[0] * axes[5],
        axes[0] * axes[4] - axes[1] * axes[3],
    )
    along = round(sum(one * other for one, other in zip(normal, position, strict=True)), 4)
    return Place(groups, (along, *position))


def _stated_in_groups(source: Dataset, frame: int) -> dict[str, Dataset] | None:
    groups = {keyword: frame_group(source, keyword, frame) for keyword in _PATIENT}
    found = {keyword: copy.deepcopy(group) for keyword, group in groups.items() if group is not None}
    return found if len(found) == len(_PATIENT) else None


def _stated_at_the_top(source: Dataset) -> dict[str, Dataset] | None:
    from pydicom import Dataset

    if not all(text_of(source, key) for key in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")):
        return None
    position, orientation, measures = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = source.ImagePositionPatient
    orientation.ImageOrientationPatient = source.ImageOrientationPatient
    for keyword in _MEASURES:
        if text_of(source, keyword):
            setattr(measures, keyword, source[keyword].value)
    return dict(zip(_PATIENT, (position, orientation, measures), strict=True))


def place_on_slide(source: Dataset, frame: int) -> Place | None:
    """The tile of a whole slide image; None where its place is not stated."""
    from pydicom import Dataset

    tile = frame_group(source, "PlanePositionSlideSequence", frame)
    measures = frame_group(source, "PixelMeasuresSequence", frame)
    if measures is None or not text_of(source, "FrameOfReferenceUID"):
        return None
    if tile is None:
        tile = _tile_in_rows(source, frame, measures)
        if tile is None:
            return None
    groups: dict[str, Any] = {
        "PlanePositionSlideSequence": copy.deepcopy(tile),
        "PixelMeasuresSequence": copy.deepcopy(measures),
    }
    assert isinstance(tile, Dataset)
    row, column = (int(tile[f"{key}PositionInTotalImagePixelMatrix"].value) for key in ("Row", "Column"))
    return Place(groups, (row, column))


def _tile_in_rows(source: Dataset, frame: int, measures: Dataset) -> Dataset | None:
    """Of an image that is fully tiled: its tiles follow each other row by row (PS3.3, C.7.6.17.3)."""
    from pydicom import Dataset

    try:
        columns, rows = (int(source[f"TotalPixelMatrix{key}"].value) for key in ("Columns", "Rows"))
        origin = source.TotalPixelMatrixOriginSequence[0]
        axes = numbers_of(source, "ImageOrientationSlide")
        down_mm, across_mm = numbers_of(measures, "PixelSpacing")
        start = float(origin.XOffsetInSlideCoordinateSystem), float(origin.YOffsetInSlideCoordinateSystem)
    except (KeyError, AttributeError, IndexError, ValueError, TypeError):
        return None
    width, height = int(source.Columns), int(source.Rows)
    across, down = -(-columns // width), -(-rows // height)
    if frame >= across * down or len(axes) != 6:  # several focal planes or optical paths
        return None
    row, column = (frame // across) * height, (frame % across) * width
    tile = Dataset()
    tile.ColumnPositionInTotalImagePixelMatrix, tile.RowPositionInTotalImagePixelMatrix = column + 1, row + 1
    x, y, z = (axes[axis] * column * across_mm + axes[axis + 3] * row * down_mm for axis in range(3))
    tile.XOffsetInSlideCoordinateSystem = f"{start[0] + x:.8g}"
    tile.YOffsetInSlideCoordinateSystem = f"{start[1] + y:.8g}"
    tile.ZOffsetInSlideCoordinateSystem = f"{z:.8g}"
    return tile
