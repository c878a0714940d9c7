"""Files, folders and pictures as sources, and what is said where they cannot be read."""

from __future__ import annotations

from pathlib import Path

import clips
import numpy as np
import pytest

from physedge_runtime.errors import PhysedgeError, SourceError, UsageError
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources import SOURCES, SourceEnded, open_source, table
from physedge_runtime.sources.base import Source
from physedge_runtime.sources.camera import CameraSource
from physedge_runtime.sources.file import VideoFileSource
from physedge_runtime.sources.folder import FolderSource, natural_key
from physedge_runtime.sources.opencv import import_opencv
from physedge_runtime.sources.paced import PacedSource
from physedge_runtime.sources.picture import read_picture
from physedge_runtime.sources.synthetic import SyntheticSource
from physedge_runtime.sources.url import UrlSource

pytest.importorskip("cv2", reason="the extra camera is not installed")
cv2 = import_opencv()  # before any video is opened: FFmpeg's loudness is set once in a process


def all_frames(source: Source) -> list[Frame]:
    frames: list[Frame] = []
    source.open()
    try:
        while True:
            frame = source.read()
            if frame is not None:
                frames.append(frame)
    except SourceEnded:
        return frames
    finally:
        source.close()


def write_video(path: Path, count: int, rate_hz: float = 25.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), rate_hz, (64, 48))
    for number in range(count):
        writer.write(np.full((48, 64, 3), 10 * number, np.uint8))
    writer.release()
    return path


def test_a_video_gives_every_frame_once_in_order(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "clip.avi", 12)))
    frames = all_frames(source)
    assert [frame.frame_id for frame in frames] == list(range(12))
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [10 * number for number in range(12)]
    assert all(frame.colour is Colour.RGB and frame.captured_ns > 0 for frame in frames)
    assert [frame.source_stamp_ns for frame in frames] == [40_000_000 * number for number in range(12)]
    assert source.info.frames == 12
    assert source.info.period_ns == 40_000_000
    assert not source.info.live


def test_a_closed_video_opens_again_at_its_first_frame(tmp_path: Path) -> None:
    source = VideoFileSource(write_video(tmp_path / "clip.avi", 3))
    assert [frame.frame_id for frame in all_frames(source)] == [0, 1, 2]
    assert [frame.frame_id for frame in all_frames(source)] == [0, 1, 2]
    source.close()


def test_a_video_without_frames_is_refused_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, content in (("empty.mp4", b""), ("noise.mp4", bytes(range(256)) * 40)):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(SourceError, match=r"PE-SRC-003: .*has no frames") as caught:
            all_frames(open_source(str(path)))
        assert name in caught.value.found
    assert capfd.readouterr().err == ""


def test_a_video_whose_container_holds_no_frame_is_refused(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "none.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 25.0, (64, 48))
    writer.release()
    with pytest.raises(SourceError, match="PE-SRC-003"):
        all_frames(open_source(str(tmp_path / "none.avi")))


@pytest.mark.parametrize("name", ["missing.mp4", "missing.png", "missing/"])
def test_what_is_not_there_is_said_to_be_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="PE-SRC-002") as caught:
        open_source(f"{tmp_path}/{name}").open()
    assert caught.value.exit_status == 5


