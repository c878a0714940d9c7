"""Evaluation images that a network was calibrated with: the same file, the same pixels, or nearly the same picture."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.fingerprint import Thumbnail, coarse_likeness, fine_likeness, thumbnail
from physedge_runtime.errors import UsageError

# Between train and val of the development sets the most alike pair reaches 0.93 (two slices of one head); a copy
# that was coded again, scaled and cropped by up to 5 % of each side has 0.97 as a rule.
NEAR_DUPLICATE_LIKENESS = 0.95
# Copies reach 0.86 and more in the coarse search.
_COARSE_LIKENESS = 0.80


class LeakKind(StrEnum):
    """In which sense two images are one."""

    SAME_FILE = "the same file"
    SAME_PIXELS = "the same pixels"
    NEAR_DUPLICATE = "nearly the same picture"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrint:
    """What is needed of an image to recognise it.

    Attributes:
        name: For people.
        file_sha256: Of the file's bytes.
        pixel_sha256: Of shape and pixels.
        thumbnail: uint8 (64, 64) grey.
    """

    name: str
    file_sha256: str
    pixel_sha256: str
    thumbnail: Thumbnail


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """An evaluation image that also stands in the calibration set.

    Attributes:
        calibration: Name of the calibration image.
        evaluation: Name of the evaluation image.
        kind: In which sense they are one.
        likeness: Correlation of their details, 1 for the same.
    """

    calibration: str
    evaluation: str
    kind: LeakKind
    likeness: float


def image_print(name: str, pixels: NDArray[np.uint8], *, data: bytes) -> ImagePrint:
    """The print of an image.

    Args:
        name: For people.
        pixels: uint8 (height, width, channel).
        data: The bytes of its file.
    """
    shape = str(pixels.shape).encode()
    return ImagePrint(
        name=name,
        file_sha256=hashlib.sha256(data).hexdigest(),
        pixel_sha256=hashlib.sha256(shape + np.ascontiguousarray(pixels).tobytes()).hexdigest(),
        thumbnail=thumbnail(pixels),
    )


def find_leaks(calibration: Sequence[ImagePrint], evaluation: Sequence[ImagePrint]) -> tuple[Leak, ...]:
    """Every pair of a calibration and an evaluation image that are one, in the order of the evaluation images."""
    if not calibration or not evaluation:
        return ()
    coarse = coarse_likeness([image.thumbnail for image in calibration], [image.thumbnail for image in evaluation])
    leaks = []
    for column, judged in enumerate(evaluation):
        for row, seen in enumerate(calibration):
            same = _same(seen, judged)
            if same is not None:
                likeness, kind = 1.0, same
            elif coarse[row, column] >= _COARSE_LIKENESS:
                likeness, kind = fine_likeness(seen.thumbnail, judged.thumbnail), LeakKind.NEAR_DUPLICATE
            else:
                continue
            if likeness >= NEAR_DUPLICATE_LIKENESS:
                leaks.append(Leak(calibration=seen.name, evaluation=judged.name, kind=kind, likeness=likeness))
    return tuple(leaks)


def refuse_leaks(leaks: Sequence[Leak]) -> None:
    """Do nothing where there are no leaks.

    Raises:
        UsageError: PE-CALIB-005, with the names of the images.
    """
    if not leaks:
        return
    shown = [f"{leak.evaluation} is {leak.kind} as {leak.calibration}" for leak in leaks[:5]]
    more = f" and {len(leaks) - 5} more" if len(leaks) > 5 else ""
    judged = len({leak.evaluation for leak in leaks})
    raise UsageError(
        "PE-CALIB-005",
        found=f"a leak: {judged} evaluation images also stand in the calibration set ({'; '.join(shown)}{more})",
        expected="no image in both",
        next_step="take calibration images from the training data, or remove these from one of the two folders",
    )


def _same(first: ImagePrint, second: ImagePrint) -> LeakKind | None:
    if first.file_sha256 == second.file_sha256:
        return LeakKind.SAME_FILE
    return LeakKind.SAME_PIXELS if first.pixel_sha256 == second.pixel_sha256 else None
