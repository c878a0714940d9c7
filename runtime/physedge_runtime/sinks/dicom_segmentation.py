"""A DICOM segmentation (PS3.3, A.51) of images of one series: what it says of itself, its segments, and its planes."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.sinks.dicom_geometry import WHOLE_SLIDE, Place, place_in_body, place_on_slide
from physedge_runtime.sinks.dicom_identity import copy_identity
from physedge_runtime.sources.dicom_header import frame_count
from physedge_runtime.spec import DEFAULT_SEGMENT, CodeTriple
from physedge_runtime.stream.streamed import StreamInfo

if TYPE_CHECKING:
    from pydicom import Dataset

_SERIES_NUMBER = 900
_SERIAL_LENGTH = 16
_LONG_TEXT, _SHORT_TEXT = 64, 1024
_SEGMENTATION = ("113076", "DCM", "Segmentation")
_SOURCE = ("121322", "DCM", "Source image for image processing operation")
_SLIDE_KEYS = (
    "TotalPixelMatrixColumns",
    "TotalPixelMatrixRows",
    "TotalPixelMatrixOriginSequence",
    "ImageOrientationSlide",
    "ContainerIdentifier",
    "IssuerOfTheContainerIdentifierSequence",
    "ContainerTypeCodeSequence",
    "SpecimenDescriptionSequence",
)


@dataclass(slots=True)
class Plane:
    """The labels of one stored frame.

    Attributes:
        source: Its data set.
        frame: Its number there, from 0.
        labels: uint8 (height, width) packed by whoever made it; `unpack` gives it back.
        remarks: What is to be said about it: regions that have no answer, or were not looked at.
    """

    source: Dataset
    frame: int
    labels: bytes = b""
    remarks: list[str] = field(default_factory=list)


def build(planes: Sequence[Plane], unpack: Any, names: Sequence[str], info: StreamInfo) -> Dataset:
    """The whole object; of each segment a plane for each frame, an empty one where nothing was found.

    Args:
        planes: Of images of one series and one size, at least one.
        unpack: A plane's labels as uint8 (height, width).
        names: Of the segments; label 1 is the first.
        info: What streams.
    """
    first = planes[0].source
    places = _places(planes)
    ordered = sorted(range(len(planes)), key=lambda index: places[index].order if places else (float(index),))
    planes = [planes[index] for index in ordered]
    places = [places[index] for index in ordered] if places else None
    made = _head(first, info)
    _describe_image(made, first, planes, places)
    made.SegmentSequence = [_segment(number, name, info) for number, name in enumerate(names, start=1)]
    _refer(made, planes)
    _set_dimensions(made, planes, places, len(names))
    made.PixelData = _packed(planes, unpack, len(names))
    return made


def _places(planes: Sequence[Plane]) -> list[Place] | None:
    """Where each frame lies; None where one of them does not say it."""
    found = []
    for plane in planes:
        is_slide = plane.source.SOPClassUID == WHOLE_SLIDE
        place = (place_on_slide if is_slide else place_in_body)(plane.source, plane.frame)
        if place is None:
            return None
        found.append(place)
    return found


def _head(source: Dataset, info: StreamInfo) -> Dataset:
    """Patient and study of the source; a series, an object and a device of its own."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SpecificCharacterSet = "ISO_IR 192"
    copy_identity(source, made)
    now = datetime.datetime.now(datetime.UTC).astimezone()
    made.SOPClassUID, made.SOPInstanceUID = SegmentationStorage, generate_uid()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = made.SOPClassUID, made.SOPInstanceUID
    made.Modality, made.SeriesInstanceUID = "SEG", generate_uid()
    made.SeriesNumber, made.InstanceNumber = _SERIES_NUMBER, 1
    made.ContentDate, made.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S.%f")
    made.SeriesDate, made.SeriesTime = made.ContentDate, made.ContentTime
    made.Manufacturer, made.ManufacturerModelName = "physedge", (info.bundle or "physedge")[:_LONG_TEXT]
    made.SoftwareVersions = importlib.metadata.version("physedge")
    made.DeviceSerialNumber = hashlib.sha256(info.engine.encode()).hexdigest()[:_SERIAL_LENGTH]
    made.ContentLabel, made.ContentCreatorName = "SEGMENTATION", ""
    return made


