"""Real parts of GStreamer: an RTSP server that dies and comes back, and a pipeline into the system's own OpenCV."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from debian import program, skip_or_fail
from stream_fakes import FakeNet, stream_threads

from physedge_runtime.errors import SourceError
from physedge_runtime.results import Signal
from physedge_runtime.sinks.base import CollectingSink
from physedge_runtime.sources.opencv import import_opencv
from physedge_runtime.stream import EventKind, StreamEvent
from physedge_runtime.stream.loop import stream

pytest.importorskip("cv2", reason="the extra camera is not installed")
import_opencv()

ROOT = Path(__file__).parents[2]
SYSTEM_PYTHON = Path("/usr/bin/python3")


def system_python(imports: str, packages: str) -> Path:
    """Debian's own Python, where it has what is needed."""
    program("python3", "python3")
    found = subprocess.run([SYSTEM_PYTHON, "-c", imports], capture_output=True, text=True, check=False)
    if found.returncode:
        skip_or_fail(f"the Debian packages {packages} are not installed ({found.stderr.strip().splitlines()[-1]})")
    return SYSTEM_PYTHON


@contextmanager
def rtsp_server(port: int = 0, user: str = "", password: str = "") -> Iterator[int]:
    """A running server; gives its port and kills it in the end, as a power cut would."""
    python = system_python(
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer",
        "python3-gi and gir1.2-gst-rtsp-server-1.0",
    )
    command = [str(python), str(ROOT / "tests/support/rtsp_server.py"), str(port), *([user, password] if user else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            told = process.stdout.readline()
            assert told, "the server did not start"
            yield int(told)
        finally:
            process.kill()


def until(condition: Callable[[], bool], timeout_s: float = 40.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        threading.Event().wait(0.01)


def test_an_rtsp_camera_dies_and_comes_back() -> None:
    sink, events = CollectingSink(), list[StreamEvent]()
    with rtsp_server(user="anna", password="geheim") as port:
        url = f"rtsp://anna:geheim@127.0.0.1:{port}/cam"
        running = stream(FakeNet(), url, sinks=[sink], max_age_ms=5000, on_event=events.append)
        until(lambda: running.summary().answers > 5)
    with running:
        until(lambda: sink.items[-1].signal is Signal.LOST)
        with rtsp_server(port, user="anna", password="geheim"):
            before = running.summary().answers
            until(lambda: running.summary().answers > before + 5)
            running.stop()
    frames = [item.frame for item in sink.items if item.frame is not None]
    assert frames[0].pixels.shape == (240, 320, 3)
    assert any(event.kind is EventKind.RECONNECT for event in events)
    assert "geheim" not in " ".join(event.text for event in events) + running.info.source
    assert stream_threads() == []


def test_an_rtsp_camera_that_lets_us_not_in_is_one_sentence_without_the_password() -> None:
    with rtsp_server(user="anna", password="geheim") as port, pytest.raises(SourceError, match="PE-SRC-006") as caught:
        stream(FakeNet(), f"rtsp://anna:falsch@127.0.0.1:{port}/cam")
    assert "falsch" not in str(caught.value)


PIPELINE = """
import sys
from physedge_runtime.errors import SourceError
from physedge_runtime.sources.table import open_source
source = open_source("gstreamer:videotestsrc is-live=true num-buffers=12 pattern=ball ! "
    "video/x-raw,width=320,height=240,framerate=25/1 ! videoconvert ! video/x-raw,format=BGR ! "
    "appsink max-buffers=16")  # room for all: a machine that is busy between open and read drops none
source.open()
assert source.info.live and source.info.period_ns == 40_000_000, source.info
frames, stamps = [], []
try:
    while True:
        frame = source.read()
        frames.append(frame.frame_id)
        stamps.append(frame.captured_ns)
        assert frame.pixels.shape == (240, 320, 3)
except SourceError as error:
    print(error.identifier, frames, stamps == sorted(stamps))
"""


def test_a_gstreamer_pipeline_into_the_systems_opencv() -> None:
    """OpenCV from PyPI has no GStreamer; Debian's has, and so has a Jetson's."""
    python = system_python(
        "from cv2 import videoio_registry as r; assert 'GSTREAMER' in map(r.getBackendName, r.getBackends())",
        "python3-opencv, gstreamer1.0-plugins-base and gstreamer1.0-plugins-good",
    )
    done = subprocess.run(
        [python, "-c", PIPELINE],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(ROOT / "runtime")},
    )
    assert done.returncode == 0, done.stderr
    identifier, rest = done.stdout.split(maxsplit=1)
    assert identifier == "PE-SRC-008"
    assert rest.strip() == f"{list(range(12))} True"
