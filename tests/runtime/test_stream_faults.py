"""Faults that no other file injects; and that every row of docs/faults.md has its test."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from stream_fakes import FakeCamera, FakeNet, answer_to, picture

from physedge_runtime.bundle import read_bundle
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.results import Result, Signal
from physedge_runtime.sinks.base import CollectingSink
from physedge_runtime.stream.loop import stream
from physedge_runtime.stream.record import digest

ROOT = Path(__file__).parents[2]


def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it never happened"
        threading.Event().wait(0.005)


@pytest.mark.parametrize(
    ("shape", "colour"), [((96, 64), Colour.RGB), ((48, 64), Colour.BGR), ((480, 640), Colour.GREY)]
)
def test_another_format_in_the_middle_of_a_stream_is_noticed_and_left_behind(
    shape: tuple[int, int], colour: Colour
) -> None:
    camera, sink = FakeCamera(), CollectingSink()

    def push(number: int, shape: tuple[int, int], colour: Colour) -> None:
        pixels = picture(number, shape)
        pixels = pixels[:, :, 0] if colour is Colour.GREY else pixels
        camera.items.put(Frame(pixels=pixels, frame_id=number, captured_ns=time.monotonic_ns(), colour=colour))
        until(lambda: sink.items != [] and sink.items[-1].frame is not None and _newest(sink) == number)

    with stream(FakeNet(), camera, sinks=[sink], max_age_ms=60_000) as running:
        for number in range(10):
            push(number, (48, 64), Colour.RGB)
        for number in range(10, 20):
            push(number, shape, colour)
        camera.end()
        running.wait()
    by_id = {item.frame.frame_id: item for item in sink.items if item.frame is not None}
    assert by_id[10].signal is Signal.RECOVERING
    assert by_id[10].result is None
    assert "the picture changed to" in by_id[10].reason
    assert by_id[19].signal is Signal.LIVE
    assert by_id[19].result is not None


def _newest(sink: CollectingSink) -> int:
    return max(item.frame.frame_id for item in sink.items if item.frame is not None)


def test_torn_pictures_of_a_network_camera_are_never_shown() -> None:
    pytest.importorskip("cv2", reason="the extra camera is not installed")
    from mjpeg_server import MjpegCamera

    sink = CollectingSink()
    with MjpegCamera() as camera, stream(FakeNet(), camera.url, sinks=[sink], max_age_ms=5000) as running:
        until(lambda: running.summary().answers > 5)
        camera.mode = "corrupt"
        until(lambda: sink.items[-1].signal is Signal.LOST)
        before = running.summary()
        camera.mode = "run"
        until(lambda: running.summary().answers > before.answers + 5)
        summary = running.summary()
    assert summary.drops["source_gap"] >= 3  # the torn ones
    assert summary.safe_state == ""


STREAM_UNTIL_TERMINATED = """
import itertools, os, signal, sys
from pathlib import Path
from stream_fakes import FakeNet, picture, stream_threads
from physedge_runtime.sinks.jsonl import JsonLinesSink
from physedge_runtime.stream.loop import stream
from physedge_runtime.stream.signals import StopOnTerminate

frames = itertools.cycle([picture(0), picture(1)])
before = signal.getsignal(signal.SIGTERM)
sinks = [JsonLinesSink(Path(sys.argv[1]))]
with stream(FakeNet(), frames, sinks=sinks) as running, StopOnTerminate(running) as guard:
    for result in running:
        if result.frame_id == 20:
            os.kill(os.getpid(), signal.SIGTERM)
assert guard.was_terminated
assert signal.getsignal(signal.SIGTERM) is before
assert stream_threads() == []
"""


def test_sigterm_finishes_what_was_begun(tmp_path: Path) -> None:
    """In a process of its own: Python gives signals to the main thread, which a test is not always run in."""
    path = tmp_path / "out.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", STREAM_UNTIL_TERMINATED, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(ROOT / "tests/support")])},
    )
    assert done.returncode == 0, done.stderr
    assert path.read_bytes().endswith(b"}\n")
    assert len(path.read_text().splitlines()) > 20


def test_a_bundle_replaced_while_running_changes_nothing(write_tiny: Callable[..., Path]) -> None:
    path = write_tiny()
    frames = [picture(number, (40, 50)) for number in range(30)]

    def answers(replace_at: int | None) -> list[str]:
        digests = []
        with read_bundle(path).open(engine="onnxruntime", threads=1) as net, stream(net, frames) as running:
            for result in running:
                if result.frame_id == replace_at:
                    path.write_bytes(b"another file altogether")
                digests.append(digest(result))
        return digests

    undisturbed = answers(None)
    assert answers(5) == undisturbed
    assert len(undisturbed) == 30


def test_nothing_is_answered_but_live_pictures() -> None:
    """A run through every state at once: what was handed to the network was fit to be answered."""
    asked: list[Frame] = []

    def respond(frame: Frame) -> Result:
        asked.append(frame)
        return answer_to(frame)

    camera, sink = FakeCamera(), CollectingSink()
    black, white, still = np.zeros((48, 64, 3), np.uint8), np.full((48, 64, 3), 255, np.uint8), picture(10_000)
    with stream(FakeNet(respond), camera, sinks=[sink], reconnect_s=5) as running:
        for number in range(160):
            kind = number // 20
            pixels = {1: black, 3: white, 5: still}.get(kind, picture(number))
            camera.items.put(Frame(pixels=pixels, frame_id=number, captured_ns=time.monotonic_ns()))
            if number == 139:
                camera.unplug()
            threading.Event().wait(0.01)
        camera.end()
        running.wait()
    assert not any(np.array_equal(frame.pixels, bad) for frame in asked for bad in (black, white))
    assert sum(np.array_equal(frame.pixels, still) for frame in asked) <= 18
    assert {item.signal for item in sink.items} >= {Signal.LIVE, Signal.BLACK, Signal.SATURATED, Signal.FROZEN}
    assert all(item.result is None for item in sink.items if item.signal is not Signal.LIVE)


def test_every_row_of_the_table_of_faults_names_a_test_that_exists() -> None:
    rows = [line for line in (ROOT / "docs/faults.md").read_text().splitlines() if re.match(r"^\| (?!fault|---)", line)]
    assert len(rows) >= 30
    for row in rows:
        match = re.search(r"`(test_\w+\.py)::(test_\w+)`", row)
        assert match is not None, row
        tree = ast.parse((ROOT / "tests/runtime" / match[1]).read_text(encoding="utf-8"))
        assert match[2] in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, row