def _describe_image(made: Dataset, source: Dataset, planes: Sequence[Plane], places: list[Place] | None) -> None:
    made.ImageType = ["DERIVED", "PRIMARY"]
    made.Rows, made.Columns = int(source.Rows), int(source.Columns)
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = 0
    made.SegmentationType, made.SegmentsOverlap = "BINARY", "NO"
    made.LossyImageCompression = "00"
    if any(str(plane.source.get("LossyImageCompression", "")) == "01" for plane in planes):
        made.LossyImageCompression = "01"
        made.LossyImageCompressionRatio = source.get("LossyImageCompressionRatio") or "1"
        made.LossyImageCompressionMethod = source.get("LossyImageCompressionMethod") or "ISO_10918_1"
    remarks = list(dict.fromkeys(remark for plane in planes for remark in plane.remarks))
    made.ContentDescription = "; ".join(remarks)[:_LONG_TEXT] or "Masks of a neural network"
    if places is None or source.SOPClassUID == WHOLE_SLIDE:
        made.PatientOrientation = ""
    if places is not None:
        made.FrameOfReferenceUID, made.PositionReferenceIndicator = source.FrameOfReferenceUID, ""
        if "PositionReferenceIndicator" in source:
            made.PositionReferenceIndicator = source.PositionReferenceIndicator
    if places is not None and source.SOPClassUID == WHOLE_SLIDE:
        made.DimensionOrganizationType = "TILED_SPARSE"
        for keyword in _SLIDE_KEYS:
            if keyword in source:
                made[keyword] = source[keyword]


def _segment(number: int, name: str, info: StreamInfo) -> Dataset:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentAlgorithmTypeValues, SegmentDescription
    from pydicom.sr.codedict import codes

    meant = (info.segments or {}).get(name, DEFAULT_SEGMENT)
    described: Dataset = SegmentDescription(
        segment_number=number,
        segment_label=name[:_LONG_TEXT],
        segmented_property_category=_coded(meant.category),
        segmented_property_type=_coded(meant.type),
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=(info.bundle or "physedge")[:_LONG_TEXT],
            family=codes.DCM.ArtificialIntelligence,
            version=info.engine[:_LONG_TEXT],
        ),
    )
    return described


def _coded(triple: CodeTriple) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(*triple)


def _reference(plane: Plane) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    item.ReferencedSOPClassUID = plane.source.SOPClassUID
    item.ReferencedSOPInstanceUID = plane.source.SOPInstanceUID
    return item


def _refer(made: Dataset, planes: Sequence[Plane]) -> None:
    """Every image once, in the order of the planes."""
    from pydicom import Dataset

    instances = {str(plane.source.SOPInstanceUID): plane for plane in planes}
    series = Dataset()
    series.SeriesInstanceUID = planes[0].source.SeriesInstanceUID
    series.ReferencedInstanceSequence = [_reference(plane) for plane in instances.values()]
    made.ReferencedSeriesSequence = [series]


def _set_dimensions(made: Dataset, planes: Sequence[Plane], places: list[Place] | None, segments: int) -> None:
    """Functional groups: what all planes share, what each has of its own, and what they are in order by."""
    from pydicom import Dataset
    from pydicom.uid import generate_uid

    organization = Dataset()
    organization.DimensionOrganizationUID = generate_uid()
    made.DimensionOrganizationSequence = [organization]
    is_slide = places is not None and "DimensionOrganizationType" in made
    by = [("ReferencedSegmentNumber", "SegmentIdentificationSequence")]
    if is_slide:
        by += [(f"{key}PositionInTotalImagePixelMatrix", "PlanePositionSlideSequence") for key in ("Row", "Column")]
    elif places is not None:
        by += [("ImagePositionPatient", "PlanePositionSequence")]
    else:
        by += [("InStackPositionNumber", "FrameContentSequence")]
    made.DimensionIndexSequence = [_dimension(organization.DimensionOrganizationUID, *pair) for pair in by]
    shared = _shared(places)
    made.SharedFunctionalGroupsSequence = [_item(shared)]
    orders = _orders(planes, places, is_slide=is_slide)
    made.PerFrameFunctionalGroupsSequence = [
        _groups_of(plane, None if places is None else places[index], shared, segment, orders[index])
        for segment in range(1, segments + 1)
        for index, plane in enumerate(planes)
    ]
    made.NumberOfFrames = len(planes) * segments


