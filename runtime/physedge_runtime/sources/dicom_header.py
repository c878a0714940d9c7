"""The header of a DICOM file as it is met in the field: numbers that are none, elements that are missing or empty.

What the pictures need is refused where it is unusable; what they do not need is left alone, and said. No sentence holds
a value of the data set: a wrong one may be anything, also a name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from physedge_runtime.errors import SourceError
from physedge_runtime.frame import spacing_fault

if TYPE_CHECKING:
    from pydicom import Dataset

_NS_PER_MS = 1_000_000
_NEEDED_NUMBERS = ("Rows", "Columns", "BitsAllocated", "BitsStored", "SamplesPerPixel")
_NEEDED = (*_NEEDED_NUMBERS, "PhotometricInterpretation")
_LARGEST_COUNT = 2**31 - 1

LEFT_ALONE = "PE-SRC-031"
"""Of the sentences about what is unusable and not needed; the run goes on."""

SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
"""SOP classes whose pixels are segments and no picture."""
DOSES = frozenset({"1.2.840.10008.5.1.4.1.1.481.2"})
"""SOP classes whose pixels are a dose of radiation and no picture."""


class Header:
    """A data set, asked for numbers.

    Attributes:
        dataset: As pydicom read it.
        notes: Sentences for the log: what was done with the pictures, and what was found unusable and left alone.
    """

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self.notes: list[str] = []

    def say(self, sentence: str) -> None:
        """Keep a sentence for the log, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def note(self, found: str, consequence: str) -> None:
        """Keep a sentence about something that was left alone, once."""
        self.say(f"{LEFT_ALONE}: {found}; {consequence}")

    def numbers(self, keyword: str, consequence: str, *, of: Dataset | None = None) -> tuple[float, ...]:
        """The finite numbers of an element; empty where it is missing, empty, or (with a note) holds something else."""
        try:
            return numbers_of(self.dataset if of is None else of, keyword)
        except ValueError:
            self.note(f"{keyword} of the DICOM file holds something that is no number", consequence)
            return ()

    def number(self, keyword: str, consequence: str) -> float | None:
        """The one number of an element, above 0; None where there is none such, with a note where there is another."""
        values = self.numbers(keyword, consequence)
        if len(values) == 1 and values[0] > 0:
            return values[0]
        if values and any(values):
            self.note(f"{keyword} of the DICOM file is not one number above 0", consequence)
        return None


