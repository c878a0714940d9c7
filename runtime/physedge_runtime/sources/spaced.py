"""A source whose pixel spacing its user knows, because its files do not say it."""

from __future__ import annotations

from dataclasses import replace

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import LARGEST_SPACING_MM, SMALLEST_SPACING_MM, Frame, spacing_fault
from physedge_runtime.sources.base import Deinterlacing, Source, SourceInfo
from physedge_runtime.sources.deinterlace import Deinterlace


class SpacedSource:
    """Another source, with the size of its pixels.

    Args:
        source: What delivers the frames.
        pixel_mm: Side of a pixel in millimetres; stands above what the source says itself.

    Raises:
        UsageError: No such pixel can be meant (`PE-RUN-004`).
    """

    def __init__(self, source: Source, pixel_mm: float) -> None:
        fault = spacing_fault((pixel_mm, pixel_mm))
        if fault:
            raise UsageError(
                "PE-RUN-004",
                found=fault,
                expected=f"{SMALLEST_SPACING_MM:g} to {LARGEST_SPACING_MM:g} mm a pixel of the raw frame",
                next_step="correct --pixel-mm, or leave it out where it is not known",
            )
        self._source, self._spacing_mm = source, (pixel_mm, pixel_mm)

    @property
    def info(self) -> SourceInfo:
        """Of the other source."""
        return self._source.info

    def open(self) -> None:
        """Open the other source."""
        self._source.open()

    def deinterlace_by(self, how: Deinterlace) -> None:
        """Hand it to the other source, where that can do it."""
        if isinstance(self._source, Deinterlacing):
            self._source.deinterlace_by(how)

    def read(self) -> Frame | None:
        """Its next frame, with the spacing."""
        frame = self._source.read()
        return None if frame is None else replace(frame, spacing_mm=self._spacing_mm, spacing_note="")

    def close(self) -> None:
        """Close the other source."""
        self._source.close()
