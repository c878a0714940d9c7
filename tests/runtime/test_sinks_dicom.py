"""The DICOM segmentation: the source's identifiers, its frames, masks in the right place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stream_dicom import tissue_region, write_dicom
from stream_fakes import FakeNet, answer_to, picture

from physedge_runtime.errors import SafeState, UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.results import Result, Trust, TrustState
from physedge_runtime.sinks.table import open_sink
from physedge_runtime.stream import StreamInfo
from physedge_runtime.stream.loop import stream

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")
pytest.importorskip("highdicom", reason="the extra dicom is not installed")

FRAMES = np.random.default_rng(0).integers(60, 190, (5, 48, 64), np.uint8)


def segment(folder: Path, net: FakeNet, **changes: Any) -> tuple[Any, Any]:
    """The source's header and the segmentation made of it."""
    source = write_dicom(folder / "source.dcm", FRAMES, **changes)
    with stream(net, str(source), sinks=[open_sink(f"dicom:{folder}/seg.dcm")]) as running:
        running.wait()
    return pydicom.dcmread(source), pydicom.dcmread(folder / "seg.dcm")


def frame_numbers(made: Any) -> list[int]:
    """The source's frame that each plane refers to, counted from 1."""
    groups = made.PerFrameFunctionalGroupsSequence
    return [int(g.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber) for g in groups]


def test_a_segmentation_belongs_to_its_source(tmp_path: Path) -> None:
    source, made = segment(tmp_path, FakeNet())
    assert made.Modality == "SEG"
    for key in ("PatientName", "PatientID", "StudyInstanceUID", "AccessionNumber"):
        assert made[key].value == source[key].value
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    referred = made.ReferencedSeriesSequence[0]
    assert referred.SeriesInstanceUID == source.SeriesInstanceUID
    assert referred.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert made.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"


def test_masks_lie_where_the_answers_were(tmp_path: Path) -> None:
    _, made = segment(tmp_path, FakeNet())
    pixels = made.pixel_array
    assert pixels.shape == FRAMES.shape
    expected = np.zeros((48, 64), np.uint8)
    expected[16:32, 20:44] = 1  # rows 8 to 16 and columns 10 to 22 of a grid of 24 x 32
    np.testing.assert_array_equal(pixels, np.broadcast_to(expected, pixels.shape))


def test_masks_of_an_ultrasound_region_lie_in_the_whole_picture(tmp_path: Path) -> None:
    regions = [tissue_region(16, 12, 47, 35)]  # 32 x 24: the grid's own size
    _, made = segment(tmp_path, FakeNet(), SequenceOfUltrasoundRegions=regions)
    rows, columns = np.nonzero(made.pixel_array[0])
    assert (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1) == (20, 28, 26, 38)


def test_a_withdrawn_answer_leaves_no_mask(tmp_path: Path) -> None:
    def respond(frame: Frame) -> Result:
        trust = Trust(state=TrustState.VOID, reason="residual") if frame.frame_id == 2 else Trust()
        return replace(answer_to(frame), trust=trust)

    _, made = segment(tmp_path, FakeNet(respond))
    assert frame_numbers(made) == [1, 2, 4, 5]


def test_an_empty_answer_is_told_from_none(tmp_path: Path) -> None:
    _, made = segment(tmp_path, FakeNet(lambda frame: answer_to(frame, value=0.1)))
    assert frame_numbers(made) == [1, 2, 3, 4, 5]
    assert not made.pixel_array.any()


def test_several_classes_become_several_segments(tmp_path: Path) -> None:
    def respond(frame: Frame) -> Result:
        mask = np.zeros((24, 32), np.uint8)
        mask[0:6, 0:8], mask[18:24, 24:32] = 1, 2
        probability = np.stack([(mask == label) * np.float32(0.8) + np.float32(0.1) for label in range(3)])
        return replace(answer_to(frame), mask=mask, probability=probability, classes=("none", "cyst", "node"))

    source = write_dicom(tmp_path / "source.dcm", FRAMES)
    with stream(FakeNet(respond), str(source), sinks=[open_sink(f"dicom:{tmp_path}/seg.dcm")]) as running:
        running.wait()
    made = pydicom.dcmread(tmp_path / "seg.dcm")
    assert [item.SegmentLabel for item in made.SegmentSequence] == ["cyst", "node"]
    assert frame_numbers(made) == [1, 2, 3, 4, 5] * 2
    assert made.pixel_array[0, 0, 0] == 1
    assert made.pixel_array[0, 47, 63] == 0
    assert made.pixel_array[5, 47, 63] == 1


def test_highdicom_reads_it_back(tmp_path: Path) -> None:
    from highdicom.seg import segread

    segment(tmp_path, FakeNet())
    read = segread(tmp_path / "seg.dcm")
    assert read.number_of_segments == 1
    assert read.get_segment_description(1).segment_label == "lesion"


def test_only_a_dicom_file_can_be_segmented_so(tmp_path: Path) -> None:
    sink = open_sink(f"dicom:{tmp_path}/seg.dcm")
    with pytest.raises(UsageError, match="PE-SINK-007"):
        sink.open(StreamInfo(source="camera 0", live=True, period_ns=None, engine="e"))
    with (
        stream(FakeNet(), [picture(0)], sinks=[open_sink(f"dicom:{tmp_path}/seg.dcm")]) as running,
        pytest.raises(SafeState, match="no DICOM file"),
    ):
        running.wait()
    assert list(tmp_path.iterdir()) == []