def numbers_of(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """The numbers of an element; empty where it is missing or empty.

    Raises:
        ValueError: It holds something else, or a number that is not finite.
    """
    try:
        value = dataset.get(keyword)
        if value is None or (isinstance(value, str) and not value.strip()):
            return ()
        several = value if _is_sequence(value) else (value,)
        numbers = tuple(float(one) for one in several)
    except Exception as error:  # pydicom's conversions raise of many kinds
        raise ValueError(keyword) from error
    if not all(math.isfinite(one) for one in numbers):
        raise ValueError(keyword)
    return numbers


def _is_sequence(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def text_of(dataset: Dataset, keyword: str) -> str:
    """An element as text without spaces around it; empty where it is missing, empty or unreadable."""
    try:
        value = dataset.get(keyword)
    except Exception:
        return ""
    return "" if value is None else str(value).strip()


def check_picture(header: Header) -> None:
    """See that what the pixels need is there and makes sense.

    Raises:
        SourceError: It holds no picture (`PE-SRC-011`), or an element is unusable (`PE-SRC-030`).
    """
    dataset = header.dataset
    if "Rows" not in dataset or "PixelData" not in dataset:
        raise no_image("it holds no picture")
    missing = next((keyword for keyword in _NEEDED if not text_of(dataset, keyword)), "")
    if missing:
        raise unusable_header(missing, "is missing or empty")
    for keyword in _NEEDED_NUMBERS:
        whole_number(header, keyword)
    if text_of(dataset, "NumberOfFrames") not in ("", "0"):
        whole_number(header, "NumberOfFrames")


def whole_number(header: Header, keyword: str) -> int:
    """A whole number above 0.

    Raises:
        SourceError: The element holds something else (`PE-SRC-030`).
    """
    try:
        values = numbers_of(header.dataset, keyword)
    except ValueError:
        raise unusable_header(keyword, "holds something that is no number") from None
    if len(values) != 1 or values[0] != int(values[0]) or not 0 < values[0] <= _LARGEST_COUNT:
        raise unusable_header(keyword, "is not one whole number above 0")
    return int(values[0])


def frame_count(dataset: Dataset) -> int:
    """Frames that the header states; 1 where it states none that can be used."""
    try:
        values = numbers_of(dataset, "NumberOfFrames")
    except ValueError:
        return 1
    return int(values[0]) if values and 0 < values[0] <= _LARGEST_COUNT else 1


def frame_times_ns(header: Header) -> Callable[[int], int | None]:
    """When the frame of a number was taken, nanoseconds from the first one: FrameTimeVector, FrameTime or CineRate."""
    count = frame_count(header.dataset)
    without = "the frames have no times"
    vector_ms = header.numbers("FrameTimeVector", without)
    if len(vector_ms) >= count and all(step >= 0 for step in vector_ms):
        # The vector holds the time since the frame before; whatever its first one says, the first frame is the first.
        times_ns = [round(total * _NS_PER_MS) for total in accumulate((0.0, *vector_ms[1:]))]
        return lambda number: times_ns[number] if number < len(times_ns) else None
    if vector_ms:
        header.note("FrameTimeVector of the DICOM file has not one time for each frame", "it is left alone")
    if frame_time_ms := header.number("FrameTime", without):
        return lambda number: round(number * frame_time_ms * _NS_PER_MS)
    rate_hz = header.number("CineRate", without) or header.number("RecommendedDisplayFrameRate", without)
    return lambda number: round(number * 1e9 / rate_hz) if rate_hz else None


def frame_group(dataset: Dataset, keyword: str, frame: int) -> Dataset | None:
    """The first item of a functional group: of this frame, counted from 0, or else of all frames; None without one."""
    for sequence, number in (("PerFrameFunctionalGroupsSequence", frame), ("SharedFunctionalGroupsSequence", 0)):
        groups = dataset.get(sequence)
        if groups is not None and number < len(groups):
            items = groups[number].get(keyword)
            if items:
                return items[0]
    return None


def pixel_spacing_mm(header: Header) -> tuple[tuple[float, float] | None, str]:
    """Height and width of a pixel in the body, millimetres; or None, and why where the file states one.

    Taken from PixelSpacing, of enhanced objects from the functional groups of the first frame. ImagerPixelSpacing is
    left alone: it is measured at a detector, not in the body.
    """
    measures = frame_group(header.dataset, "PixelMeasuresSequence", 0)
    try:
        stated = numbers_of(header.dataset, "PixelSpacing")
        if not stated and measures is not None:
            stated = numbers_of(measures, "PixelSpacing")
    except ValueError:
        stated = (math.nan,)
    if not stated:
        return None, ""
    if len(stated) != 2:
        return None, "the file's pixel spacing is no pair of numbers"
    fault = spacing_fault((stated[0], stated[1]))
    return (None, fault) if fault else ((stated[0], stated[1]), "")


def no_image(why: str) -> SourceError:
    """Without the file's name, which may tell who the patient is."""
    return SourceError(
        "PE-SRC-011",
        found=f"the DICOM file cannot be read ({why})",
        expected="a DICOM image, single or multi-frame",
        next_step="check it with a DICOM viewer; 12-bit lossy JPEG needs the package pylibjpeg-libjpeg",
    )


def unusable_header(keyword: str, why: str) -> SourceError:
    """An element without which there is no picture; its value is not repeated."""
    return SourceError(
        "PE-SRC-030",
        found=f"{keyword} of the DICOM file {why}",
        expected="a header as the DICOM standard describes it",
        next_step="let the device or the archive export the file again",
    )
