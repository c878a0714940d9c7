"""Pixels that are higher than wide, or wider than high: the picture is drawn anew with square ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import spacing_fault
from physedge_runtime.resize import resample
from physedge_runtime.sources.dicom_header import Header

_EQUAL_WITHIN = 0.01
"""Devices round the two sides of a pixel to a few digits each."""
_LARGEST_RATIO = 10.0
_LARGEST_SIDE_PX = 16384


@dataclass(frozen=True, slots=True)
class PixelShape:
    """The shape of a picture's pixels.

    Attributes:
        ratio: Height by width; 1 for square ones.
        spacing_mm: Height and width of a stored pixel in the body; None where it is not known.
    """

    ratio: float
    spacing_mm: tuple[float, float] | None

    def drawn_size(self, height_px: int, width_px: int) -> tuple[int, int]:
        """Height and width of the picture with square pixels; neither side loses any."""
        if self.ratio > 1:
            return round(height_px * self.ratio), width_px
        return height_px, round(width_px / self.ratio)

    def drawn(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture (height, width[, 3]) with square pixels."""
        height, width = picture.shape[:2]
        size = self.drawn_size(height, width)
        if size == (height, width):
            return picture
        channels = picture.reshape(height, width, -1)
        return resample(channels, *size).reshape(*size, *picture.shape[2:])

    def drawn_spacing_mm(self, height_px: int, width_px: int) -> tuple[float, float] | None:
        """Height and width of a pixel of the drawn picture."""
        height, width = self.drawn_size(height_px, width_px)
        if self.spacing_mm is None or (height, width) == (height_px, width_px):
            return self.spacing_mm
        return self.spacing_mm[0] * height_px / height, self.spacing_mm[1] * width_px / width


def pixel_shape(header: Header, spacing_mm: tuple[float, float] | None) -> PixelShape:
    """The shape by the spacing in the body, PixelAspectRatio, or the spacing at the detector.

    Args:
        header: Of the file; an aspect that cannot be meant is noted there, and taken as square.
        spacing_mm: Height and width of a pixel in the body, where they are known.
    """
    sides, keyword = spacing_mm, "PixelSpacing"
    for keyword in () if spacing_mm else ("PixelAspectRatio", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        sides = _pair(header, keyword)
        if sides is not None:
            break
    if sides is None:
        return PixelShape(1.0, spacing_mm)
    ratio = sides[0] / sides[1]
    if abs(ratio - 1) <= _EQUAL_WITHIN:
        return PixelShape(1.0, spacing_mm)
    shape = PixelShape(ratio, spacing_mm)
    largest = max(shape.drawn_size(int(header.dataset.Rows), int(header.dataset.Columns)))
    if not 1 / _LARGEST_RATIO <= ratio <= _LARGEST_RATIO or largest > _LARGEST_SIDE_PX:
        header.note("the DICOM file states pixels of a shape that cannot be meant", "they are taken as square")
        return PixelShape(1.0, spacing_mm)
    header.say(f"a pixel of the DICOM file is {ratio:.4g} times as high as wide; the picture is drawn with square ones")
    return shape


def _pair(header: Header, keyword: str) -> tuple[float, float] | None:
    consequence = "the pixels are taken as square"
    pair = header.numbers(keyword, consequence)
    if not pair:
        return None
    if len(pair) != 2 or min(pair) <= 0:
        header.note(f"{keyword} of the DICOM file is not two numbers above 0", consequence)
        return None
    if keyword != "PixelAspectRatio" and spacing_fault((pair[0], pair[1])):
        return None
    return pair[0], pair[1]
