"""Cameras, URLs, synthetic scenes and frames from Python as sources."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physedge_runtime.errors import SourceError, UsageError
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources import IteratorSource, PushSource, SignalLost, SourceEnded, open_source
from physedge_runtime.sources.camera import CameraSource
from physedge_runtime.sources.synthetic import SyntheticSource, parse_synthetic
from physedge_runtime.sources.url import UrlSource, redact_url


class SteppedTime:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000

    def clock(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


@pytest.mark.parametrize("device", [99, "/dev/video99"])
def test_an_absent_camera_is_one_sentence_and_nothing_else(
    device: int | str, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("cv2", reason="the extra camera is not installed")
    with pytest.raises(SourceError, match=r"PE-SRC-001: camera .* is not there") as caught:
        CameraSource(device).open()
    assert caught.value.exit_status == 5
    assert not isinstance(caught.value, SignalLost)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_a_pipeline_without_gstreamer_says_what_is_needed() -> None:
    pytest.importorskip("cv2", reason="the extra camera is not installed")
    with pytest.raises(SourceError, match="PE-SRC-001: the GStreamer pipeline did not open"):
        open_source("gstreamer:nosuchelement ! appsink").open()


def test_a_url_that_nobody_serves_is_lost_and_keeps_its_secrets(capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("cv2", reason="the extra camera is not installed")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        source = UrlSource(f"http://anna:geheim@127.0.0.1:{port}/key=geheim?token=geheim")
        with pytest.raises(SignalLost, match="PE-SRC-006") as caught:
            source.open()
    spoken = str(caught.value) + source.info.name + capfd.readouterr().err
    assert "geheim" not in spoken
    assert "anna" not in spoken
    assert f"http://127.0.0.1:{port}/..." in spoken


secret = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=12, max_size=20)


@given(user=secret, password=secret, path=secret, query=secret)
def test_no_part_of_a_url_but_scheme_host_and_port_is_ever_spoken(
    user: str, password: str, path: str, query: str
) -> None:
    redacted = redact_url(f"rtsp://{user}:{password}@10.1.2.3:554/{path}?k={query}")
    assert redacted == "rtsp://10.1.2.3:554/..."


@pytest.mark.parametrize("url", ["rtsp://[::1]:8554/x", "http://host:99999999/secret", "rtsp://u:se@cret@h/x"])
def test_odd_urls_are_redacted_too(url: str) -> None:
    assert "secret" not in redact_url(url)
    assert "se@" not in redact_url(url)


def test_the_synthetic_scene_moves_and_never_repeats_a_frame() -> None:
    time = SteppedTime()
    source = SyntheticSource(height=96, width=128, clock=time.clock, sleep=time.sleep)
    source.open()
    frames = [source.read() for _ in range(60)]
    pictures = [frame.pixels for frame in frames if frame is not None]
    assert len(pictures) == 60
    assert all(picture.shape == (96, 128, 3) and picture.dtype == np.uint8 for picture in pictures)
    assert all(not np.array_equal(one, other) for one, other in itertools.pairwise(pictures))
    brightest = [np.unravel_index(_blurred(picture).argmax(), (96, 128))[1] for picture in pictures]
    assert abs(int(brightest[0]) - int(brightest[59])) > 5
    stamps = [frame.captured_ns for frame in frames if frame is not None]
    assert set(np.diff(stamps)) == {33_333_333}


def _blurred(picture: np.ndarray) -> np.ndarray:
    grey = picture[:, :, 0].astype(float)
    return np.mean([np.roll(grey, (y, x), (0, 1)) for y in range(-8, 9, 2) for x in range(-8, 9, 2)], axis=0)


def test_the_synthetic_scene_skips_frames_that_nobody_read_in_time() -> None:
    time = SteppedTime()
    source = SyntheticSource(height=32, width=32, rate_hz=10, clock=time.clock, sleep=time.sleep)
    source.open()
    first = source.read()
    time.sleep(0.35)
    late = source.read()
    after = source.read()
    assert first is not None
    assert late is not None
    assert after is not None
    assert [first.frame_id, late.frame_id, after.frame_id] == [0, 3, 4]
    assert after.captured_ns == 1_000_000_000 + 400_000_000


@pytest.mark.parametrize("text", ["synthetic:8x8", "synthetic:640", "synthetic:64x64@0", "synthetic:noise"])
def test_wrong_options_of_the_synthetic_scene_are_usage_errors(text: str) -> None:
    with pytest.raises(UsageError, match="PE-SRC-007"):
        parse_synthetic(text)


def test_an_iterator_numbers_and_stamps_bare_arrays() -> None:
    time = SteppedTime()
    own = Frame(pixels=np.zeros((4, 4), np.uint8), frame_id=7, captured_ns=5, colour=Colour.GREY)
    source = IteratorSource([np.ones((4, 4, 3), np.uint8), own, np.ones((4, 4, 3), np.uint8)], clock=time.clock)
    source.open()
    first, second, third = source.read(), source.read(), source.read()
    assert first is not None
    assert (first.frame_id, first.captured_ns) == (0, 1_000_000_000)
    assert second is own
    assert third is not None
    assert third.frame_id == 8
    with pytest.raises(SourceEnded):
        source.read()


def test_an_iterator_that_raises_is_a_source_error_with_its_cause() -> None:
    closed: list[bool] = []

    def frames() -> Iterator[np.ndarray]:
        try:
            yield np.zeros((4, 4), np.uint8)
            raise OSError("bus error")
        finally:
            closed.append(True)

    source = IteratorSource(frames())
    source.open()
    source.read()
    with pytest.raises(SourceError, match=r"PE-SRC-009: .*OSError: bus error") as caught:
        source.read()
    assert isinstance(caught.value.__cause__, OSError)
    source.close()
    assert closed == [True]


def test_pushed_frames_come_out_in_order_and_the_oldest_makes_room() -> None:
    source = PushSource(capacity=2)
    source.open()
    for value in range(4):
        source.push(np.full((4, 4), value, np.uint8))
    source.end()
    frames = [source.read(), source.read()]
    assert [frame.frame_id for frame in frames if frame] == [2, 3]
    with pytest.raises(SourceEnded):
        source.read()


def test_a_read_without_a_push_comes_back_empty_handed() -> None:
    assert PushSource().read() is None
