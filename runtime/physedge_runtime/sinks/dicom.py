"""The masks of a DICOM file as a DICOM segmentation that refers to it: same patient, same study, same frames.

A frame that was answered has a plane, an empty one where nothing was found; a frame without an answer has none. The
identifiers come from the source and go into the file alone.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import UsageError, missing_extra
from physedge_runtime.frame import Frame, FrameSpec
from physedge_runtime.resize import to_frame
from physedge_runtime.results import Segmentation
from physedge_runtime.sinks.jsonl import not_writable
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo

if TYPE_CHECKING:
    from pydicom import Dataset

_SERIES_NUMBER = 900
_SERIAL_LENGTH = 16


class DicomSegmentationSink:
    """Collects the masks of one DICOM source and writes one segmentation object at the end.

    Args:
        path: The file; an older one of that name is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"dicom {path.name}"
        self._path = path
        self._info: StreamInfo | None = None
        self._source: Dataset | None = None
        self._names: tuple[str, ...] = ()
        self._masks: dict[int, NDArray[np.uint8]] = {}

    def open(self, info: StreamInfo) -> None:
        """See that the file can be written.

        Raises:
            UsageError: The source is no file (`PE-SINK-007`), or the file cannot be created (`PE-SINK-001`).
            EnvironmentFault: highdicom is not installed (`PE-ENV-001`).
        """
        try:
            import highdicom  # noqa: F401
        except ImportError as error:
            raise missing_extra("highdicom", "dicom") from error
        if info.live:
            raise _needs_dicom()
        try:
            self._path.open("wb").close()
            self._path.unlink()
        except OSError as error:
            raise not_writable(self._path, error.strerror or str(error)) from error
        self._info = info

    def write(self, item: StreamedFrame) -> None:
        """Keep the mask of one frame; of two classes, one bit a pixel.

        Raises:
            UsageError: The frame does not come from a DICOM file, or from a second one (`PE-SINK-007`).
        """
        if item.frame is None:
            return
        source = item.frame.metadata.get("dicom")
        if source is None:
            raise _needs_dicom()
        if self._source is not None and self._source is not source:
            raise _one_file_alone()
        self._source = source
        if isinstance(item.result, Segmentation):
            labels = self._labels(item.frame, item.result)
            self._names = item.result.classes[1:]
            is_one_segment = len(item.result.classes) == 2
            self._masks[item.frame.frame_id] = np.packbits(labels > 0) if is_one_segment else labels.reshape(-1)

    def close(self) -> None:
        """Write the segmentation; nothing is written where no frame was answered."""
        if self._source is None or not self._masks:
            return
        source, self._source = self._source, None
        self._segmentation(source).save_as(self._path)

    def _labels(self, frame: Frame, result: Segmentation) -> NDArray[np.uint8]:
        """Labels at the size of the stored picture, also where only its ultrasound region was looked at."""
        assert self._info is not None
        assert self._source is not None
        spec = self._info.frame_spec or FrameSpec(height=result.mask.shape[0], width=result.mask.shape[1])
        labels = to_frame(result.mask, spec, result.frame_shape)
        region = frame.metadata.get("region_px")
        if region is None:
            return labels
        left, top, right, bottom = region
        whole = np.zeros((int(self._source.Rows), int(self._source.Columns)), np.uint8)
        whole[top:bottom, left:right] = labels
        return whole

    def _segmentation(self, source: Dataset) -> Dataset:
        """The whole object: highdicom's for a single frame, then one plane for each segment of each answered frame.

        highdicom makes multi-frame segmentations only where the source has a frame of reference, which an ultrasound
        or endoscopy clip has not.
        """
        names = self._names
        made = self._single_frame(source, names)
        for reference in (made.SourceImageSequence[0], made.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]):
            reference.ReferencedSOPClassUID = source.SOPClassUID
        template = made.PerFrameFunctionalGroupsSequence[0]
        made.SharedFunctionalGroupsSequence[0].pop("SegmentIdentificationSequence", None)
        groups, planes = [], []
        for segment in range(1, len(names) + 1):
            for frame_id in sorted(self._masks):
                groups.append(_functional_group(template, source, segment, frame_id))
                planes.append(self._plane(source, segment, frame_id, is_one_segment=len(names) == 1))
        _set_planes(made, groups, planes)
        return made

    def _plane(self, source: Dataset, segment: int, frame_id: int, *, is_one_segment: bool) -> NDArray[np.uint8]:
        shape = (int(source.Rows), int(source.Columns))
        kept = self._masks[frame_id]
        if is_one_segment:
            return np.unpackbits(kept, count=shape[0] * shape[1]).reshape(shape)
        return np.asarray(kept.reshape(shape) == segment, np.uint8)

    def _single_frame(self, source: Dataset, names: tuple[str, ...]) -> Any:
        from highdicom.seg import Segmentation as DicomSegmentation
        from highdicom.seg import SegmentationTypeValues
        from highdicom.uid import UID
        from pydicom.uid import UltrasoundImageStorage

        assert self._info is not None
        one_frame = copy.copy(source)
        one_frame.SOPClassUID = UltrasoundImageStorage
        if "NumberOfFrames" in one_frame:
            del one_frame.NumberOfFrames
        every_segment = np.zeros((1, int(source.Rows), int(source.Columns)), np.uint8)
        every_segment.reshape(-1)[: len(names)] = np.arange(1, len(names) + 1)
        serial = hashlib.sha256(self._info.engine.encode()).hexdigest()[:_SERIAL_LENGTH]
        return DicomSegmentation(
            source_images=[one_frame],
            pixel_array=every_segment,
            segmentation_type=SegmentationTypeValues.BINARY,
            segment_descriptions=[self._describe(number, name) for number, name in enumerate(names, start=1)],
            series_instance_uid=UID(),
            series_number=_SERIES_NUMBER,
            sop_instance_uid=UID(),
            instance_number=1,
            manufacturer="physedge",
            manufacturer_model_name=self._info.bundle or "physedge",
            software_versions=importlib.metadata.version("physedge"),
            device_serial_number=serial,
        )

    def _describe(self, number: int, name: str) -> Any:
        from highdicom import AlgorithmIdentificationSequence
        from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
        from pydicom.sr.codedict import codes

        assert self._info is not None
        return SegmentDescription(
            segment_number=number,
            segment_label=name[:64],
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Lesion,
            algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=AlgorithmIdentificationSequence(
                name=(self._info.bundle or "physedge")[:64],
                family=codes.DCM.ArtificialIntelligence,
                version=self._info.engine[:64],
            ),
        )


