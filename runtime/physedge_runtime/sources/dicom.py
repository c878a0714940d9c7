"""A DICOM file: its frames, in the colours that they mean, cut to the ultrasound region where it names one.

The file's name and its identifiers stay out of every log: both may tell who the patient is. They travel in
`Frame.metadata` for sinks that write DICOM again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import SourceError, missing_extra
from physedge_runtime.frame import Colour, Frame, spacing_fault
from physedge_runtime.sources.base import SourceEnded, SourceInfo
from physedge_runtime.sources.file import missing_file

if TYPE_CHECKING:
    from pydicom import Dataset

DICOM = "dicom:"
DICOM_SUFFIXES = frozenset({".dcm", ".dicom", ".ima"})
_NS_PER_MS = 1_000_000
_TISSUE, _TWO_DIMENSIONAL = 1, 1
_WIDE_SPREAD_LOW, _WIDE_SPREAD_HIGH = 0.5, 99.5


class DicomSource:
    """The frames of one DICOM file.

    Args:
        path: The file.
        crop_to_region: Cut frames to the two-dimensional tissue region of an ultrasound image, so that text and scales
            beside it are not looked at.
        clock: Monotonic nanoseconds.
    """

    def __init__(
        self, path: Path, *, crop_to_region: bool = True, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._path, self._crops, self._clock = path, crop_to_region, clock
        self._pictures: Iterator[NDArray[Any]] | None = None
        self._dataset: Dataset | None = None
        self._stamps_ns: list[int] | None = None
        self._region: tuple[int, int, int, int] | None = None
        self._metadata: MappingProxyType[str, Any] = MappingProxyType({})
        self._spacing_mm: tuple[float, float] | None = None
        self._spacing_note = ""
        self._next_id = 0

    @property
    def info(self) -> SourceInfo:
        """Not live; the period as the file states it."""
        stamps = self._stamps_ns
        period_ns = stamps[1] - stamps[0] if stamps and len(stamps) > 1 and stamps[1] > stamps[0] else None
        count = int(self._dataset.get("NumberOfFrames", 1) or 1) if self._dataset is not None else None
        return SourceInfo(name="DICOM file", live=False, period_ns=period_ns, frames=count)

    def open(self) -> None:
        """Read the header; pixels are decoded frame by frame.

        Raises:
            SourceError: The file is missing (`PE-SRC-002`), or is no DICOM image (`PE-SRC-011`).
            EnvironmentFault: pydicom is not installed (`PE-ENV-001`).
        """
        if self._pictures is not None:
            return
        if not self._path.is_file():
            raise missing_file(Path("the DICOM file"))
        try:
            import pydicom
            from pydicom.errors import InvalidDicomError
            from pydicom.pixels.utils import iter_pixels
        except ImportError as error:
            raise missing_extra("pydicom", "dicom") from error
        try:
            self._dataset = pydicom.dcmread(self._path, defer_size="1 KB")
        except (InvalidDicomError, OSError) as error:
            raise no_image("it is no DICOM file") from error
        if "Rows" not in self._dataset or "PixelData" not in self._dataset:
            raise no_image("it holds no picture")
        self._stamps_ns = frame_stamps_ns(self._dataset)
        self._region = ultrasound_region(self._dataset) if self._crops else None
        self._spacing_mm, self._spacing_note = pixel_spacing_mm(self._dataset)
        self._metadata = MappingProxyType({"dicom": self._dataset, "region_px": self._region})
        self._pictures = iter_pixels(self._path)
        self._next_id = 0

    def read(self) -> Frame | None:
        """The next frame.

        Raises:
            SourceEnded: That was the last one.
            SourceError: The pixels cannot be decoded (`PE-SRC-011`).
        """
        assert self._pictures is not None
        assert self._dataset is not None
        try:
            pixels = next(self._pictures)
        except StopIteration:
            raise SourceEnded from None
        except Exception as error:  # pydicom's decoders raise of every kind
            raise no_image(f"its pixels cannot be decoded, {type(error).__name__}") from error
        picture = to_uint8(pixels, self._dataset)
        if self._region is not None:
            left, top, right, bottom = self._region
            picture = np.ascontiguousarray(picture[top:bottom, left:right])
        frame_id = self._next_id
        self._next_id += 1
        stamps = self._stamps_ns
        return Frame(
            pixels=picture,
            frame_id=frame_id,
            captured_ns=self._clock(),
            colour=Colour.RGB if picture.ndim == 3 else Colour.GREY,
            source_stamp_ns=stamps[frame_id] if stamps and frame_id < len(stamps) else None,
            spacing_mm=self._spacing_mm,
            spacing_note=self._spacing_note,
            metadata=self._metadata,
        )

    def close(self) -> None:
        """Let the file go."""
        self._pictures = None


def frame_stamps_ns(dataset: Dataset) -> list[int] | None:
    """When each frame was taken, nanoseconds from the first one: FrameTimeVector, FrameTime or CineRate."""
    count = int(dataset.get("NumberOfFrames", 1) or 1)
    if vector := dataset.get("FrameTimeVector"):
        steps_ms = [float(step) for step in vector]
        return [round(total * _NS_PER_MS) for total in np.cumsum(steps_ms)]
    if frame_time_ms := float(dataset.get("FrameTime", 0) or 0):
        return [round(number * frame_time_ms * _NS_PER_MS) for number in range(count)]
    rate_hz = float(dataset.get("CineRate", 0) or dataset.get("RecommendedDisplayFrameRate", 0) or 0)
    return [round(number * 1e9 / rate_hz) for number in range(count)] if rate_hz > 0 else None


def pixel_spacing_mm(dataset: Dataset) -> tuple[tuple[float, float] | None, str]:
    """Height and width of a pixel in the body, millimetres; or None, and why where the file states one.

    Taken from PixelSpacing, of enhanced objects from the one that all frames share. ImagerPixelSpacing is left alone:
    it is measured at a detector, not in the body.
    """
    stated = dataset.get("PixelSpacing")
    if stated is None:
        for shared in dataset.get("SharedFunctionalGroupsSequence", ()):
            for measures in shared.get("PixelMeasuresSequence", ()):
                stated = measures.get("PixelSpacing", stated)
    if stated is None:
        return None, ""
    try:
        down, across = (float(side) for side in stated)
    except (TypeError, ValueError):
        return None, "the file's pixel spacing is no pair of numbers"
    fault = spacing_fault((down, across))
    return (None, fault) if fault else ((down, across), "")


def ultrasound_region(dataset: Dataset) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom (exclusive) of the first two-dimensional tissue region in pixels; None without one."""
    for region in dataset.get("SequenceOfUltrasoundRegions", ()):
        if region.get("RegionSpatialFormat") == _TWO_DIMENSIONAL and region.get("RegionDataType") == _TISSUE:
            left = max(0, int(region.RegionLocationMinX0))
            top = max(0, int(region.RegionLocationMinY0))
            right = min(int(dataset.Columns), int(region.RegionLocationMaxX1) + 1)
            bottom = min(int(dataset.Rows), int(region.RegionLocationMaxY1) + 1)
            if right > left and bottom > top:
                return left, top, right, bottom
    return None


