"""A DICOM file: its frames, in the colours that they mean, cut to the ultrasound regions where it names some.

The file's name and its identifiers stay out of every log: both may tell who the patient is. They travel in
`Frame.metadata` for sinks that write DICOM again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.dicom_quiet import silence_dicom_libraries
from physedge_runtime.errors import PhysedgeError
from physedge_runtime.frame import Colour, Damage, Frame, spacing_fault
from physedge_runtime.sources.base import SourceEnded, SourceInfo
from physedge_runtime.sources.dicom_file import decoded_frames, read_header
from physedge_runtime.sources.dicom_header import (
    Header,
    check_picture,
    frame_count,
    frame_times_ns,
    no_image,
    pixel_spacing_mm,
)
from physedge_runtime.sources.dicom_pixels import Renderer
from physedge_runtime.sources.dicom_region import ALL, WHOLE, View, check_choice, views
from physedge_runtime.sources.dicom_square import PixelShape, pixel_shape
from physedge_runtime.sources.file import damaged_video, missing_file

if TYPE_CHECKING:
    from pydicom import Dataset

DICOM = "dicom:"


class DicomSource:
    """The frames of one DICOM file; of several ultrasound regions one after the other, each from its first frame on.

    A frame's `metadata` holds the data set (`dicom`), the frame's number in it from 0 (`frame_number`), and where the
    picture lies in the stored one (`region_px`: left, top, right, bottom; None for all of it).

    Args:
        path: The file.
        region: What of an ultrasound picture is looked at: `all` two-dimensional tissue regions apart, so that text
            and scales beside them are not, the `first`, the one of a number from 1 on, or the `whole` picture.
        clock: Monotonic nanoseconds.

    Raises:
        UsageError: The region is written otherwise (`PE-SRC-032`).
    """

    def __init__(self, path: Path, *, region: str = ALL, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._path, self._region, self._clock = path, check_choice(region), clock
        self._header: Header | None = None
        self._renderer: Renderer | None = None
        self._views: tuple[View, ...] = ()
        self._parts: Iterator[Frame] | None = None
        self._time_ns: Callable[[int], int | None] = _untimed
        self._damage: Counter[str] = Counter()
        self._next_id = 0

    @property
    def info(self) -> SourceInfo:
        """Not live; the period as the file states it."""
        frames = frame_count(self._header.dataset) if self._header is not None else None
        count = frames * len(self._views) if frames is not None else None
        period_ns = (self._time_ns(1) or None) if frames is not None and frames > 1 else None
        notes = () if self._header is None else tuple(self._header.notes)
        return SourceInfo(
            name="DICOM file", live=False, period_ns=period_ns, frames=count, damage=self._damage, notes=notes
        )

    def choose_region(self, region: str) -> None:
        """Look at other ultrasound regions, written as for the class; before the file is opened.

        Raises:
            UsageError: The region is written otherwise (`PE-SRC-032`).
        """
        self._region = check_choice(region)

    def open(self) -> None:
        """Read the header; pixels are decoded frame by frame.

        Raises:
            SourceError: The file is missing (`PE-SRC-002`), is no DICOM image (`PE-SRC-011`), or lacks what its
                pixels need (`PE-SRC-030`).
            UsageError: It has no region of the number that was asked for (`PE-SRC-032`).
            EnvironmentFault: pydicom is not installed (`PE-ENV-001`).
        """
        if self._parts is not None:
            return
        if not self._path.is_file():
            raise missing_file(Path("the DICOM file"))
        silence_dicom_libraries()
        try:
            self._read_header()
        except PhysedgeError:
            raise
        except Exception as error:  # pydicom's conversions raise of every kind, with values of the data set
            raise no_image(f"its header cannot be understood, {type(error).__name__}") from None
        self._damage, self._next_id = Counter(), 0
        self._parts = self._frames()

    def _read_header(self) -> None:
        header = Header(read_header(self._path))
        check_picture(header)
        self._time_ns = frame_times_ns(header)
        self._views = views(header, self._region)
        if len(self._views) > 1:
            header.say(f"the picture has {len(self._views)} ultrasound regions, which are answered one after the other")
        self._header, self._renderer = header, Renderer(header)
        self._renderer.check()
        for view in self._views:
            self._shape(view)

    def _shape(self, view: View) -> tuple[PixelShape, str]:
        """The shape of the view's pixels, and why a spacing that the file does state is not used."""
        assert self._header is not None
        spacing_mm, note = pixel_spacing_mm(self._header)
        if spacing_mm is None and view.spacing_mm is not None:
            note = note or spacing_fault(view.spacing_mm)
            spacing_mm = view.spacing_mm if not spacing_fault(view.spacing_mm) else None
        return pixel_shape(self._header, spacing_mm), note

    def read(self) -> Frame | None:
        """The next frame.

        Raises:
            SourceEnded: That was the last one.
            SourceError: The pixels cannot be decoded (`PE-SRC-011`).
        """
        assert self._parts is not None
        try:
            frame = next(self._parts, None)
        except PhysedgeError:
            raise
        except Exception as error:  # decoders raise of every kind, with values of the data set
            raise no_image(f"its pixels cannot be decoded, {type(error).__name__}") from None
        if frame is None:
            raise SourceEnded
        return frame

    def _frames(self) -> Iterator[Frame]:
        assert self._header is not None
        assert self._renderer is not None
        for view in self._views:
            shape, note = self._shape(view)
            number = -1
            for number, (pixels, damage) in enumerate(decoded_frames(self._path, self._header.dataset)):
                frame = self._frame(self._renderer.picture(pixels, number), number, view, shape, note)
                if damage is not Damage.NONE:
                    self._damage["pictures" if damage is Damage.PICTURE else "doubtful"] += 1
                yield replace(frame, damage=damage)
            stated = frame_count(self._header.dataset)
            if number + 1 < stated:
                raise no_image(f"it ends after {number + 1} of the {stated} frames that it states")
        if self._damage:
            raise damaged_video(Path("the video of the DICOM file"), self._damage, "")

    def _frame(self, picture: NDArray[np.uint8], number: int, view: View, shape: PixelShape, note: str) -> Frame:
        assert self._header is not None
        if view.box is not None:
            left, top, right, bottom = view.box
            picture = np.ascontiguousarray(picture[top:bottom, left:right])
        height, width = picture.shape[:2]
        self._next_id += 1
        return Frame(
            pixels=shape.drawn(picture),
            frame_id=self._next_id - 1,
            captured_ns=self._clock(),
            colour=Colour.RGB if picture.ndim == 3 else Colour.GREY,
            source_stamp_ns=self._time_ns(number),
            position_ns=self._time_ns(number),
            spacing_mm=shape.drawn_spacing_mm(height, width),
            spacing_note=note,
            part=view.part,
            metadata=_metadata(self._header.dataset, number, view),
        )

    def close(self) -> None:
        """Let the file go."""
        self._parts = None


def _untimed(_number: int) -> int | None:
    return None


def _metadata(dataset: Dataset, number: int, view: View) -> MappingProxyType[str, Any]:
    return MappingProxyType({"dicom": dataset, "frame_number": number, "region_px": view.box})


__all__ = ["ALL", "DICOM", "WHOLE", "DicomSource"]
