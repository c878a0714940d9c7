"""JSON lines, the overlay and the video: what is written, how it is bounded, what is refused."""

from __future__ import annotations

import errno
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from stream_fakes import FakeNet, answer_to, picture

from physedge_runtime.errors import SafeState, UsageError
from physedge_runtime.frame import Colour, Crop, Fit, Frame, FrameSpec
from physedge_runtime.results import (
    Classification,
    Reconstruction,
    Result,
    Signal,
    StageTimes,
    Trust,
    TrustState,
)
from physedge_runtime.sinks.jsonl import JsonLinesSink
from physedge_runtime.sinks.measure import regions
from physedge_runtime.sinks.overlay import Overlay, bar_texts
from physedge_runtime.sinks.record import describe
from physedge_runtime.sinks.table import SINKS, open_sink
from physedge_runtime.sinks.video import VideoSink
from physedge_runtime.stream import StreamedFrame, StreamInfo, Withdrawal
from physedge_runtime.stream.loop import stream

ROOT = Path(__file__).parents[2]
INFO = StreamInfo(
    source="clip.mp4", live=False, period_ns=40_000_000, engine="fake 1", classes=("background", "lesion")
)
LIVE = replace(INFO, live=True)


def shown(number: int = 0, *, result: Result | None = None, **changes: Any) -> StreamedFrame:
    frame = Frame(pixels=picture(number), frame_id=number, captured_ns=number * 40_000_000)
    answered = answer_to(frame) if result is None else result
    item = StreamedFrame(
        frame=frame,
        result=answered,
        signal=Signal.LIVE,
        captured_ns=frame.captured_ns,
        at_ns=frame.captured_ns + 5_000_000,
        age_ms=5.0,
        stages=answered.stages,
        trust=answered.trust,
        engine=answered.engine,
    )
    return replace(item, **changes)


def withdrawn(number: int = 0, **changes: Any) -> StreamedFrame:
    changes = {"withdrawn": Withdrawal.SIGNAL, "withdrawn_text": "LOST: gone", "signal": Signal.LOST, **changes}
    return replace(shown(number, **changes), result=None)


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


# The mask in numbers.


def test_a_rectangle_is_measured_exactly() -> None:
    found = regions(answer_to(Frame(pixels=picture(0))), None)["lesion"]  # rows 8 to 16, columns 10 to 22 of 24 x 32
    assert found.area_fraction == 8 * 12 / (24 * 32)
    assert found.centroid_px == (32.0, 24.0)  # the frame is twice the grid
    assert found.box_px == (20, 16, 44, 32)
    assert found.largest_probability == pytest.approx(0.9)


def test_a_region_is_told_in_pixels_of_the_frame_behind_crop_and_letterbox() -> None:
    spec = FrameSpec(height=24, width=32, fit=Fit.LETTERBOX, crop=Crop(left=0.5, top=0.0, width=0.5, height=1.0))
    frame = Frame(pixels=np.zeros((96, 128, 3), np.uint8))  # looked at: 64 x 96, scaled by 1/4 to 16 x 24
    result = answer_to(frame)
    mask = np.zeros((24, 32), np.uint8)
    mask[0:4, 8:12] = 1  # the upper left corner of what is looked at
    probability = mask[np.newaxis] * np.float32(0.9)
    found = regions(replace(result, mask=mask, probability=probability), spec)["lesion"]
    assert found.box_px == (64, 0, 80, 16)
    assert found.centroid_px == pytest.approx((72.0, 8.0), abs=0.2)  # the two inner corners are rounded
    assert found.area_fraction == pytest.approx(16 / (16 * 24), rel=0.03)


def test_an_empty_mask_has_no_place() -> None:
    result = answer_to(Frame(pixels=picture(0)), value=0.1)
    found = regions(result, None)["lesion"]
    assert (found.area_fraction, found.centroid_px, found.box_px) == (0.0, None, None)


# JSON lines.