def to_uint8(pixels: NDArray[Any], dataset: Dataset) -> NDArray[np.uint8]:
    """One decoded frame as it is meant to be seen: uint8 (height, width) or (height, width, 3) in RGB order.

    `pixels` are as pydicom decodes them (YBR already turned into RGB). Palettes are looked up; more than 8 bits go
    through the file's window, or, where it has none, from the darkest to the brightest half percent; MONOCHROME1 is
    inverted.
    """
    photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
    if photometric == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        pixels = apply_color_lut(pixels, dataset)
        return (pixels >> 8).astype(np.uint8) if pixels.dtype == np.uint16 else pixels.astype(np.uint8)
    is_eight_bit = pixels.dtype == np.uint8 and int(dataset.get("BitsStored", 8)) == 8
    grey = pixels if is_eight_bit else _windowed(pixels, dataset)
    return np.asarray(255 - grey if photometric == "MONOCHROME1" else grey, np.uint8)


def _windowed(pixels: NDArray[Any], dataset: Dataset) -> NDArray[np.uint8]:
    from pydicom.pixels.processing import apply_modality_lut

    values = np.asarray(apply_modality_lut(pixels, dataset), np.float64)
    centre, width = dataset.get("WindowCenter"), dataset.get("WindowWidth")
    if centre is not None and width is not None:
        centre_value, width_value = (float(v[0] if hasattr(v, "__len__") else v) for v in (centre, width))
        low, high = centre_value - width_value / 2, centre_value + width_value / 2
    else:
        low, high = np.percentile(values, (_WIDE_SPREAD_LOW, _WIDE_SPREAD_HIGH))
    scaled = (values - low) * (255 / max(high - low, 1e-9))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def no_image(why: str) -> SourceError:
    """Without the file's name, which may tell who the patient is."""
    return SourceError(
        "PE-SRC-011",
        found=f"the DICOM file cannot be read ({why})",
        expected="a DICOM image, single or multi-frame",
        next_step="check it with a DICOM viewer; compressed pixels may need the packages pylibjpeg or python-gdcm",
    )
