"""DICOM segmentations of every kind of source: their references and geometry, read by highdicom and by dciodvfy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dcmtk
import numpy as np
import pytest
from stream_dicom import tissue_region, write_dicom
from stream_fakes import FakeNet, answer_to

from physedge_runtime.errors import SafeState
from physedge_runtime.frame import Frame
from physedge_runtime.output_file import Existing
from physedge_runtime.results import Result, Trust, TrustState
from physedge_runtime.sinks.dicom import DicomSegmentationSink
from physedge_runtime.spec import SegmentSpec
from physedge_runtime.stream.loop import stream

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
highdicom = pytest.importorskip("highdicom", reason="the extra dicom is not installed")

ORIENTATION = [1, 0, 0, 0, 1, 0]
ULTRASOUND, CT, MR = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_CT, ENHANCED_MR = f"{CT}.1", f"{MR}.1"
SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"


def pixels(count: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.random.default_rng(count).integers(60, 190, (count, height, width), np.uint8)


def single(path: Path, kind: str, *, place: int = 0, modality: str = "MR", **changes: Any) -> Path:
    """A single-frame image of a kind, in the body where it is a slice."""
    write_dicom(path, pixels(1), Modality=modality, SOPClassUID=kind, **changes)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.MediaStorageSOPClassUID = kind
    del dataset.NumberOfFrames
    if kind in (CT, MR):
        dataset.FrameOfReferenceUID = "1.2.3.4"
        dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [-10, -20, 2.5 * place], ORIENTATION
        dataset.PixelSpacing, dataset.SliceThickness = [0.5, 0.5], 2.5
    dataset.save_as(path)
    return path


def enhanced(path: Path, kind: str) -> Path:
    """Three frames whose places fall, so that order by place is not order by number."""
    write_dicom(path, pixels(3), SOPClassUID=kind, FrameOfReferenceUID="1.2.3.4", Modality="MR")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.MediaStorageSOPClassUID = kind
    measures, orientation, shared = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.5, 0.5], 4
    orientation.ImageOrientationPatient = ORIENTATION
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    dataset.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for frame in range(3):
        position, group = pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = [0, 0, -4 * frame]
        group.PlanePositionSequence = [position]
        groups.append(group)
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.save_as(path)
    return path


def slide(path: Path) -> Path:
    """Four tiles of a fully tiled slide of two by two."""
    write_dicom(path, pixels(4, 32, 32), SOPClassUID=SLIDE, FrameOfReferenceUID="1.2.3.4", Modality="SM")
    dataset = pydicom.dcmread(path)
    dataset.file_meta.MediaStorageSOPClassUID = SLIDE
    origin, measures, shared = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    origin.XOffsetInSlideCoordinateSystem, origin.YOffsetInSlideCoordinateSystem = 1, 2
    measures.PixelSpacing, measures.SliceThickness = [0.01, 0.01], 0.005
    shared.PixelMeasuresSequence = [measures]
    dataset.TotalPixelMatrixRows = dataset.TotalPixelMatrixColumns = 60
    dataset.TotalPixelMatrixOriginSequence, dataset.ImageOrientationSlide = [origin], [0, 1, 0, 1, 0, 0]
    dataset.DimensionOrganizationType, dataset.SharedFunctionalGroupsSequence = "TILED_FULL", [shared]
    dataset.ImageType, dataset.PositionReferenceIndicator = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "SLIDE_CORNER"
    dataset.ContainerIdentifier, dataset.ContainerTypeCodeSequence = "4711", []
    dataset.IssuerOfTheContainerIdentifierSequence = []
    specimen = pydicom.Dataset()
    specimen.SpecimenIdentifier, specimen.SpecimenUID = "1", "1.2.3.5"
    specimen.IssuerOfTheSpecimenIdentifierSequence, specimen.SpecimenPreparationSequence = [], []
    dataset.SpecimenDescriptionSequence = [specimen]
    dataset.save_as(path)
    return path


SOURCES: dict[str, Callable[[Path], Path]] = {
    "ultrasound": lambda path: single(path, ULTRASOUND, modality="US"),
    "ultrasound clip": lambda path: write_dicom(path, pixels(3)),
    "ct": lambda path: single(path, CT, modality="CT"),
    "mr": lambda path: single(path, MR),
    "enhanced ct": lambda path: enhanced(path, ENHANCED_CT),
    "enhanced mr": lambda path: enhanced(path, ENHANCED_MR),
    "slide": slide,
}


def segmented(source: Path, folder: Path, net: FakeNet | None = None) -> list[Path]:
    """The files written of a source."""
    with stream(net or FakeNet(), f"dicom:{source}", sinks=[DicomSegmentationSink(folder / "seg.dcm")]) as running:
        running.wait()
    return list(running.written)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.mark.parametrize("kind", SOURCES)
def test_a_segmentation_of_every_kind_refers_to_its_frames_and_is_read(kind: str, tmp_path: Path, out: Path) -> None:
    path = SOURCES[kind](tmp_path / "source.dcm")
    (written,) = segmented(path, out)
    source, made = pydicom.dcmread(path), pydicom.dcmread(written)
    count = int(source.get("NumberOfFrames", 1))
    assert int(made.NumberOfFrames) == count
    for group in made.PerFrameFunctionalGroupsSequence:
        reference = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert reference.ReferencedSOPClassUID == source.SOPClassUID
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert ("ReferencedFrameNumber" in reference) == (count > 1)
    referred = made.ReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == source.SeriesInstanceUID
    assert [one.ReferencedSOPClassUID for one in referred.ReferencedInstanceSequence] == [source.SOPClassUID]
    assert dcmtk.standard_errors(written) == []
    read = highdicom.seg.segread(written)
    if count > 1:
        planes = read.get_pixels_by_source_frame(source.SOPInstanceUID, list(range(1, count + 1)))
    else:
        planes = read.get_pixels_by_source_instance([source.SOPInstanceUID])
    height, width = int(source.Rows), int(source.Columns)
    expected = np.zeros((height, width), np.uint8)
    expected[height * 8 // 24 : height * 16 // 24, width * 10 // 32 : width * 22 // 32] = 1
    assert planes.shape == (count, height, width, 1)
    assert np.abs(planes[..., 0].astype(int) - expected).mean() < 0.02


def test_planes_of_an_enhanced_image_lie_where_its_frames_lie(tmp_path: Path, out: Path) -> None:
    (written,) = segmented(enhanced(tmp_path / "source.dcm", ENHANCED_MR), out)
    made = pydicom.dcmread(written)
    found = [
        (
            int(group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber),
            float(group.PlanePositionSequence[0].ImagePositionPatient[2]),
        )
        for group in made.PerFrameFunctionalGroupsSequence
    ]
    assert found == [(3, -8.0), (2, -4.0), (1, 0.0)]
    assert made.FrameOfReferenceUID == "1.2.3.4"
    assert highdicom.seg.segread(written).get_volume().spacing == pytest.approx((4.0, 0.5, 0.5))


def test_tiles_of_a_slide_lie_where_they_were(tmp_path: Path, out: Path) -> None:
    (written,) = segmented(slide(tmp_path / "source.dcm"), out)
    tiles = [group.PlanePositionSlideSequence[0] for group in pydicom.dcmread(written).PerFrameFunctionalGroupsSequence]
    assert [
        (int(tile.RowPositionInTotalImagePixelMatrix), int(tile.ColumnPositionInTotalImagePixelMatrix))
        for tile in tiles
    ] == [(1, 1), (1, 33), (33, 1), (33, 33)]
    # Columns run along y of the slide and rows along x.
    assert [float(tile.YOffsetInSlideCoordinateSystem) for tile in tiles] == [2, 2.32, 2, 2.32]
    assert [float(tile.XOffsetInSlideCoordinateSystem) for tile in tiles] == [1, 1, 1.32, 1.32]


def test_one_segmentation_refers_to_all_slices_of_a_series(tmp_path: Path, out: Path) -> None:
    (tmp_path / "series").mkdir()
    for number in range(4):
        single(
            tmp_path / "series" / f"IM{number}", MR, place=number, InstanceNumber=4 - number,
            SeriesInstanceUID="1.2", StudyInstanceUID="1.1",
        )  # fmt: skip
    (written,) = segmented(tmp_path / "series", out)
    sources = [pydicom.dcmread(tmp_path / "series" / f"IM{number}") for number in range(4)]
    made = pydicom.dcmread(written)
    referred = made.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert {one.ReferencedSOPInstanceUID for one in referred} == {one.SOPInstanceUID for one in sources}
    for source, group in zip(sources, made.PerFrameFunctionalGroupsSequence, strict=True):
        reference = group.DerivationImageSequence[0].SourceImageSequence[0]
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == MR
        assert group.PlanePositionSequence[0].ImagePositionPatient == source.ImagePositionPatient
    assert dcmtk.standard_errors(written) == []
    read = highdicom.seg.segread(written)
    volume = read.get_volume()
    assert volume.spatial_shape == (4, 48, 64)
    assert volume.spacing == pytest.approx((2.5, 0.5, 0.5))
    assert read.get_pixels_by_source_instance([one.SOPInstanceUID for one in sources]).any(axis=(1, 2, 3)).all()


def test_several_series_and_clips_have_a_segmentation_each(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "study"
    folder.mkdir()
    single(folder / "a.dcm", MR, SeriesInstanceUID="1.2", SeriesNumber=1, StudyInstanceUID="1.1")
    clips: dict[str, Any] = {"SeriesInstanceUID": "1.3", "SeriesNumber": 2, "StudyInstanceUID": "1.1"}
    write_dicom(folder / "b.dcm", pixels(2), InstanceNumber=1, **clips)
    write_dicom(folder / "c.dcm", pixels(3), InstanceNumber=2, **clips)
    written = segmented(folder, out)
    assert [path.name for path in written] == ["seg.dcm", "seg-2.dcm", "seg-3.dcm"]
    assert [int(pydicom.dcmread(path).NumberOfFrames) for path in written] == [1, 2, 3]
    assert sorted(path.name for path in out.iterdir()) == ["seg-2.dcm", "seg-3.dcm", "seg.dcm"]


def test_classes_are_coded_as_the_specification_says(tmp_path: Path, out: Path) -> None:
    def respond(frame: Frame) -> Result:
        return replace(
            answer_to(frame), classes=("none", "polyp", "other"), probability=np.full((3, 24, 32), 0.3, np.float32)
        )

    net = FakeNet(respond)
    meant = SegmentSpec(
        category=("49755003", "SCT", "Morphologically Abnormal Structure"), type=("41329004", "SCT", "Polyp")
    )
    net.spec = type("Spec", (), {"name": "n", "version": "1", "segment": {"polyp": meant}})()
    (written,) = segmented(write_dicom(tmp_path / "source.dcm", pixels(2)), out, net)
    polyp, other = pydicom.dcmread(written).SegmentSequence
    assert polyp.SegmentedPropertyTypeCodeSequence[0].CodeValue == "41329004"
    assert polyp.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert other.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning == "Anatomical Structure"
    assert other.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Morphologically Abnormal Structure"
    assert dcmtk.standard_errors(written) == []


LEFT, RIGHT = (4, 4, 27, 43), (36, 4, 59, 43)


def dual(path: Path) -> Path:
    return write_dicom(path, pixels(2), SequenceOfUltrasoundRegions=[tissue_region(*LEFT), tissue_region(*RIGHT)])


def test_both_regions_of_a_dual_view_are_in_one_plane(tmp_path: Path, out: Path) -> None:
    (written,) = segmented(dual(tmp_path / "source.dcm"), out)
    made = pydicom.dcmread(written)
    assert int(made.NumberOfFrames) == 2
    for plane in made.pixel_array:
        for left, top, right, bottom in (LEFT, RIGHT):
            assert 0.1 < plane[top : bottom + 1, left : right + 1].mean() < 0.3
        assert not plane[:, 28:36].any()
    assert all("FrameComments" not in group.FrameContentSequence[0] for group in made.PerFrameFunctionalGroupsSequence)


def test_a_region_without_an_answer_is_named_in_the_segmentation(tmp_path: Path, out: Path) -> None:
    def respond(frame: Frame) -> Result:
        is_void = frame.part.startswith("region 2") and frame.metadata["frame_number"] == 1
        return replace(answer_to(frame), trust=Trust(state=TrustState.VOID, reason="x") if is_void else Trust())

    (written,) = segmented(dual(tmp_path / "source.dcm"), out, FakeNet(respond))
    made = pydicom.dcmread(written)
    comments = [group.FrameContentSequence[0].get("FrameComments") for group in made.PerFrameFunctionalGroupsSequence]
    assert comments == [None, "no answer for region 2 of 2"]
    assert made.ContentDescription == "no answer for region 2 of 2"


def test_a_region_that_was_not_looked_at_is_named_in_the_segmentation(tmp_path: Path, out: Path) -> None:
    from physedge_runtime.sources.dicom import DicomSource

    source = DicomSource(dual(tmp_path / "source.dcm"), region="first")
    with stream(FakeNet(), source, sinks=[DicomSegmentationSink(out / "seg.dcm")]) as running:
        running.wait()
    made = pydicom.dcmread(out / "seg.dcm")
    assert made.ContentDescription == "region 2 not looked at"
    assert made.PerFrameFunctionalGroupsSequence[0].FrameContentSequence[0].FrameComments == "region 2 not looked at"
    assert not made.pixel_array[:, :, 28:].any()


def test_a_mask_of_a_picture_drawn_square_is_brought_back_to_the_stored_pixels(tmp_path: Path, out: Path) -> None:
    (written,) = segmented(write_dicom(tmp_path / "source.dcm", pixels(1), PixelAspectRatio=["2", "1"]), out)
    plane = pydicom.dcmread(written).pixel_array.reshape(48, 64)
    rows, columns = np.nonzero(plane)
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (16, 32, 20, 44)


@pytest.mark.parametrize(
    "missing", ["PatientSex", "PatientBirthDate", "StudyID", "ReferringPhysicianName", "StudyDate"]
)
def test_what_may_be_empty_may_be_missing(missing: str, tmp_path: Path, out: Path) -> None:
    path = write_dicom(tmp_path / "source.dcm", pixels(2))
    dataset = pydicom.dcmread(path)
    del dataset[missing]
    dataset.save_as(path)
    (written,) = segmented(path, out)
    assert pydicom.dcmread(written)[missing].is_empty
    assert dcmtk.standard_errors(written) == []


def test_an_identifier_that_the_standard_does_not_allow_is_kept(tmp_path: Path, out: Path) -> None:
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    path = write_dicom(tmp_path / "source.dcm", pixels(2))
    dataset = pydicom.dcmread(path)
    for keyword, vr, content in (("StudyInstanceUID", "UI", b"1.2.CLINIC.7"), ("StudyDate", "DA", b"12.03.2024")):
        dataset[Tag(keyword)] = RawDataElement(Tag(keyword), vr, len(content), content, 0, False, True)
    pydicom.dcmwrite(path, dataset)
    (written,) = segmented(path, out)
    made = pydicom.dcmread(written)
    assert made.StudyInstanceUID == "1.2.CLINIC.7"
    assert made.StudyDate == ""


def test_a_source_without_an_identifier_is_refused_and_nothing_is_said_to_be_written(tmp_path: Path, out: Path) -> None:
    path = write_dicom(tmp_path / "source.dcm", pixels(2))
    dataset = pydicom.dcmread(path)
    del dataset.SeriesInstanceUID
    dataset.save_as(path)
    with (
        stream(FakeNet(), str(path), sinks=[DicomSegmentationSink(out / "seg.dcm")]) as running,
        pytest.raises(SafeState, match="PE-SINK-030: a DICOM file without SeriesInstanceUID"),
    ):
        running.wait()
    assert running.written == ()
    assert list(out.iterdir()) == []


def test_an_older_file_is_kept_unless_it_may_be_replaced(tmp_path: Path, out: Path) -> None:
    source = write_dicom(tmp_path / "source.dcm", pixels(2))
    (out / "seg.dcm").write_bytes(b"older")
    assert segmented(source, out) == [out / "seg-2.dcm"]
    assert (out / "seg.dcm").read_bytes() == b"older"
    sink = DicomSegmentationSink(out / "seg.dcm")
    sink.output.existing = Existing.OVERWRITE
    with stream(FakeNet(), str(source), sinks=[sink]) as running:
        running.wait()
    assert running.written == (out / "seg.dcm",)
    assert pydicom.dcmread(out / "seg.dcm").Modality == "SEG"


def test_the_source_is_never_written_over(tmp_path: Path) -> None:
    from physedge_runtime.errors import UsageError

    source = write_dicom(tmp_path / "source.dcm", pixels(2))
    before = source.read_bytes()
    for existing in Existing:
        sink = DicomSegmentationSink(source)
        sink.output.existing = existing
        with pytest.raises(UsageError, match="PE-OUT-001"):
            stream(FakeNet(), str(source), sinks=[sink])
    assert source.read_bytes() == before


def test_frames_whose_pixels_are_no_multiple_of_eight_are_packed_without_gaps(tmp_path: Path, out: Path) -> None:
    (written,) = segmented(write_dicom(tmp_path / "source.dcm", pixels(3, 13, 11)), out)
    planes = pydicom.dcmread(written).pixel_array
    assert planes.shape == (3, 13, 11)
    np.testing.assert_array_equal(planes[0], planes[1])
    np.testing.assert_array_equal(planes[0], planes[2])
    assert planes[0].any()
    assert not planes[0].all()
