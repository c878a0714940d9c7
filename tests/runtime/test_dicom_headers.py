"""Headers of devices in the field: text where numbers belong, empty elements, missing ones. A picture or a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stream_dicom import tissue_region, write_dicom
from stream_fakes import FakeNet

from physedge_runtime.errors import SourceError
from physedge_runtime.frame import Frame
from physedge_runtime.sinks.base import CollectingSink
from physedge_runtime.sources.base import SourceEnded
from physedge_runtime.sources.dicom import DicomSource
from physedge_runtime.sources.dicom_series import DicomSeriesSource
from physedge_runtime.stream.loop import stream

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

FRAMES = np.random.default_rng(0).integers(30, 220, (4, 20, 30), np.uint8)
MARKER = "MUELLER"


def raw(path: Path, of_region: bool = False, **values: tuple[str, bytes] | None) -> Path:
    """Put bytes into the file as a careless device would; None takes the element out."""
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    dataset = pydicom.dcmread(path)
    target = dataset.SequenceOfUltrasoundRegions[0] if of_region else dataset
    for keyword, value in values.items():
        if value is None:
            del target[keyword]
        else:
            tag = Tag(keyword)
            target[tag] = RawDataElement(tag, value[0], len(value[1]), value[1], 0, False, True)
    pydicom.dcmwrite(path, dataset)
    return path


def read(path: Path) -> tuple[DicomSource, list[Frame]]:
    source = DicomSource(path)
    source.open()
    frames = []
    try:
        while (frame := source.read()) is not None:
            frames.append(frame)
    except SourceEnded:
        source.close()
    return source, frames


def told(source: DicomSource | DicomSeriesSource, keyword: str) -> bool:
    """Whether one sentence with its identifier names the element, and none holds a value."""
    notes = source.info.notes
    assert not any(MARKER in note for note in notes)
    return sum(note.startswith("PE-SRC-031: ") and keyword in note for note in notes) == 1


@pytest.mark.parametrize(
    ("keyword", "vr", "content"),
    [
        ("FrameTime", "DS", b"33,3"),
        ("FrameTime", "DS", b"MUELLER "),
        ("FrameTime", "DS", b"33\\33 "),
        ("FrameTime", "DS", b"-4"),
        ("CineRate", "IS", b"MUELLER "),
        ("FrameTimeVector", "DS", b"0\\33 "),
        ("WindowCenter", "DS", b"auto"),
        ("RescaleSlope", "DS", b"x "),
        ("PixelAspectRatio", "IS", b"4:3 "),
    ],
)
def test_a_header_that_the_pictures_do_not_need_is_left_alone_and_told(
    tmp_path: Path, keyword: str, vr: str, content: bytes
) -> None:
    others: dict[str, Any] = {"WindowWidth": "100"} if keyword == "WindowCenter" else {}
    others |= {"RescaleIntercept": "0"} if keyword == "RescaleSlope" else {}
    source, frames = read(raw(write_dicom(tmp_path / "a.dcm", FRAMES, **others), **{keyword: (vr, content)}))
    np.testing.assert_array_equal([frame.pixels for frame in frames], FRAMES)
    assert {frame.source_stamp_ns for frame in frames} == {None}
    assert told(source, keyword)


@pytest.mark.parametrize("keyword", ["FrameTime", "CineRate", "WindowCenter", "WindowWidth", "PixelSpacing"])
def test_an_empty_number_is_as_none(tmp_path: Path, keyword: str) -> None:
    vr = "IS" if keyword == "CineRate" else "DS"
    source, frames = read(raw(write_dicom(tmp_path / "a.dcm", FRAMES), **{keyword: (vr, b"")}))
    assert len(frames) == 4
    assert source.info.notes == ()


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("NumberOfFrames", ("IS", b"1A")),
        ("NumberOfFrames", ("IS", b"-3")),
        ("Rows", ("US", b"\0\0")),
        ("BitsStored", None),
        ("PhotometricInterpretation", None),
        ("SamplesPerPixel", ("US", b"")),
    ],
)
def test_a_header_without_which_there_is_no_picture_is_refused_by_its_name(
    tmp_path: Path, keyword: str, value: tuple[str, bytes] | None
) -> None:
    path = raw(write_dicom(tmp_path / "a.dcm", FRAMES), **{keyword: value})
    with pytest.raises(SourceError, match=f"PE-SRC-030: {keyword}"):
        read(path)


@pytest.mark.parametrize("stated", [None, b"0 ", b"2 "])
def test_no_frame_is_lost_where_fewer_are_stated(tmp_path: Path, stated: bytes | None) -> None:
    path = write_dicom(tmp_path / "a.dcm", FRAMES, compress=True, FrameTime="40")
    _, frames = read(raw(path, NumberOfFrames=None if stated is None else ("IS", stated)))
    assert [frame.source_stamp_ns for frame in frames] == [0, 40_000_000, 80_000_000, 120_000_000]


def test_frames_that_are_stated_and_missing_end_a_run_with_an_error_after_those_that_are_there(tmp_path: Path) -> None:
    path = raw(write_dicom(tmp_path / "a.dcm", FRAMES, compress=True), NumberOfFrames=("IS", b"9 "))
    sink = CollectingSink()
    with (
        stream(FakeNet(), str(path), sinks=[sink]) as running,
        pytest.raises(SourceError, match="ends after 4 of the 9 frames"),
    ):
        running.wait()
    assert len([item for item in sink.items if item.result is not None]) == 4


def test_a_frame_time_vector_counts_from_the_first_frame(tmp_path: Path) -> None:
    _, frames = read(write_dicom(tmp_path / "a.dcm", FRAMES, FrameTimeVector=[30, 30, 50, 30]))
    assert [frame.source_stamp_ns for frame in frames] == [0, 30_000_000, 80_000_000, 110_000_000]


@pytest.mark.parametrize("value", [None, ("UL", b""), ("DS", b"MUELLER "), ("UL", (5000).to_bytes(4, "little"))])
def test_a_region_without_usable_corners_leaves_the_whole_picture_and_says_so(
    tmp_path: Path, value: tuple[str, bytes] | None
) -> None:
    path = write_dicom(tmp_path / "a.dcm", FRAMES, SequenceOfUltrasoundRegions=[tissue_region(5, 6, 24, 17)])
    source, frames = read(raw(path, of_region=True, RegionLocationMinX0=value))
    np.testing.assert_array_equal(frames[0].pixels, FRAMES[0])
    assert told(source, "tissue region 1")
    assert frames[0].part == "the whole picture: no tissue region that the file states can be used"


def test_a_region_that_reaches_over_the_picture_is_cut_at_its_edge(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", FRAMES, SequenceOfUltrasoundRegions=[tissue_region(5, 6, 70000, 17)])
    np.testing.assert_array_equal(read(path)[1][0].pixels, FRAMES[0, 6:18, 5:])


def test_lower_case_and_a_missing_preamble_are_read(tmp_path: Path) -> None:
    path = raw(write_dicom(tmp_path / "a.dcm", FRAMES), PhotometricInterpretation=("CS", b"monochrome1 "))
    np.testing.assert_array_equal(read(path)[1][0].pixels, 255 - FRAMES[0])
    dataset = pydicom.dcmread(path)
    dataset.PhotometricInterpretation = "MONOCHROME2"
    bare = pydicom.Dataset()
    bare.update({element.tag: element for element in dataset})
    pydicom.dcmwrite(tmp_path / "bare.dcm", bare, implicit_vr=True, little_endian=True)
    np.testing.assert_array_equal([frame.pixels for frame in read(tmp_path / "bare.dcm")[1]], FRAMES)


def write_slices(folder: Path, **changes: list[Any]) -> None:
    """Three slices of one series, named and stored out of order; the first pixel is the slice's place."""
    for place, name in enumerate(("MR.1.2.9", "MR.1.2.10", "IM0001")):
        pixels = np.full((1, 16, 16), 100, np.uint8)
        pixels[0, 0, 0] = place
        own = {keyword: values[place] for keyword, values in changes.items()}
        place_of = {"ImagePositionPatient": [0, 0, 5 * place], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        path = write_dicom(folder / name, pixels, SeriesInstanceUID="1.2", **(place_of | own))
        if own.get("InstanceNumber") is None:
            raw(path, InstanceNumber=("IS", b"1A"))


@pytest.mark.parametrize("numbers", [[1, 2, 3], [None, 2, 3], [1, 1, 1]])
def test_slices_named_by_their_identifiers_come_in_order(tmp_path: Path, numbers: list[int | None]) -> None:
    write_slices(tmp_path, InstanceNumber=numbers)
    source = DicomSeriesSource(tmp_path)
    source.open()
    frames = [source.read() for _ in range(3)]
    assert [int(frame.pixels[0, 0]) for frame in frames if frame is not None] == [0, 1, 2]
    assert told(source, "InstanceNumber") == (numbers != [1, 2, 3])


def test_slices_without_numbers_and_positions_come_by_name(tmp_path: Path) -> None:
    write_slices(tmp_path, InstanceNumber=[None] * 3, ImagePositionPatient=[None] * 3)
    source = DicomSeriesSource(tmp_path)
    source.open()
    frames = [source.read() for _ in range(3)]
    assert [int(frame.pixels[0, 0]) for frame in frames if frame is not None] == [2, 0, 1]


def test_what_holds_no_picture_is_left_out_of_a_folder_and_said(tmp_path: Path) -> None:
    write_slices(tmp_path, InstanceNumber=[1, 2, 3])
    for name, kind, has_rows in (
        ("seg.dcm", "1.2.840.10008.5.1.4.1.1.66.4", True),
        ("seg2", "1.2.840.10008.5.1.4.1.1.66.4", True),
        ("structures", "1.2.840.10008.5.1.4.1.1.481.3", False),
        ("dose.dcm", "1.2.840.10008.5.1.4.1.1.481.2", True),
    ):
        other = pydicom.dcmread(tmp_path / "IM0001")
        other.SOPClassUID = kind
        if not has_rows:
            del other.Rows, other.PixelData
        other.save_as(tmp_path / name)
    source = DicomSeriesSource(tmp_path)
    source.open()
    assert source.info.frames == 3
    assert source.info.notes == (
        "left out of the folder, because it holds no picture: 1 dose, 1 other object, 2 segmentations",
    )
    events: list[str] = []
    sink = CollectingSink()
    with stream(FakeNet(), f"dicom:{tmp_path}", sinks=[sink], on_event=lambda event: events.append(event.text)) as run:
        run.wait()
    assert source.info.notes[0] in events
    assert sink.info is not None
    assert sink.info.notes == source.info.notes