def test_a_folder_is_searched_recursively_and_counted_as_people_do(tmp_path: Path) -> None:
    for name in ("b/10.png", "b/9.png", "a/x.jpg", "a/.hidden.png", "z2.bmp", "z11.bmp"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), np.full((20, 30, 3), 99, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    source = open_source(str(tmp_path))
    frames = all_frames(source)
    assert [frame.name for frame in frames] == ["a/x.jpg", "b/9.png", "b/10.png", "z2.bmp", "z11.bmp"]
    assert [frame.frame_id for frame in frames] == [0, 1, 2, 3, 4]
    assert frames[0].pixels.shape == (20, 30, 3)
    assert source.info.frames == 5


def test_clips_of_a_folder_are_played_among_its_pictures(tmp_path: Path) -> None:
    write_video(tmp_path / "10.avi", 3)
    write_video(tmp_path / "9.avi", 2).rename(tmp_path / "IM0009")
    cv2.imwrite(str(tmp_path / "11.png"), np.full((20, 30, 3), 99, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    frames = all_frames(open_source(str(tmp_path)))
    assert [frame.name for frame in frames] == ["10.avi"] * 3 + ["11.png"] + ["IM0009"] * 2
    assert [frame.frame_id for frame in frames] == list(range(6))
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [0, 10, 20, 99, 0, 10]
    (tmp_path / "12.mp4").write_bytes(b"no clip at all")
    with pytest.raises(SourceError, match=r"PE-SRC-003: .*12\.mp4 has no frames"):
        all_frames(open_source(str(tmp_path)))


def test_a_damaged_clip_of_a_folder_is_left_behind_and_told_at_the_end(tmp_path: Path) -> None:
    whole = clips.encode(tmp_path / "whole.mp4", [clips.picture(n) for n in range(40)], *clips.X264, "-g", "10")
    (tmp_path / "folder").mkdir()
    clips.overwritten(whole, 0.55, 300, tmp_path / "folder/1.mp4")
    write_video(tmp_path / "folder/2.avi", 3)
    source = open_source(str(tmp_path / "folder"))
    source.open()
    frames = []
    with pytest.raises(SourceError, match=r"PE-SRC-040: .*1\.mp4 is damaged"):
        while True:
            frames.append(source.read())
    assert [frame.name for frame in frames if frame][-3:] == ["2.avi"] * 3
    assert sum(source.info.damage.values()) > 0
    assert len({frame.frame_id for frame in frames if frame}) == len([frame for frame in frames if frame])
    source.close()


@pytest.mark.parametrize("name", ["10:30:00.avi", "50% done [v2].avi", "100%d.avi", "clip #1?.avi", "IM0001", "a.png"])
@pytest.mark.parametrize("relative", [False, True])
def test_a_clip_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, relative: bool) -> None:
    write_video(tmp_path / "clip.avi", 3).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    frames = all_frames(open_source(name if relative else str(tmp_path / name)))
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [0, 10, 20]


@pytest.mark.parametrize("name", ["10:30:00", "50% done [v2]", "IM0001", "1.2.840.1", "a.mp4", "a.dcm"])
def test_a_picture_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    pixels = np.full((20, 30, 3), 99, np.uint8)
    (tmp_path / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    monkeypatch.chdir(tmp_path)
    for text in (name, str(tmp_path / name), str(tmp_path)):
        (frame,) = all_frames(open_source(text))
        np.testing.assert_array_equal(frame.pixels, pixels)


def test_a_folder_that_is_called_like_a_year_is_no_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "2024").mkdir()
    write_video(tmp_path / "2024/clip.avi", 2)
    monkeypatch.chdir(tmp_path)
    assert len(all_frames(open_source("2024"))) == 2
    assert isinstance(open_source("2025"), CameraSource)
    monkeypatch.setattr(table, "_CAMERA", str(tmp_path / "2024/clip.avi{0}"))
    assert isinstance(open_source("2024"), FolderSource)
    (tmp_path / "2024/clip.avi2024").touch()
    assert isinstance(open_source("2024"), CameraSource), "a camera that is there is meant by its number"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    assert isinstance(open_source(str(tmp_path / "pipe")), VideoFileSource)


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"PE-SRC-004: the folder .* holds no picture"):
        FolderSource(tmp_path).open()


def test_an_unreadable_picture_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    (tmp_path / "3.png").write_bytes(b"")
    source = FolderSource(tmp_path)
    source.open()
    assert source.read() is not None
    with pytest.raises(SourceError, match=r"PE-SRC-005: .*2\.png .*no picture"):
        source.read()
    with pytest.raises(SourceError, match=r"3\.png .*it is empty"):
        read_picture(tmp_path / "3.png")


def test_a_single_picture_is_a_source_of_one_frame(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), np.full((16, 24, 3), (1, 2, 3), np.uint8))
    frames = all_frames(open_source(str(tmp_path / "one.png")))
    assert len(frames) == 1
    assert frames[0].name == "one.png"
    assert tuple(frames[0].pixels[0, 0]) == (1, 2, 3)


def test_pillow_gives_the_same_pixels_where_opencv_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "one.png"), pixels)
    monkeypatch.setitem(__import__("sys").modules, "cv2", None)
    decoded, colour = read_picture(tmp_path / "one.png")
    assert colour is Colour.RGB
    np.testing.assert_array_equal(decoded, pixels[:, :, ::-1])
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with pytest.raises(PhysedgeError, match=r"PE-ENV-001: .*'camera'"):
        VideoFileSource(tmp_path / "one.png").open()


def test_natural_order_never_compares_letters_with_numbers() -> None:
    names = ["b", "10", "a10", "9", "", "a9b", "²", "A1"]
    assert sorted(names, key=natural_key) == ["", "9", "10", "A1", "a9b", "a10", "b", "²"]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("0", CameraSource),
        ("/dev/video3", CameraSource),
        ("gstreamer:videotestsrc ! appsink", CameraSource),
        ("synthetic:", SyntheticSource),
        ("synthetic:64x48@5", SyntheticSource),
        ("rtsp://host/stream", UrlSource),
        ("HTTP://host:8080/cam", UrlSource),
        ("a.png", FolderSource),
        ("clip.mp4", VideoFileSource),
    ],
)
def test_a_text_names_its_kind_of_source(text: str, kind: type) -> None:
    assert isinstance(open_source(text), kind)


@pytest.mark.parametrize("text", ["", "ftp://host/clip.mp4"])
def test_a_text_that_names_no_source_lists_how_they_are_written(text: str) -> None:
    with pytest.raises(UsageError, match="PE-SRC-010") as caught:
        open_source(text)
    assert all(kind.written in caught.value.expected for kind in SOURCES)


def test_a_paced_file_is_live_and_keeps_the_files_rate(tmp_path: Path) -> None:
    now_ns = 0
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now_ns
        slept.append(seconds)
        now_ns += round(seconds * 1e9)

    inner = VideoFileSource(write_video(tmp_path / "clip.avi", 4))
    source = PacedSource(inner, clock=lambda: now_ns, sleep=sleep)
    frames = all_frames(source)
    assert source.info.live
    assert [frame.captured_ns for frame in frames] == [0, 40_000_000, 80_000_000, 120_000_000]
    assert slept == pytest.approx([0.04] * 3)


def test_a_paced_source_never_waits_longer_than_a_read_may(tmp_path: Path) -> None:
    now_ns = 0

    def sleep(seconds: float) -> None:
        nonlocal now_ns
        assert seconds <= 0.2
        now_ns += round(seconds * 1e9)

    source = PacedSource(
        VideoFileSource(write_video(tmp_path / "slow.avi", 2, rate_hz=1.0)), clock=lambda: now_ns, sleep=sleep
    )
    source.open()
    assert source.read() is not None
    reads = [source.read() for _ in range(5)]
    assert [frame is None for frame in reads] == [True] * 4 + [False]
    source.close()
