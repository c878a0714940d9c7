"""An RTSP camera that sends H.264 through a network that loses packets: what is damaged is known."""

from __future__ import annotations

import http.server
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from clips import X264, encode, number_in, woven
from debian import program, skip_or_fail
from lossy_proxy import lossy_proxy
from stream_fakes import FakeNet, stream_threads

from physedge_runtime.frame import Damage
from physedge_runtime.results import TrustState
from physedge_runtime.sinks.base import CollectingSink
from physedge_runtime.stream import EventKind, StreamEvent
from physedge_runtime.stream.loop import stream
from physedge_runtime.stream.streamed import Withdrawal

pytest.importorskip("av", reason="the extra camera is not installed")

SERVER = Path(__file__).parents[1] / "support/rtsp_server.py"
IMPORTS = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of noise that moves: every picture fills several RTP packets; a key frame every second."""
    generator = np.random.default_rng(0)
    noise = generator.integers(40, 200, (120, 160, 3), np.uint8)
    pictures = [np.roll(noise, 3 * number, axis=1) for number in range(250)]
    return encode(tmp_path_factory.mktemp("film") / "film.mp4", pictures, *X264, "-g", "25")


@contextmanager
def rtsp_film(film: Path) -> Iterator[int]:
    python = program("python3", "python3")
    found = subprocess.run(["/usr/bin/python3", "-c", IMPORTS], capture_output=True, check=False)
    if python is None or found.returncode:
        skip_or_fail("the Debian packages python3-gi and gir1.2-gst-rtsp-server-1.0 are not installed")
    command = ["/usr/bin/python3", str(SERVER), "0", str(film)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


def until(condition: Callable[[], bool], timeout_s: float = 40.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        threading.Event().wait(0.01)


@pytest.mark.parametrize("loses", [True, False])
def test_packets_that_are_lost_on_the_way_are_counted_and_their_pictures_not_answered(film: Path, loses: bool) -> None:
    sink, events = CollectingSink(), list[StreamEvent]()
    with rtsp_film(film) as server, lossy_proxy(server, lambda number: loses and number % 150 == 90) as port:
        url = f"rtsp://127.0.0.1:{port}/cam"
        with stream(FakeNet(), url, sinks=[sink], max_age_ms=5000, on_event=events.append) as running:
            if loses:
                until(lambda: running.summary().damage.get("pictures", 0) >= 2)
                before = running.summary().answers
                until(lambda: running.summary().answers > before + 5)
            else:
                until(lambda: running.summary().answers > 30)
            summary = running.summary()
    shown = [item for item in sink.items if item.frame is not None]
    damaged = [item for item in shown if item.frame is not None and item.frame.damage is Damage.PICTURE]
    doubtful = [item for item in shown if item.frame is not None and item.frame.damage is Damage.BEFORE]
    assert shown[-1].frame is not None
    assert shown[-1].frame.source_stamp_ns is not None, "RTP has stamps, if not for its first picture"
    assert stream_threads() == []
    if not loses:
        assert (damaged, doubtful, dict(summary.damage)) == ([], [], {})
        return
    assert damaged
    assert all(item.result is None for item in damaged)
    assert any(item.withdrawn is Withdrawal.VOID for item in damaged)
    assert all(item.result is None or item.result.trust.state is TrustState.DOUBTFUL for item in doubtful)
    assert sum(event.kind is EventKind.DAMAGE for event in events) == 1
    assert [item.damage for item in shown][-1]["pictures"] >= 2


class Encoder(http.server.BaseHTTPRequestHandler):
    """An encoder box: an MPEG transport stream at its own speed, for as long as somebody watches."""

    film: Path
    seconds: float

    def do_GET(self) -> None:
        content, at = self.film.read_bytes(), 0
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        began = time.monotonic()
        try:
            while at < len(content):
                due = int((time.monotonic() - began) / self.seconds * len(content)) // 188 * 188
                self.wfile.write(content[at : max(due, at)])
                at = max(due, at)
                threading.Event().wait(0.01)
        except OSError:
            return

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


def test_an_interlaced_transport_stream_over_http_is_deinterlaced(tmp_path: Path) -> None:
    """As an endoscope's 1080i output comes out of an encoder box."""
    options = (*X264, "-g", "25", "-flags", "+ildct+ilme", "-x264opts", "tff=1")
    Encoder.film, Encoder.seconds = encode(tmp_path / "i.ts", woven(100), *options), 4.0
    sink, events = CollectingSink(), list[StreamEvent]()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Encoder) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        url = f"http://127.0.0.1:{server.server_port}/live.ts"
        with stream(FakeNet(), url, sinks=[sink], max_age_ms=5000, on_event=events.append) as running:
            until(lambda: running.summary().answers > 15)
        server.shutdown()
        serving.join()
    shown = [item.frame for item in sink.items if item.frame is not None]
    numbers = [number_in(frame.pixels) for frame in shown]
    assert numbers == sorted(set(numbers)), "none twice"
    assert [frame.frame_id for frame in shown] == numbers, "each under its own number"
    assert numbers[0] < 25
    assert any(event.text == "interlaced video, deinterlaced (bwdif)" for event in events)
    assert stream_threads() == []