def test_every_line_is_json_with_the_documented_keys(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonLinesSink(path, utc=lambda: "2026-01-01T00:00:00.000Z")
    sink.open(INFO)
    for item in (shown(0), shown(1, drops={"superseded": 3}), withdrawn(2), withdrawn(3, frame=None)):
        sink.write(item)
    sink.close()
    sink.close()
    head, first, second, third, last = read_lines(path)
    assert (head["kind"], head["schema_version"], head["classes"]) == ("stream", 1, ["background", "lesion"])
    assert first["answer"]["regions"]["lesion"]["centroid_px"] == [32.0, 24.0]
    assert first["age_ms"] == 5.0
    assert first["stages"]["inference_ms"] == 3.0
    assert first["withdrawn"] is None
    assert second["drops"] == {"superseded": 3}
    assert (third["answer"], third["withdrawn"], third["withdrawn_text"]) == (None, "signal", "LOST: gone")
    assert (last["kind"], last["frame_id"]) == ("state", None)
    documented = set(re.findall(r"^\| `([a-z_]+)` \|", (ROOT / "docs/results_jsonl.md").read_text(), re.MULTILINE))
    classified = {"label", "probability", "parameters", "note", "times_days"}  # `maps` by its parts
    assert set(head) | set(first) | set(first["answer"]) - {"task"} | classified == documented


def test_other_tasks_are_told_by_their_own_numbers() -> None:
    common: dict[str, Any] = {"frame_id": 1, "captured_ns": 0, "age_ms": 1.0, "stages": StageTimes()}
    label = Classification(
        **common,
        label="glioma",
        probability=np.array([0.25, 0.75], np.float32),
        classes=("none", "glioma"),
        parameters={"mass_mm3": 12.5},
        maps={"density": np.array([[[0.0, 0.5]], [[0.25, 1.0]]], np.float32)},
        note="latent",
        times_days=(0.0, 57.6),
    )
    assert describe(shown(result=label), INFO, "")["answer"] == {
        "task": "classification",
        "label": "glioma",
        "probability": {"none": 0.25, "glioma": 0.75},
        "parameters": {"mass_mm3": 12.5},
        "note": "latent",
        "maps": {"density": {"mean": [0.25, 0.625], "largest": [0.5, 1.0]}},
        "times_days": [0.0, 57.6],
    }
    image = Reconstruction(**common, image=np.array([[-1.0, 3.0]], np.float32), unit="S/m")
    answer = describe(shown(result=image), INFO, "")["answer"]
    assert answer == {"task": "reconstruction", "unit": "S/m", "smallest": -1.0, "largest": 3.0, "mean": 1.0}


def test_what_is_no_number_becomes_null() -> None:
    trust = Trust(state=TrustState.VOID, reason="residual", signals={"residual": float("nan")})
    line = json.dumps(describe(withdrawn(0, trust=trust), INFO, ""), allow_nan=False)
    assert json.loads(line)["trust"] == {
        "state": "void",
        "reason": "residual",
        "signals": {"residual": None},
        "places": {},
    }


def test_files_rotate_and_stay_bounded(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonLinesSink(path, largest_bytes=4000, kept=3)
    sink.open(INFO)
    for number in range(60):
        sink.write(shown(number))
    sink.close()
    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["out.jsonl", "out.jsonl.1", "out.jsonl.2"]
    assert all((tmp_path / name).stat().st_size <= 4000 for name in files)
    assert all(read_lines(tmp_path / name)[0]["kind"] == "stream" for name in files)
    in_order = [line for name in reversed(files) for line in read_lines(tmp_path / name) if line["kind"] == "frame"]
    numbers = [line["frame_id"] for line in in_order]
    assert numbers == list(range(numbers[0], 60))


@pytest.mark.parametrize("kind", ["jsonl", "video"])
def test_a_file_that_cannot_be_created_is_said_at_once(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match="PE-SINK-001") as caught:
        open_sink(f"{kind}:{tmp_path}/missing/out.mp4").open(INFO)
    assert "missing" in caught.value.found
    assert caught.value.exit_status == 2


@pytest.mark.parametrize("text", ["csv:out.csv", "jsonl", "jsonl:", ""])
def test_a_sink_that_is_not_known_lists_how_they_are_written(text: str) -> None:
    with pytest.raises(UsageError, match="PE-SINK-002") as caught:
        open_sink(text)
    assert all(kind.written in caught.value.expected for kind in SINKS.values())


def test_a_full_disk_ends_the_stream_in_the_safe_state() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    sink = JsonLinesSink(Path("/dev/full"))
    with pytest.raises(UsageError, match=r"PE-SINK-001: .*No space left"):
        stream(FakeNet(), [picture(0)], sinks=[sink])


def test_a_disk_that_fills_up_while_streaming_ends_in_the_safe_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = JsonLinesSink(tmp_path / "out.jsonl")
    put = sink._put

    def fill_up(line: bytes) -> None:
        if b'"frame_id":5' in line:
            raise OSError(errno.ENOSPC, "No space left on device")
        put(line)

    monkeypatch.setattr(sink, "_put", fill_up)
    with (
        stream(FakeNet(), [picture(number) for number in range(400)], sinks=[sink]) as running,
        pytest.raises(SafeState, match=r"a sink failed, jsonl out.jsonl: No space left"),
    ):
        running.wait()


# The overlay and the video.


@pytest.fixture
def cv2() -> Any:
    return pytest.importorskip("cv2", reason="the extra camera is not installed")


@pytest.mark.usefixtures("cv2")
def test_the_overlay_has_the_frames_size_and_colours_only_the_region() -> None:
    grey = np.full((240, 320, 3), 120, np.uint8)
    item = shown(0, frame=Frame(pixels=grey), result=answer_to(Frame(pixels=grey)))
    drawn = Overlay(INFO).draw(item)
    assert drawn is not None
    assert drawn.shape == grey.shape
    assert tuple(drawn[20, 20]) == (120, 120, 120)
    inside = drawn[120, 160].astype(int)
    assert inside[0] > inside[2] + 10
    assert (drawn[80:160, 100:220].max(axis=2) > 200).any()  # the bright outline
    np.testing.assert_array_equal(grey, 120)  # the frame itself is never drawn on


@pytest.mark.usefixtures("cv2")
def test_without_an_answer_the_picture_is_untouched_above_the_bar() -> None:
    overlay = Overlay(LIVE)
    with_answer = overlay.draw(shown(0))
    state = overlay.draw(withdrawn(0, frame=None))
    assert with_answer is not None
    assert state is not None
    np.testing.assert_array_equal(state[:30], picture(0)[:30, :, ::-1])
    assert not np.array_equal(state[:30], with_answer[:30])


@pytest.mark.usefixtures("cv2")
def test_before_the_first_picture_there_is_nothing_to_draw() -> None:
    assert Overlay(LIVE).draw(withdrawn(0, frame=None)) is None


@pytest.mark.usefixtures("cv2")
@pytest.mark.parametrize("colour", list(Colour))
def test_the_overlay_draws_every_channel_order(colour: Colour) -> None:
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:, :, 0] = 200
    if colour is Colour.GREY:
        pixels = pixels[:, :, 0]
    drawn = Overlay(INFO).draw(shown(0, frame=Frame(pixels=pixels, colour=colour), result=None, trust=None))
    assert drawn is not None
    assert tuple(drawn[0, 0]) == {"rgb": (0, 0, 200), "bgr": (200, 0, 0), "grey": (200, 200, 200)}[colour]


@pytest.mark.usefixtures("cv2")
def test_voltages_are_shown_as_the_image_computed_from_them() -> None:
    image = np.linspace(-1, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    result = Reconstruction(frame_id=0, captured_ns=0, age_ms=1, stages=StageTimes(), image=image, unit="1")
    drawn = Overlay(INFO).draw(shown(0, frame=Frame(pixels=np.zeros(208, np.float32)), result=result))
    assert drawn is not None
    assert drawn.shape == (480, 480, 3)
    assert not np.array_equal(drawn[10, 10], drawn[400, 400])


def test_the_bar_speaks_plainly() -> None:
    assert [text for text, _ in bar_texts(shown(0, drops={"superseded": 2}))] == [
        "LIVE",
        "5 ms",
        "trust ok",
        "2 dropped",
    ]
    assert [text for text, _ in bar_texts(withdrawn(0, reason="no frame for 170 ms"))] == [
        "LOST",
        "no answer: no frame for 170 ms",
    ]
    assert [text for text, _ in bar_texts(shown(7), live=False)] == ["LIVE", "frame 7", "trust ok"]
    doubtful = Trust(state=TrustState.DOUBTFUL, reason="ring entropy")
    assert "doubtful: ring entropy" in [text for text, _ in bar_texts(shown(0, trust=doubtful))]


def read_video(cv2: Any, path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        decoded, pixels = capture.read()
        if not decoded:
            return frames
        frames.append(pixels)


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
def test_a_video_of_a_file_has_every_frame_once(cv2: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    frames = [picture(number, (64, 96)) for number in range(20)]
    with stream(FakeNet(), frames, sinks=[VideoSink(path)]) as running:
        running.wait()
    decoded = read_video(cv2, path)
    assert len(decoded) == 20
    assert decoded[0].shape == (64, 96, 3)


def test_a_video_of_a_live_source_lasts_as_long_as_the_stream(cv2: Any, tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    sink = VideoSink(path)
    sink.open(LIVE)
    for number in (0, 1, 2):
        sink.write(shown(number))
    sink.write(withdrawn(2, frame=None, at_ns=1_000_000_000))
    sink.write(shown(50))  # at 2.005 s
    sink.close()
    decoded = read_video(cv2, path)
    assert len(decoded) == 61
    assert np.abs(decoded[25].astype(int) - decoded[35].astype(int)).max() > 60  # the bar says that it is lost


def test_a_gap_of_an_hour_does_not_fill_the_disk(cv2: Any, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.avi")
    sink.open(LIVE)
    sink.write(shown(0))
    sink.write(shown(1, at_ns=3_600_000_000_000))
    sink.write(shown(2, at_ns=3_600_100_000_000))
    sink.close()
    assert len(read_video(cv2, tmp_path / "out.avi")) <= 304


def test_another_frame_size_is_fitted_into_the_video(cv2: Any, tmp_path: Path) -> None:
    sink = VideoSink(tmp_path / "out.avi")
    sink.open(INFO)
    sink.write(shown(0))
    sink.write(shown(1, frame=Frame(pixels=picture(1, (96, 64))), result=None, trust=None))
    sink.close()
    assert {frame.shape for frame in read_video(cv2, tmp_path / "out.avi")} == {(48, 64, 3)}


@pytest.mark.usefixtures("cv2")
def test_a_video_stops_before_the_disk_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    sink = VideoSink(tmp_path / "out.avi")
    sink.open(INFO)
    with pytest.raises(OSError, match="less than 32 MiB"):
        sink.write(shown(0))
    sink.close()


def test_an_ending_that_names_no_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="PE-SINK-003"):
        VideoSink(tmp_path / "out.gif").open(INFO)


def test_a_stream_without_a_picture_leaves_no_video(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="the extra camera is not installed")
    sink = VideoSink(tmp_path / "out.mp4")
    sink.open(LIVE)
    sink.close()
    assert list(tmp_path.iterdir()) == []