def _functional_group(template: Dataset, source: Dataset, segment: int, frame_id: int) -> Dataset:
    """What one plane says about itself: its segment and its frame."""
    from pydicom import Dataset

    group = copy.deepcopy(template)
    reference = group.DerivationImageSequence[0].SourceImageSequence[0]
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedFrameNumber = frame_id + 1
    identification = Dataset()
    identification.ReferencedSegmentNumber = segment
    group.SegmentIdentificationSequence = [identification]
    content = group.FrameContentSequence[0]
    content.DimensionIndexValues = [segment, frame_id + 1]
    content.StackID, content.InStackPositionNumber = "1", frame_id + 1
    return group


def _set_planes(made: Dataset, groups: list[Dataset], planes: list[NDArray[np.uint8]]) -> None:
    from pydicom import Dataset
    from pydicom.pixels.utils import pack_bits
    from pydicom.tag import Tag

    by_frame = Dataset()
    by_frame.DimensionOrganizationUID = made.DimensionIndexSequence[0].DimensionOrganizationUID
    by_frame.DimensionIndexPointer = Tag("InStackPositionNumber")
    by_frame.FunctionalGroupPointer = Tag("FrameContentSequence")
    by_frame.DimensionDescriptionLabel = "Frame of the source"
    made.DimensionIndexSequence.append(by_frame)
    made.PerFrameFunctionalGroupsSequence = groups
    made.NumberOfFrames = len(planes)
    made.PixelData = pack_bits(np.stack(planes))


def _one_file_alone() -> UsageError:
    return UsageError(
        "PE-SINK-007",
        found="a series of several DICOM files",
        expected="one file: a segmentation refers to the frames of one",
        next_step="run once for each file, or take another sink for the series",
    )


def _needs_dicom() -> UsageError:
    return UsageError(
        "PE-SINK-007",
        found="a stream that is no DICOM file",
        expected="a DICOM file as the source of a DICOM segmentation",
        next_step="stream --source FILE.dcm, or choose another sink",
    )
