"""A folder of DICOM files, as a scanner hands a series out: one file a slice, in the order of their instance numbers.

As of a single file, neither names nor identifiers reach a log.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from physedge_runtime.errors import SourceError, missing_extra
from physedge_runtime.frame import Frame
from physedge_runtime.sources.base import SourceEnded, SourceInfo
from physedge_runtime.sources.dicom import DICOM_SUFFIXES, DicomSource, no_image
from physedge_runtime.sources.file import missing_file
from physedge_runtime.sources.folder import find_pictures, natural_key

_PREAMBLE_BYTES = 128
_MAGIC = b"DICM"
_ORDER = ("SeriesNumber", "SeriesInstanceUID", "InstanceNumber", "NumberOfFrames", "Rows")


class DicomSeriesSource:
    """The frames of every DICOM image below a folder.

    Series come one after the other by their numbers, the files of each by instance number, then by name. Objects
    without a picture (reports, presentation states, DICOMDIR) are passed over. Each frame carries the spacing of its
    own file, and its data set in `Frame.metadata`.

    Args:
        folder: Searched at any depth; files end in .dcm, .dicom or .ima, or have no ending and DICOM's preamble.
        crop_to_region: See `DicomSource`.
        clock: Monotonic nanoseconds.
    """

    def __init__(
        self, folder: Path, *, crop_to_region: bool = True, clock: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._folder, self._crops, self._clock = folder, crop_to_region, clock
        self._waiting: Iterator[Path] | None = None
        self._current: DicomSource | None = None
        self._frames: int | None = None
        self._next_id = 0

    @property
    def info(self) -> SourceInfo:
        """Not live, without a frame rate."""
        return SourceInfo(name="DICOM series", live=False, frames=self._frames)

    def open(self) -> None:
        """Read all headers and put the files in order.

        Raises:
            SourceError: The folder is missing (`PE-SRC-002`), holds no DICOM image (`PE-SRC-004`), or a file in it is
                damaged (`PE-SRC-011`).
            EnvironmentFault: pydicom is not installed (`PE-ENV-001`).
        """
        if self._waiting is not None:
            return
        if not self._folder.is_dir():
            raise missing_file(Path("the folder of DICOM files"))
        images = _in_order(self._folder)
        if not images:
            raise SourceError(
                "PE-SRC-004",
                found="the folder holds no DICOM image",
                expected="at least one .dcm, .dicom or .ima file with a picture at any depth",
                next_step="name another folder with --source",
            )
        self._frames = sum(count for _, count in images)
        self._waiting = iter([path for path, _ in images])
        self._next_id = 0

    def read(self) -> Frame | None:
        """The next frame, of the next file where one has ended.

        Raises:
            SourceEnded: That was the last one.
            SourceError: Pixels cannot be decoded (`PE-SRC-011`).
        """
        assert self._waiting is not None
        while True:
            if self._current is None:
                path = next(self._waiting, None)
                if path is None:
                    raise SourceEnded
                self._current = DicomSource(path, crop_to_region=self._crops, clock=self._clock)
                self._current.open()
            try:
                frame = self._current.read()
            except SourceEnded:
                self._current.close()
                self._current = None
                continue
            assert frame is not None
            self._next_id += 1
            # Every file counts its stamps from 0.
            return replace(frame, frame_id=self._next_id - 1, source_stamp_ns=None)

    def close(self) -> None:
        """Let the files go."""
        if self._current is not None:
            self._current.close()
        self._current = self._waiting = None


def is_dicom_folder(folder: Path) -> bool:
    """Whether a folder holds files that end like DICOM at any depth, and no picture of another kind."""
    return folder.is_dir() and any(_ends_like_dicom(path) for path in folder.rglob("*")) and not find_pictures(folder)


def _ends_like_dicom(path: Path) -> bool:
    return path.suffix.lower() in DICOM_SUFFIXES and path.is_file()


def _begins_like_dicom(path: Path) -> bool:
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_PREAMBLE_BYTES + len(_MAGIC))[_PREAMBLE_BYTES:] == _MAGIC


def _in_order(folder: Path) -> list[tuple[Path, int]]:
    """The images and their numbers of frames."""
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise missing_extra("pydicom", "dicom") from error
    found: list[tuple[Any, Path, int]] = []
    for path in folder.rglob("*"):
        if not (_ends_like_dicom(path) or _begins_like_dicom(path)):
            continue
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_ORDER))
        except (InvalidDicomError, OSError) as error:
            raise no_image("a file of the folder is no DICOM file") from error
        if "Rows" in header:
            series = int(header.get("SeriesNumber") or 0), str(header.get("SeriesInstanceUID", ""))
            place = *series, int(header.get("InstanceNumber") or 0), natural_key(path.relative_to(folder).as_posix())
            found.append((place, path, int(header.get("NumberOfFrames") or 1)))
    return [(path, count) for _, path, count in sorted(found, key=lambda one: one[0])]
