"""Recordings: what was decided is decided again, bit for bit, drops and faults included."""

from __future__ import annotations

import errno
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stream_fakes import FakeCamera, FakeNet, answer_to, picture

from physedge_runtime.errors import IntegrityError, UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.results import Result
from physedge_runtime.stream import Drop
from physedge_runtime.stream.health import HealthLimits
from physedge_runtime.stream.look import look_at
from physedge_runtime.stream.loop import stream
from physedge_runtime.stream.record import RecordedCore, describe_answer, digest, replay
from physedge_runtime.stream.recording import RecordingWriter, read_records
from physedge_runtime.stream.safety import EngineFault, SafetyLimits


def from_pixels(frame: Frame) -> Result:
    """An answer that depends on every pixel."""
    result = answer_to(frame)
    result.probability[0, 0, 0] = float(frame.pixels.mean()) / 255
    return result


def record_live(path: Path, frames: int = 60) -> dict[str, int]:
    """Streams a camera faster than the engine, with an engine error and an unplugged cable on the way."""
    camera = FakeCamera()

    def respond(frame: Frame) -> Result:
        threading.Event().wait(0.008)
        if frame.frame_id % 17 == 11:
            raise RuntimeError("device hiccup")
        return from_pixels(frame)

    with stream(FakeNet(respond), camera, record=path, reconnect_s=5) as running:
        for number in range(frames):
            camera.items.put(Frame(pixels=picture(number), frame_id=number, captured_ns=time.monotonic_ns()))
            threading.Event().wait(0.003)
            if number == frames // 2:
                camera.unplug()
        camera.end()
        running.wait()
    return dict(running.summary().drops)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recording") / "stream.raw"
    record_live(path)
    return path


def test_a_live_stream_replays_bit_for_bit_with_its_drops(recording: Path) -> None:
    drops = [record["out"][-1]["drops"] for record, _ in read_records(recording) if record.get("out")]
    assert drops[-1]["superseded"] > 0
    report = replay(recording, FakeNet(from_pixels))
    assert report.first_difference == ""
    assert report.frames >= 55
    assert report.answers > 3
    assert report.decisions > 10
    assert report.is_identical


def test_decisions_replay_without_a_network(recording: Path) -> None:
    report = replay(recording)
    assert report.is_identical
    assert report.answers == 0


def test_replaying_again_and_again_gives_the_same(recording: Path) -> None:
    reports = {json.dumps(replay(recording).to_dict()) for _ in range(10)}
    assert len(reports) == 1


def test_another_network_is_named_as_the_first_difference(recording: Path) -> None:
    def other(frame: Frame) -> Result:
        result = from_pixels(frame)
        result.probability[0, 5, 5] = np.nextafter(result.probability[0, 5, 5], np.float32(1))
        return result

    report = replay(recording, FakeNet(other))
    assert report.first_difference.startswith("the answer to frame ")
    assert not report.is_identical


def test_other_limits_are_named_as_the_first_difference(recording: Path, tmp_path: Path) -> None:
    content = recording.read_bytes()
    changed = content.replace(b'"good_frames":5', b'"good_frames":4')
    assert changed != content
    (tmp_path / "changed.raw").write_bytes(changed)
    assert "was" in replay(tmp_path / "changed.raw").first_difference


def test_a_recording_that_breaks_off_is_replayed_up_to_there(recording: Path, tmp_path: Path) -> None:
    content = recording.read_bytes()
    (tmp_path / "torn.raw").write_bytes(content[: len(content) // 2])
    report = replay(tmp_path / "torn.raw")
    assert report.is_identical
    assert 0 < report.frames < 60


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"something else entirely",
        b"physedg1" + b"\xff" * 8,
        b"physedg1" + b"\x02\0\0\0\0\0\0\0" + b"[]",
        b"physedg1" + b"\x10\0\0\0\0\0\0\0" + b'{"call":"dance"}',
        b"physedg1" + b"\x11\0\0\0\0\0\0\0" + b'{"dtype":"object"}'[:17],
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.raw").write_bytes(content)
    with pytest.raises(IntegrityError, match="PE-STREAM-006"):
        replay(tmp_path / "x.raw")


def test_files_that_cannot_be_opened_are_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="PE-STREAM-005"):
        replay(tmp_path / "missing.raw")
    with pytest.raises(UsageError, match="PE-STREAM-004"):
        stream(FakeNet(), [picture(0)], record=tmp_path / "missing" / "x.raw")


def test_a_disk_that_cannot_keep_up_ends_the_recording_and_says_so(tmp_path: Path) -> None:
    writer = RecordingWriter(tmp_path / "x.raw", queue_bytes=100_000)
    for number in range(1000):
        writer.put({"call": "frame", "number": number}, picture(0))
        if writer.failure:
            break
    writer.close()
    assert writer.failure == "the disk is too slow for the recording"
    records = list(read_records(tmp_path / "x.raw"))
    assert [record["number"] for record, _ in records] == list(range(len(records)))


def test_a_full_disk_ends_the_recording_and_not_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("physedge_runtime.stream.recording.write_record", full)
    camera, said = FakeCamera(), list[str]()
    with stream(
        FakeNet(), camera, record=tmp_path / "x.raw", on_event=lambda event: said.append(event.text)
    ) as running:
        end = time.monotonic() + 10
        number = 0
        while not any("the recording ended, No space left" in text for text in said):
            assert time.monotonic() < end
            camera.items.put(Frame(pixels=picture(number), frame_id=number, captured_ns=time.monotonic_ns()))
            number += 1
            threading.Event().wait(0.01)
        camera.end()
        assert running.wait().safe_state == ""


def test_a_digest_sees_one_bit() -> None:
    frame = Frame(pixels=picture(0))
    one, other = answer_to(frame), answer_to(frame)
    assert digest(one) == digest(other)
    other.mask[0, 0] ^= 1
    assert digest(one) != digest(other)
    assert describe_answer(EngineFault("x")) == {"fault": "x", "out_of_memory": False}


CALLS = st.lists(
    st.tuples(st.sampled_from(["frame", "take", "ok", "fault", "nan", "tick", "lost", "fail"]), st.integers(0, 10**8)),
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(policy=st.sampled_from(Drop), calls=CALLS)
def test_whatever_a_core_is_told_replays(
    tmp_path_factory: pytest.TempPathFactory, policy: Drop, calls: list[tuple[str, int]]
) -> None:
    path = tmp_path_factory.mktemp("calls") / "x.raw"
    writer = RecordingWriter(path)
    core = RecordedCore(
        writer, policy=policy, health=HealthLimits(good_frames=1), safety=SafetyLimits(max_age_ns=10**9), engine="e"
    )
    now_ns, number = 0, 0
    in_work: Frame | None = None
    for call, wait_ns in calls:
        now_ns += wait_ns
        if call == "frame" and core.has_room:
            number += 1
            frame = Frame(pixels=picture(number, (16, 16)), frame_id=number, captured_ns=now_ns)
            core.frame(frame, look_at(frame), now_ns)
        elif call == "take" and in_work is None:
            in_work = core.take(now_ns)
        elif call in ("ok", "nan", "fault") and in_work is not None:
            value = float("nan") if call == "nan" else 0.9
            core.answered(EngineFault("hiccup") if call == "fault" else answer_to(in_work, value=value), now_ns)
            in_work = None
        elif call == "tick":
            core.tick(now_ns)
        elif call == "lost":
            core.lost("gone", now_ns)
        elif call == "fail" and wait_ns % 5 == 0:
            core.fail("a sink failed", now_ns)
        core.drain()
    writer.close()
    assert replay(path).first_difference == ""
