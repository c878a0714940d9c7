"""A folder of DICOM files as one stream of slices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stream_dicom import write_dicom
from stream_fakes import FakeNet

from physedge_runtime.errors import SourceError, UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.sinks.base import CollectingSink
from physedge_runtime.sources.base import Source, SourceEnded
from physedge_runtime.sources.content import Content, content_of
from physedge_runtime.sources.dicom_series import DicomSeriesSource
from physedge_runtime.sources.folder import FolderSource
from physedge_runtime.sources.table import open_source
from physedge_runtime.stream.loop import stream

pytest.importorskip("pydicom", reason="the extra dicom is not installed")

SHAPE = (1, 24, 32)


def all_frames(source: Source) -> list[Frame]:
    source.open()
    frames = []
    try:
        while True:
            frame = source.read()
            assert frame is not None
            frames.append(frame)
    except SourceEnded:
        source.close()
        return frames


def write_slice(path: Path, value: int, **changes: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(40, 220, SHAPE, np.uint8)
    pixels[0, 0, 0] = value
    write_dicom(path, pixels, **changes)


def values(frames: list[Frame]) -> list[int]:
    return [int(frame.pixels[0, 0]) for frame in frames]


@pytest.fixture
def series(tmp_path: Path) -> Path:
    """Eleven slices whose names say nothing of their order, the last ones in a folder of their own."""
    names = [f"{(7 * number) % 11}.dcm" for number in range(9)] + ["more/IM_A", "more/IM_B"]
    for number, name in enumerate(names):
        write_slice(
            tmp_path / "MUELLER" / name, number, SeriesInstanceUID="1.2", InstanceNumber=number + 1,
            PixelSpacing=[0.25 + number / 100] * 2,
        )  # fmt: skip
    return tmp_path / "MUELLER"


@pytest.mark.parametrize("written", ["{}", "dicom:{}"])
def test_slices_come_by_instance_number_whatever_their_names_are(series: Path, written: str) -> None:
    source = open_source(written.format(series))
    assert isinstance(source, DicomSeriesSource)
    frames = all_frames(source)
    assert values(frames) == list(range(11))
    assert [frame.frame_id for frame in frames] == list(range(11))
    assert [frame.spacing_mm for frame in frames] == [(0.25 + number / 100,) * 2 for number in range(11)]
    assert len({frame.metadata["dicom"].SOPInstanceUID for frame in frames}) == 11
    assert (source.info.live, source.info.frames, source.info.period_ns) == (False, 11, None)
    assert values(all_frames(source)) == list(range(11)), "it can be opened again"


def test_series_come_one_after_the_other_and_a_file_may_hold_several_frames(tmp_path: Path) -> None:
    write_slice(tmp_path / "a.dcm", 5, SeriesNumber=2, SeriesInstanceUID="1.5", InstanceNumber=1)
    write_slice(tmp_path / "b.dcm", 3, SeriesNumber=1, SeriesInstanceUID="1.9", InstanceNumber=2)
    write_dicom(
        tmp_path / "c.dcm", np.arange(3, dtype=np.uint8)[:, None, None] * np.ones(SHAPE, np.uint8),
        SeriesNumber=1, SeriesInstanceUID="1.9", InstanceNumber=1, FrameTime="40.0",
    )  # fmt: skip
    frames = all_frames(open_source(str(tmp_path)))
    assert values(frames) == [0, 1, 2, 3, 5]
    assert {frame.source_stamp_ns for frame in frames} == {None}, "each file counts from 0"


def test_objects_without_a_picture_are_passed_over(series: Path) -> None:
    import pydicom

    report = pydicom.dcmread(series / "0.dcm")
    for name in ("Rows", "Columns", "PixelData"):
        delattr(report, name)
    report.save_as(series / "report.dcm")
    (series / "README").write_text("no DICOM at all", "utf-8")
    assert values(all_frames(open_source(f"dicom:{series}"))) == list(range(11))


def test_beside_other_pictures_the_user_says_which_are_meant(series: Path) -> None:
    """A disc of a hospital holds its viewer's icons, too."""
    import cv2

    cv2.imwrite(str(series / "scene.png"), np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UsageError, match=r"PE-SRC-051: the folder holds 11 DICOM and 1 other") as caught:
        open_source(str(series))
    assert "MUELLER" not in str(caught.value)
    assert isinstance(open_source(f"dicom:{series}"), DicomSeriesSource)
    pictures = open_source(f"pictures:{series}")
    assert isinstance(pictures, FolderSource)
    assert [frame.name for frame in all_frames(pictures)] == ["scene.png"]


@pytest.mark.parametrize("name", ["MR.1.2.826.0.1.3680043.8.498.1", "IM0001", "1.2.840.5", "slice.png"])
def test_names_decide_nothing_where_the_content_speaks(series: Path, tmp_path: Path, name: str) -> None:
    """As storescp and archives name files; all slices are answered, whatever the endings of some."""
    (series / "0.dcm").rename(series / name)
    assert values(all_frames(open_source(str(series)))) == list(range(11))
    assert values(all_frames(open_source(str(series / name)))) == [0]


def test_a_data_set_without_a_preamble_is_known_without_an_ending(series: Path) -> None:
    whole = (series / "0.dcm").read_bytes()
    meta_bytes = 132 + 12 + int.from_bytes(whole[140:144], "little")
    for name, head in (("IM1", whole[132:]), ("IM2", whole[meta_bytes:])):
        (series / name).write_bytes(head)
        assert content_of(series / name) is Content.DICOM


def test_what_is_no_series_is_refused_without_names(series: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="PE-SRC-004"):
        open_source(f"dicom:{tmp_path / 'empty'}").open()
    with pytest.raises(SourceError, match="PE-SRC-002"):
        DicomSeriesSource(tmp_path / "nothing").open()
    (series / "3.dcm").write_bytes(b"damaged")
    with pytest.raises(SourceError, match="PE-SRC-011") as caught:
        open_source(str(series)).open()
    assert "MUELLER" not in str(caught.value)


def test_a_stream_answers_every_slice_and_tells_no_identifier(series: Path) -> None:
    sink = CollectingSink()
    events: list[str] = []
    with stream(FakeNet(), str(series), sinks=[sink], on_event=lambda event: events.append(event.text)) as running:
        running.wait()
    assert [item.frame.frame_id for item in sink.items if item.frame is not None] == list(range(11))
    assert all(item.result is not None for item in sink.items)
    assert "MUELLER" not in " ".join(events) + str(sink.info)


def test_the_table_of_contents_of_a_disc_stands_for_its_pictures(series: Path) -> None:
    import pydicom

    contents = pydicom.dcmread(series / "0.dcm")
    contents.SOPClassUID = contents.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    for name in ("Rows", "Columns", "PixelData"):
        delattr(contents, name)
    contents.save_as(series / "DICOMDIR")
    for written in (f"dicom:{series}/DICOMDIR", f"{series}/DICOMDIR"):
        assert values(all_frames(open_source(written))) == list(range(11))
