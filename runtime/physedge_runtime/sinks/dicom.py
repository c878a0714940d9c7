"""The masks of DICOM images as DICOM segmentations that refer to them: same patient, same study, same frames.

A frame that was answered has a plane, an empty one where nothing was found; a frame without an answer has none. The
identifiers come from the source and go into the file alone: no error of this sink repeats a value of a data set.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.dicom_quiet import silence_dicom_libraries
from physedge_runtime.errors import PhysedgeError, UsageError, missing_extra
from physedge_runtime.frame import Frame
from physedge_runtime.frame_mask import labels_on_frame
from physedge_runtime.output_file import OutputFile, not_writable, numbered
from physedge_runtime.resize import nearest
from physedge_runtime.results import Segmentation
from physedge_runtime.sinks.dicom_segmentation import Plane, build
from physedge_runtime.sources.dicom_header import frame_count, text_of
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

if TYPE_CHECKING:
    from pydicom import Dataset

_IDENTIFIERS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")


class DicomSegmentationSink:
    """Collects masks and writes segmentations at the end: one of a file, one of all slices of a series.

    Of a folder with several series, with several multi-frame files, or with pictures of several sizes each has a
    segmentation of its own: `seg.dcm`, `seg-2.dcm` ...

    Args:
        path: The file; `output.existing` says what becomes of an older one of that name.

    Attributes:
        output: The first file; until it is whole it is called `NAME.partial.dcm`.
        further_outputs: Those of the other series.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"dicom {path.name}"
        self.output = OutputFile(path)
        self.further_outputs: list[OutputFile] = []
        self._info: StreamInfo | None = None
        self._names: tuple[str, ...] = ()
        self._planes: dict[tuple[str, int], Plane] = {}

    def open(self, info: StreamInfo) -> None:
        """Claim the file.

        Raises:
            UsageError: The source is no file (`PE-SINK-007`), the file cannot be created (`PE-SINK-001`), is an input
                or is in use (`PE-OUT-001`, `PE-OUT-002`).
            EnvironmentFault: highdicom is not installed (`PE-ENV-001`).
        """
        silence_dicom_libraries()
        try:
            import highdicom  # noqa: F401
        except ImportError as error:
            raise missing_extra("highdicom", "dicom") from error
        if info.live:
            raise _needs_dicom()
        try:
            self.output.open(info.inputs)
        except OSError as error:
            raise not_writable(self.output.requested, error.strerror or str(error)) from error
        self._info = info

    def write(self, item: StreamedFrame) -> None:
        """Keep the mask of one frame, or that there is none.

        Raises:
            UsageError: The frame does not come from a DICOM file (`PE-SINK-007`), or its file lacks an identifier
                (`PE-SINK-030`).
        """
        if item.frame is None:
            return
        source = item.frame.metadata.get("dicom")
        if source is None:
            raise _needs_dicom()
        try:
            self._keep(item, item.frame, source)
        except PhysedgeError:
            raise
        except Exception as error:  # of pydicom, with values of the data set
            raise _not_made(error) from None

    def _keep(self, item: StreamedFrame, frame: Frame, source: Dataset) -> None:
        missing = next((keyword for keyword in _IDENTIFIERS if not text_of(source, keyword)), "")
        if missing:
            raise UsageError(
                "PE-SINK-030",
                found=f"a DICOM file without {missing}",
                expected="a file that a segmentation can refer to",
                next_step="let the archive export the file again, or choose another sink",
            )
        number = int(frame.metadata.get("frame_number", frame.frame_id))
        key = str(source.SOPInstanceUID), number
        plane = self._planes.setdefault(key, Plane(source, number))
        if plane.source is not source:
            return  # a copy of a file that came already
        if isinstance(item.result, Segmentation):
            self._names = item.result.classes[1:]
            labels = self._labels(frame, item.result, source)
            if plane.labels:
                labels = np.maximum(labels, _unpacked(plane))
            plane.labels = zlib.compress(labels.tobytes(), 1)
            remark = frame.part.partition("; ")[2] or ("" if frame.part.startswith("region") else frame.part)
        else:
            remark = f"no answer for {frame.part}" if frame.part else ""
        if remark and remark not in plane.remarks:
            plane.remarks.append(remark)

    def close(self) -> None:
        """Write the segmentations; none is left where no frame was answered.

        Raises:
            UsageError: A segmentation cannot be made of this source (`PE-SINK-030`).
        """
        info, self._info = self._info, None
        if info is None:
            return
        try:
            for number, planes in enumerate(self._series(), start=1):
                made = build(planes, _unpacked, self._names, info)
                made.save_as(self._output(number, info).writing, enforce_file_format=True)
                self._outputs[-1].publish()
        except (PhysedgeError, OSError):
            raise
        except Exception as error:  # of pydicom and highdicom, with values of the data set
            raise _not_made(error) from None
        finally:
            self._planes.clear()
            for output in self._outputs:
                output.discard()

    @property
    def _outputs(self) -> list[OutputFile]:
        return [self.output, *self.further_outputs]

    def _output(self, number: int, info: StreamInfo) -> OutputFile:
        """The file of the first series, or one more beside it."""
        if number > 1:
            self.further_outputs.append(OutputFile(numbered(self.output.path, number), existing=self.output.existing))
            self.further_outputs[-1].open(info.inputs)
        return self._outputs[-1]

    def _series(self) -> list[list[Plane]]:
        """The answered planes that one segmentation can hold, in the order in which they came."""
        found: dict[tuple[str, ...], list[Plane]] = {}
        for plane in self._planes.values():
            if not plane.labels:
                continue
            source = plane.source
            keys = ["StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "Rows", "Columns"]
            if frame_count(source) > 1:
                keys.append("SOPInstanceUID")
            found.setdefault(tuple(text_of(source, key) for key in keys), []).append(plane)
        return list(found.values())

    def _labels(self, frame: Frame, result: Segmentation, source: Dataset) -> NDArray[np.uint8]:
        """Labels at the size of the stored picture, also where a region was looked at, or drawn with square pixels."""
        assert self._info is not None
        labels = labels_on_frame(result, self._info.frame_spec)
        rows, columns = int(source.Rows), int(source.Columns)
        left, top, right, bottom = frame.metadata.get("region_px") or (0, 0, columns, rows)
        whole = np.zeros((rows, columns), np.uint8)
        stored = np.ix_(nearest(labels.shape[0], bottom - top), nearest(labels.shape[1], right - left))
        whole[top:bottom, left:right] = labels[stored]
        return whole


def _unpacked(plane: Plane) -> NDArray[np.uint8]:
    shape = int(plane.source.Rows), int(plane.source.Columns)
    return np.frombuffer(zlib.decompress(plane.labels), np.uint8).reshape(shape)


def _not_made(error: Exception) -> UsageError:
    return UsageError(
        "PE-SINK-030",
        found=f"a DICOM file of which no segmentation can be made ({type(error).__name__})",
        expected="a header as the DICOM standard describes it",
        next_step="let the archive export the file again, or choose another sink",
    )


def _needs_dicom() -> UsageError:
    return UsageError(
        "PE-SINK-007",
        found="a stream that is no DICOM file",
        expected="a DICOM file or a folder of them as the source of a DICOM segmentation",
        next_step="stream --source FILE.dcm, or choose another sink",
    )
