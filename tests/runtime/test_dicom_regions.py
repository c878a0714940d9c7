"""Two ultrasound regions in one picture: each is answered by itself, and what is not looked at is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from stream_dicom import tissue_region, write_dicom
from stream_fakes import FakeNet

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.results import Result
from physedge_runtime.sinks.base import CollectingSink
from physedge_runtime.sinks.table import open_sink
from physedge_runtime.sources.base import SourceEnded
from physedge_runtime.sources.dicom import DicomSource
from physedge_runtime.sources.dicom_region import choose_region
from physedge_runtime.sources.dicom_series import DicomSeriesSource
from physedge_runtime.sources.synthetic import parse_synthetic
from physedge_runtime.stream.loop import stream

pytest.importorskip("pydicom", reason="the extra dicom is not installed")

FRAMES = np.random.default_rng(0).integers(30, 220, (3, 40, 80), np.uint8)
LEFT, RIGHT = (4, 5, 35, 34), (44, 5, 75, 34)


@pytest.fixture
def dual(tmp_path: Path) -> Path:
    regions = [tissue_region(*LEFT), tissue_region(0, 36, 79, 39, data_type=0xA), tissue_region(*RIGHT)]
    return write_dicom(tmp_path / "dual.dcm", FRAMES, SequenceOfUltrasoundRegions=regions, FrameTime="40")


def cut(box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return FRAMES[:, top : bottom + 1, left : right + 1]


def frames_of(path: Path, region: str = "all") -> list[Frame]:
    source = DicomSource(path, region=region)
    source.open()
    frames = []
    try:
        while (frame := source.read()) is not None:
            frames.append(frame)
    except SourceEnded:
        source.close()
    assert source.info.frames == len(frames)
    return frames


def test_several_regions_are_said_at_the_beginning(dual: Path) -> None:
    source = DicomSource(dual)
    source.open()
    assert source.info.notes == ("the picture has 2 ultrasound regions, which are answered one after the other",)


def test_each_region_is_a_clip_of_its_own(dual: Path) -> None:
    frames = frames_of(dual)
    np.testing.assert_array_equal([frame.pixels for frame in frames], [*cut(LEFT), *cut(RIGHT)])
    assert [frame.part for frame in frames] == ["region 1 of 2"] * 3 + ["region 2 of 2"] * 3
    assert [frame.frame_id for frame in frames] == list(range(6))
    assert [frame.metadata["frame_number"] for frame in frames] == [0, 1, 2] * 2
    assert [frame.source_stamp_ns for frame in frames] == [0, 40_000_000, 80_000_000] * 2


@pytest.mark.parametrize(
    ("choice", "box", "part"),
    [
        ("first", LEFT, "region 1 of 2; region 2 not looked at"),
        ("1", LEFT, "region 1 of 2; region 2 not looked at"),
        ("2", RIGHT, "region 2 of 2; region 1 not looked at"),
        ("whole", (0, 0, 79, 39), ""),
    ],
)
def test_a_region_is_chosen_and_the_other_is_named(
    dual: Path, choice: str, box: tuple[int, int, int, int], part: str
) -> None:
    frames = frames_of(dual, choice)
    np.testing.assert_array_equal([frame.pixels for frame in frames], cut(box))
    assert {frame.part for frame in frames} == {part}


def test_a_view_in_colour_beside_the_tissue_is_named(tmp_path: Path) -> None:
    overlaid = [tissue_region(*LEFT), tissue_region(6, 8, 30, 30, data_type=2)]
    beside = [tissue_region(*LEFT), tissue_region(*RIGHT, data_type=2)]
    alone = write_dicom(tmp_path / "a.dcm", FRAMES, SequenceOfUltrasoundRegions=overlaid)
    assert frames_of(alone)[0].part == ""
    dual = write_dicom(tmp_path / "b.dcm", FRAMES, SequenceOfUltrasoundRegions=beside)
    assert frames_of(dual)[0].part == "region 1; a region in colour not looked at"


def test_a_region_that_is_stated_twice_is_answered_once(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", FRAMES, SequenceOfUltrasoundRegions=[tissue_region(*LEFT)] * 2)
    assert len(frames_of(path)) == 3


def test_one_unusable_region_of_two_is_named(tmp_path: Path) -> None:
    broken = tissue_region(*RIGHT)
    del broken.RegionLocationMaxX1
    path = write_dicom(tmp_path / "a.dcm", FRAMES, SequenceOfUltrasoundRegions=[tissue_region(*LEFT), broken])
    assert {frame.part for frame in frames_of(path)} == {"region 1 of 2; region 2 not looked at"}


def test_every_result_says_which_region_it_is_of(dual: Path, tmp_path: Path) -> None:
    with stream(FakeNet(), str(dual), sinks=[open_sink(f"jsonl:{tmp_path}/out.jsonl")]) as running:
        results = [result for result in running if isinstance(result, Result)]
    assert [result.part for result in results] == ["region 1 of 2"] * 3 + ["region 2 of 2"] * 3
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    assert [line["part"] for line in lines if line["kind"] == "frame"] == [result.part for result in results]


def test_the_film_names_the_region_that_was_not_looked_at(dual: Path) -> None:
    from physedge_runtime.sinks.overlay import bar_texts

    sink = CollectingSink()
    with stream(FakeNet(), DicomSource(dual, region="2"), sinks=[sink]) as running:
        running.wait()
    texts = [text for text, _ in bar_texts(sink.items[0], live=False)]
    assert texts[1] == "region 2 of 2; region 1 not looked at"


def test_areas_of_one_region_are_not_compared_with_those_of_another(tmp_path: Path) -> None:
    """Ten frames of a large area, then ten of a small one: no jump, as each region is a film of its own."""
    from dataclasses import replace

    from stream_fakes import answer_to

    def respond(frame: Frame) -> Result:
        found = answer_to(frame)
        mask = found.mask * 0
        mask[: 20 if frame.part.startswith("region 1") else 1] = 1
        return replace(found, mask=mask)

    frames = np.random.default_rng(0).integers(30, 220, (10, 40, 80), np.uint8)
    regions = [tissue_region(*LEFT), tissue_region(*RIGHT)]
    path = write_dicom(tmp_path / "a.dcm", frames, SequenceOfUltrasoundRegions=regions, FrameTime="40")
    sink, events = CollectingSink(), []
    with stream(FakeNet(respond), str(path), sinks=[sink], on_event=lambda event: events.append(event.text)) as running:
        running.wait()
    states = [item.trust.state for item in sink.items if item.trust is not None]
    assert len(states) == 20
    assert set(states) == {"ok"}
    assert not any("clock jumped" in text for text in events)


@pytest.mark.parametrize("written", ["0", "-1", "both", "", "1.5"])
def test_a_region_that_is_written_otherwise_is_refused(written: str, dual: Path) -> None:
    with pytest.raises(UsageError, match="PE-SRC-032"):
        DicomSource(dual, region=written)
    with pytest.raises(UsageError, match="PE-SRC-032"):
        DicomSeriesSource(dual.parent, region=written)


def test_a_region_that_is_not_there_is_refused(dual: Path) -> None:
    with pytest.raises(UsageError, match="PE-SRC-032: no usable tissue region 3"):
        DicomSource(dual, region="3").open()
    with pytest.raises(UsageError, match="PE-SRC-032"):
        choose_region([parse_synthetic("synthetic:64x48@10")], "first")


def test_a_chosen_region_holds_for_every_file_of_a_folder(dual: Path) -> None:
    source = DicomSeriesSource(dual.parent)
    choose_region([source], "2")
    source.open()
    frame = source.read()
    assert frame is not None
    np.testing.assert_array_equal(frame.pixels, cut(RIGHT)[0])


def test_a_region_calibrated_in_centimetres_gives_the_size_of_a_pixel(tmp_path: Path) -> None:
    region = tissue_region(*LEFT)
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.02, 0.04
    frame = frames_of(write_dicom(tmp_path / "a.dcm", FRAMES, SequenceOfUltrasoundRegions=[region]))[0]
    assert frame.pixels.shape == (60, 32)
    assert frame.spacing_mm == (0.2, 0.2)
