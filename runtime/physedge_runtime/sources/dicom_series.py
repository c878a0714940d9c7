"""A folder of DICOM files, as a scanner hands a series out: one file a slice, in the order of their instance numbers.

As of a single file, neither names nor identifiers reach a log.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from physedge_runtime.dicom_quiet import silence_dicom_libraries
from physedge_runtime.errors import SourceError, missing_extra
from physedge_runtime.frame import Frame
from physedge_runtime.sources.base import SourceEnded, SourceInfo
from physedge_runtime.sources.dicom import DicomSource
from physedge_runtime.sources.dicom_order import Found, images_in_order
from physedge_runtime.sources.dicom_region import ALL, check_choice
from physedge_runtime.sources.file import missing_file


class DicomSeriesSource:
    """The frames of every DICOM image below a folder.

    Series come one after the other by their numbers, the files of each by instance number, else by position. Objects
    without a picture (segmentations, reports, presentation states, structures, DICOMDIR) are left out, and counted in
    `info.notes`. Each frame carries the spacing of its own file, and its data set in `Frame.metadata`.

    Args:
        folder: Searched at any depth; files end in .dcm, .dicom or .ima, or have DICOM's preamble, whatever their
            names are.
        region: See `DicomSource`.
        clock: Monotonic nanoseconds.

    Raises:
        UsageError: The region is written otherwise (`PE-SRC-032`).
    """

    def __init__(self, folder: Path, *, region: str = ALL, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._folder, self._region, self._clock = folder, check_choice(region), clock
        self._found: Found | None = None
        self._waiting: Iterator[Path] | None = None
        self._current: DicomSource | None = None
        self._file_notes: list[str] = []
        self._damage: Counter[str] = Counter()
        self._next_id = 0

    @property
    def info(self) -> SourceInfo:
        """Not live, without a frame rate."""
        if self._found is None:
            return SourceInfo(name="DICOM series", live=False)
        notes = (*self._found.notes, *self._file_notes)
        return SourceInfo(name="DICOM series", live=False, frames=self._found.frames, damage=self._damage, notes=notes)

    def choose_region(self, region: str) -> None:
        """Look at other ultrasound regions, written as for `DicomSource`; before the folder is opened.

        Raises:
            UsageError: The region is written otherwise (`PE-SRC-032`).
        """
        self._region = check_choice(region)

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
        try:
            silence_dicom_libraries()
            found = images_in_order(self._folder)
        except ImportError as error:
            raise missing_extra("pydicom", "dicom") from error
        if not found.paths:
            raise SourceError(
                "PE-SRC-004",
                found="the folder holds no DICOM image",
                expected="at least one DICOM file with a picture at any depth",
                next_step="name another folder with --source",
            )
        self._found, self._waiting = found, iter(found.paths)
        self._next_id = 0
        self._file_notes.clear()
        self._damage.clear()
        self._current = self._next_file()

    def read(self) -> Frame | None:
        """The next frame, of the next file where one has ended.

        Raises:
            SourceEnded: That was the last one.
            SourceError: Pixels cannot be decoded (`PE-SRC-011`).
        """
        assert self._waiting is not None
        while True:
            if self._current is None:
                self._current = self._next_file()
                if self._current is None:
                    raise SourceEnded
            try:
                frame = self._current.read()
            except SourceEnded:
                self._damage.update(self._current.info.damage)
                self._current.close()
                self._current = None
                continue
            assert frame is not None
            self._hear(self._current)
            self._next_id += 1
            # Every file counts its stamps from 0.
            return replace(frame, frame_id=self._next_id - 1, source_stamp_ns=None, position_ns=None)

    def _next_file(self) -> DicomSource | None:
        path = None if self._waiting is None else next(self._waiting, None)
        if path is None:
            return None
        source = DicomSource(path, region=self._region, clock=self._clock)
        source.open()
        self._hear(source)
        return source

    def _hear(self, source: DicomSource) -> None:
        """Keep what a file says about itself, each sentence once."""
        self._file_notes += [note for note in source.info.notes if note not in self._file_notes]

    def close(self) -> None:
        """Let the files go."""
        if self._current is not None:
            self._current.close()
        self._current = self._waiting = None