def _dimension(organization: str, pointer: str, group: str) -> Dataset:
    from pydicom import Dataset
    from pydicom.tag import Tag

    item = Dataset()
    item.DimensionOrganizationUID = organization
    item.DimensionIndexPointer, item.FunctionalGroupPointer = Tag(pointer), Tag(group)
    return item


def _orders(planes: Sequence[Plane], places: list[Place] | None, *, is_slide: bool) -> list[tuple[int, ...]]:
    """The place of each plane in each dimension but the segment, counted from 1."""
    if places is None:
        return [(number,) for number in range(1, len(planes) + 1)]
    keys = [place.order if is_slide else (place.order,) for place in places]
    ranks = [
        {value: rank for rank, value in enumerate(sorted({key[axis] for key in keys}), start=1)}
        for axis in range(len(keys[0]))
    ]
    return [tuple(ranks[axis][key[axis]] for axis in range(len(key))) for key in keys]


def _shared(places: list[Place] | None) -> dict[str, Dataset]:
    """The groups that are the same for all planes."""
    if places is None:
        return {}
    first = places[0].groups
    return {
        keyword: group
        for keyword, group in first.items()
        if "Position" not in keyword and all(place.groups[keyword] == group for place in places)
    }


def _item(groups: dict[str, Dataset]) -> Dataset:
    from pydicom import Dataset

    item = Dataset()
    for keyword, group in groups.items():
        setattr(item, keyword, [group])
    return item


def _groups_of(
    plane: Plane, place: Place | None, shared: dict[str, Dataset], segment: int, order: tuple[int, ...]
) -> Dataset:
    from pydicom import Dataset

    own = {} if place is None else {key: group for key, group in place.groups.items() if key not in shared}
    item = _item(own)
    image, derivation, content, identification = _reference(plane), Dataset(), Dataset(), Dataset()
    if frame_count(plane.source) > 1 or "NumberOfFrames" in plane.source:
        image.ReferencedFrameNumber = plane.frame + 1
    image.PurposeOfReferenceCodeSequence = [_coded(_SOURCE)]
    image.SpatialLocationsPreserved = "YES"
    derivation.SourceImageSequence = [image]
    derivation.DerivationCodeSequence = [_coded(_SEGMENTATION)]
    content.DimensionIndexValues = [segment, *order]
    if place is None:
        content.StackID, content.InStackPositionNumber = "1", order[0]
    if plane.remarks:
        content.FrameComments = "; ".join(plane.remarks)[:_SHORT_TEXT]
    identification.ReferencedSegmentNumber = segment
    item.DerivationImageSequence, item.FrameContentSequence = [derivation], [content]
    item.SegmentIdentificationSequence = [identification]
    return item


def _packed(planes: Sequence[Plane], unpack: Any, segments: int) -> bytes:
    """One bit a pixel, all planes behind each other without gaps between them (PS3.5, 8.2)."""
    packed = bytearray()
    left_over = np.zeros(0, np.uint8)
    for segment in range(1, segments + 1):
        for plane in planes:
            labels: NDArray[np.uint8] = unpack(plane)
            bits = np.concatenate([left_over, np.asarray(labels == segment, np.uint8).reshape(-1)])
            whole = bits.size // 8 * 8
            packed += np.packbits(bits[:whole], bitorder="little").tobytes()
            left_over = bits[whole:]
    packed += np.packbits(left_over, bitorder="little").tobytes()
    return bytes(packed) + b"\0" * (len(packed) % 2)
