"""Motion JPEG as cameras send it: with and without lengths, with stamps, torn, and behind a password."""

from __future__ import annotations

import base64
import io
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import clips
import debian
import numpy as np
import pytest

from physedge_runtime.sources.base import SignalLost
from physedge_runtime.sources.mjpeg import MjpegConnection, connect_mjpeg
from physedge_runtime.sources.multipart import JpegEnd, PartReader
from physedge_runtime.sources.opencv import import_opencv
from physedge_runtime.sources.url import UrlSource

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
    assert isinstance(connection, MjpegConnection)
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


def written(kind: str, body: bytes) -> bytes:
    """A part as some camera writes it."""
    head, length = b"Content-Type: image/jpeg\r\n", b"Content-Length: %d\r\n"
    return {
        "as the RFC has it": b"\r\n--pictures\r\n" + head + b"\r\n" + body,
        "no headers": b"\r\n--pictures\r\n\r\n" + body,
        "padding behind the boundary": b"--pictures \t\r\n" + head + length % len(body) + b"\r\n" + body + b"\r\n",
        "dashes of its own": b"----pictures\r\n" + head + length % len(body) + b"\r\n" + body + b"\r\n",
        "no dashes": b"pictures\r\n" + head + length % len(body) + b"\r\n" + body + b"\r\n",
        "another boundary": b"--other\r\n" + head + length % len(body) + b"\r\n" + body + b"\r\n",
        "another boundary, no length": b"--other\r\n" + head + b"\r\n" + body + b"\r\n",
        "no line break, no length": b"--pictures\r\n" + head + b"\r\n" + body,
        "boundary at the end": head + length % len(body) + b"\r\n" + body + b"\r\n--pictures\r\n",
        "a length too long": b"--pictures\r\n" + head + length % (len(body) + 7) + b"\r\n" + body + b"\r\n",
        "a length too short": b"--pictures\r\n" + head + length % (len(body) - 7) + b"\r\n" + body + b"\r\n",
        "filled up": b"--pictures\r\n" + head + length % (len(body) + 300) + b"\r\n" + body + b"\xff" * 300 + b"\r\n",
        "line feeds alone": b"--pictures\n" + head.replace(b"\r", b"") + b"\n" + body + b"\n",
    }[kind]


KINDS = """as the RFC has it; no headers; padding behind the boundary; dashes of its own; no dashes; another boundary;
    another boundary, no length; no line break, no length; boundary at the end; a length too long; a length too short;
    filled up; line feeds alone"""
PREAMBLE = [b"", b"This is a message with several parts.\r\n"]


@pytest.mark.parametrize("kind", [" ".join(kind.split()) for kind in KINDS.split(";")])
@pytest.mark.parametrize("stated", ["pictures", "--pictures", ""])
@pytest.mark.parametrize("at_once", [1, 700, 65536])
def test_boundaries_as_cameras_write_them(kind: str, stated: str, at_once: int) -> None:
    if kind == "no headers":
        stated = "pictures"  # nothing else would tell
    bodies = [jpeg(value) for value in (60, 120, 180)]
    sent = b"".join([PREAMBLE[kind == "as the RFC has it"], *(written(kind, body) for body in bodies), b"--pictures--"])
    stream = io.BytesIO(sent + b"\r\nepilogue\r\n")
    reader = PartReader(lambda size: stream.read(min(size, at_once)), stated, 30)
    parts = [reader.read() for _ in bodies]
    assert [part.body and part.body.rstrip(b"\xff") + b"\xd9" * part.body.endswith(b"\xff") for part in parts] == bodies
    with pytest.raises(ValueError, match="the connection was closed"):
        reader.read()


@pytest.mark.parametrize("boundary", ["x", "pictures"])
def test_a_boundary_that_may_stand_in_a_picture_by_chance_does_not_tear_it(boundary: str) -> None:
    body = jpeg(60)
    body = body[:-2] + b"--x\r\n" + body[-2:]
    sent = io.BytesIO(2 * (f"--{boundary}\r\nContent-Type: image/jpeg\r\n\r\n".encode() + body + b"\r\n"))
    reader = PartReader(sent.read, boundary, 30)
    assert [reader.read().body, reader.read().body] == [body, body]


def test_parts_of_another_kind_stand_between_pictures() -> None:
    text = b"--frame\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello\r\n"
    with camera([HEAD + part(jpeg(60)) + text, part(jpeg(120))]) as address:
        connection = connected(f"http://{address}")
        frames = [connection.read()]
        gone_on.set()
        frames.append(connection.read())
        connection.close()
    assert [(frame.frame_id, int(frame.pixels.mean())) for frame in frames if frame] == [(7, 60), (8, 120)]


def test_a_torn_picture_of_no_stated_length_is_not_joined_with_the_next() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3)).astype(np.uint8)
    whole = import_opencv().imencode(".jpg", noise)[1].tobytes()
    with camera([HEAD + part(whole[: len(whole) // 2], length=False), part(jpeg(120), length=False), part(b"")]) as at:
        connection = connected(f"http://{at}")
        gone_on.set()
        assert connection.read() is None
        gone_on.set()
        frame = connection.read()
        connection.close()
    assert frame is not None
    assert int(frame.pixels.mean()) == 120


def test_a_preview_inside_a_picture_does_not_end_it() -> None:
    whole = jpeg(60)
    preview = jpeg(200)
    with_preview = whole[:2] + b"\xff\xe1" + (len(preview) + 2).to_bytes(2, "big") + preview + whole[2:]
    assert JpegEnd().find(bytearray(with_preview + b"behind")) == len(with_preview)
    walk, content = JpegEnd(), bytearray()
    ends = []
    for value in with_preview:
        content.append(value)
        ends.append(walk.find(content))
    assert ends == [None] * (len(with_preview) - 1) + [len(with_preview)]


def test_a_camera_that_trickles_on_without_a_picture_is_lost() -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def trickle() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(HEAD)
                while not stop.wait(0.01):
                    connection.sendall(b"x\r\n")

        thread = threading.Thread(target=trickle)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        connection = connect_mjpeg(url, "camera", timeout_s=5, read_s=0.1, first_id=0)
        assert isinstance(connection, MjpegConnection)
        with pytest.raises(SignalLost):
            connection.read()
        stop.set()
        thread.join(10)
        connection.close()


@pytest.mark.parametrize("form", ["mpjpeg", "mpegts"])
def test_a_server_that_takes_a_single_connection_is_read(form: str, tmp_path: Path) -> None:
    """`ffmpeg -listen 1` says octet-stream, and ends with its first viewer."""
    clip = clips.encode(tmp_path / "clip.mp4", [clips.picture(n) for n in range(60)], *clips.X264)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    codec = ["mjpeg", "-q:v", "3"] if form == "mpjpeg" else ["mpeg2video"]
    command = [debian.program("ffmpeg", "ffmpeg"), "-v", "quiet", "-re", "-i", str(clip), "-c:v", *codec, "-f", form]
    source = UrlSource(f"http://127.0.0.1:{port}/s")
    with subprocess.Popen([*command, "-listen", "1", f"http://127.0.0.1:{port}/s"]) as server:
        frame, end = None, time.monotonic() + 30
        while frame is None and time.monotonic() < end:
            try:
                source.open()
                frame = source.read()
            except SignalLost:
                assert server.poll() is None, "it has ended: the one connection was used up"
                threading.Event().wait(0.05)  # it does not listen yet
        source.close()
        server.terminate()
    assert frame is not None
    assert clips.number_in(frame.pixels) < 60


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
