"""Motion JPEG as cameras send it: with and without lengths, with stamps, torn, and behind a password."""

from __future__ import annotations

import base64
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from physedge_runtime.sources.base import SignalLost
from physedge_runtime.sources.mjpeg import MjpegConnection, connect_mjpeg
from physedge_runtime.sources.opencv import import_opencv

pytest.importorskip("cv2", reason="the extra camera is not installed")
gone_on = threading.Event()
HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=--frame\r\n\r\n"


def jpeg(value: int) -> bytes:
    return bytes(import_opencv().imencode(".jpg", np.full((48, 64, 3), value, np.uint8))[1])


def part(body: bytes, *headers: str, length: bool = True) -> bytes:
    lines = ["--frame", "Content-Type: image/jpeg", *headers, *([f"Content-Length: {len(body)}"] if length else [])]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body + b"\r\n"


@contextmanager
def camera(answer: bytes | list[bytes], asked: list[bytes] | None = None) -> Iterator[str]:
    """Sends these bytes to the first who asks, and hangs up; of several pieces each when `gone_on` is set."""
    gone_on.clear()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                told = connection.recv(65536)
                if asked is not None:
                    asked.append(told)
                first, *others = answer if isinstance(answer, list) else [answer]
                connection.sendall(first)
                for piece in others:
                    gone_on.wait(10)
                    gone_on.clear()
                    connection.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}/cam?x=1"
        thread.join(10)


def connected(url: str) -> MjpegConnection:
    connection = connect_mjpeg(url, "camera", timeout_s=5, read_s=5, first_id=7)
    assert connection is not None
    return connection


@pytest.mark.parametrize("length", [True, False])
def test_every_picture_comes_whole_with_the_cameras_own_stamp(length: bool) -> None:
    parts = [part(jpeg(value), f"X-Timestamp: 12.{value:03}", length=length) for value in (60, 120, 180)]
    with camera([HEAD + parts[0], *parts[1:]]) as address:
        connection = connected(f"http://{address}")
        frames = []
        for _ in range(3):
            frames.append(connection.read())
            gone_on.set()
        with pytest.raises(SignalLost, match=r"PE-SRC-008: camera was lost"):
            connection.read()
        connection.close()
    assert [frame.frame_id for frame in frames if frame] == [7, 8, 9]
    assert [int(frame.pixels.mean()) for frame in frames if frame] == [60, 120, 180]
    assert [frame.source_stamp_ns for frame in frames if frame] == [12_060_000_000, 12_120_000_000, 12_180_000_000]


def test_a_torn_picture_is_not_shown_and_leaves_a_gap() -> None:
    torn = jpeg(90)[:-200]
    with camera([HEAD + part(jpeg(60)), part(torn), part(b"no picture"), part(jpeg(180))]) as address:
        connection = connected(f"http://{address}")
        frames = []
        for _ in range(4):
            frames.append(connection.read())
            gone_on.set()
        connection.close()
    assert [frame.frame_id if frame else None for frame in frames] == [7, None, None, 10]


def test_other_bits_of_the_same_length_are_not_found_and_the_table_of_faults_says_so() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    whole = import_opencv().imencode(".jpg", noise)[1].tobytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 0x10]) + whole[middle + 1 :]
    with camera([HEAD + part(whole), part(flipped)]) as address:
        connection = connected(f"http://{address}")
        first = connection.read()
        gone_on.set()
        second = connection.read()
        connection.close()
    assert first is not None
    assert second is not None
    assert not np.array_equal(first.pixels, second.pixels)


def test_of_pictures_that_have_queued_up_the_newest_is_taken() -> None:
    noise = np.random.default_rng(0).integers(0, 40, (120, 160, 3)).astype(np.uint8)
    queued = [import_opencv().imencode(".jpg", noise + np.uint8(20 * value))[1].tobytes() for value in range(6)]
    with camera(HEAD + b"".join(map(part, queued))) as address:
        connection = connected(f"http://{address}")
        end = time.monotonic() + 10
        while not connection._has_waiting(sum(map(len, queued[2:]))) and time.monotonic() < end:
            threading.Event().wait(0.01)
        frame = connection.read()
        connection.close()
    assert frame is not None
    assert frame.frame_id >= 7 + 3
    assert frame.pixels.mean() == pytest.approx(19.5 + 20 * (frame.frame_id - 7), abs=2)


@pytest.mark.parametrize(
    "body",
    [b"--frame\r\nContent-Length: 999999999\r\n\r\n", b"--frame\r\n" + b"a: b\r\n" * 100, b"x\r\n" * 50, jpeg(60)],
    ids=["absurd length", "endless headers", "no boundary", "no part"],
)
def test_what_is_no_stream_of_pictures_is_lost(body: bytes) -> None:
    with camera(HEAD + body) as address:
        connection = connected(f"http://{address}")
        with pytest.raises(SignalLost):
            connection.read()
        connection.close()


def test_user_and_password_are_sent_as_the_camera_expects_them() -> None:
    asked: list[bytes] = []
    with camera(HEAD, asked) as address:
        connected(f"http://anna:ge%40heim@{address}").close()
    assert b"GET /cam?x=1 HTTP/1.1" in asked[0]
    assert b"Authorization: Basic " + base64.b64encode(b"anna:ge@heim") in asked[0]


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.0 401 Unauthorized\r\n\r\n", b"HTTP/1.0 200 OK\r\nContent-Type: video/mp4\r\n\r\n", b"nonsense", b""],
)
def test_what_is_no_motion_jpeg_is_left_to_ffmpeg(answer: bytes) -> None:
    with camera(answer) as address:
        assert connect_mjpeg(f"http://{address}", "camera", timeout_s=5, read_s=5, first_id=0) is None
