"""Video files through a stream: what is damaged, interlaced or late reaches answers, lines, summary and status."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from clips import HEIGHT, WIDTH, X264, counted, encode, number_in, overwritten, picture, woven
from stream_fakes import FakeNet, answer_to, stream_threads

from physedge_runtime.errors import SourceError, UsageError
from physedge_runtime.frame import Damage, Frame
from physedge_runtime.results import Result, Signal, TrustState
from physedge_runtime.sinks.base import CollectingSink
from physedge_runtime.sinks.jsonl import JsonLinesSink
from physedge_runtime.sinks.metrics import MetricsSink
from physedge_runtime.sources.file import VideoFileSource
from physedge_runtime.sources.paced import PacedSource
from physedge_runtime.sources.spaced import SpacedSource
from physedge_runtime.stream import EventKind, StreamEvent
from physedge_runtime.stream.loop import stream
from physedge_runtime.stream.record import replay
from physedge_runtime.stream.streamed import StreamedFrame, StreamInfo, Withdrawal

pytest.importorskip("av", reason="the extra camera is not installed")

MS = 1_000_000


def noisy(count: int) -> list[np.ndarray]:
    noise = np.random.default_rng(0).integers(-8, 9, (HEIGHT, WIDTH, 1))
    return [np.clip(picture(n) + np.roll(noise, n), 0, 255).astype(np.uint8) for n in range(count)]


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    whole = encode(tmp_path / "whole.mp4", noisy(40), *X264, "-g", "10")
    return overwritten(whole, 0.55, 3000, tmp_path / "damaged.mp4")


def test_a_damaged_file_goes_on_counts_and_ends_with_an_error(damaged: Path, tmp_path: Path) -> None:
    sink, events, net = CollectingSink(), list[StreamEvent](), FakeNet()
    lines = JsonLinesSink(tmp_path / "out.jsonl")
    running = stream(net, damaged, sinks=[sink, lines], on_event=events.append)
    with running, pytest.raises(SourceError, match=r"PE-SRC-040: .*damaged\.mp4 is damaged: ") as caught:
        running.wait()
    assert caught.value.exit_status == 5
    summary = running.summary()
    shown = [item for item in sink.items if item.frame is not None]
    assert number_in(shown[-1].frame.pixels) == 39, "the picture behind the damage came, up to the last"
    assert summary.pictures == len(shown) >= 37
    assert sum(summary.damage.values()) > 0
    assert any("damaged" in line for line in summary.lines())
    for item in shown:
        assert_trusted_as_damaged(item)
    assert {item.frame.damage for item in shown} >= {Damage.NONE, Damage.BEFORE}
    assert sum(event.kind is EventKind.DAMAGE for event in events) == 1
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert written[-1]["damage"] == dict(summary.damage)
    assert written[1]["damage"] == {}
    assert stream_threads() == []


def assert_trusted_as_damaged(item: StreamedFrame) -> None:
    assert item.frame is not None
    match item.frame.damage:
        case Damage.NONE:
            assert item.result is not None
            assert item.result.trust.state is TrustState.OK
        case Damage.BEFORE:
            assert item.result is not None
            assert item.result.trust.state is TrustState.DOUBTFUL
            assert "predicted from a damaged one" in item.result.trust.reason
        case Damage.PICTURE:
            assert item.result is None
            assert item.withdrawn is Withdrawal.VOID
            assert "could not be decoded" in item.withdrawn_text


def test_metrics_count_the_damage() -> None:
    pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
    sink = MetricsSink("127.0.0.1", 0)
    sink.open(StreamInfo(source="camera", live=True, period_ns=None, engine="fake"))
    try:
        sink.write(
            StreamedFrame(
                frame=None, signal=Signal.LIVE, captured_ns=0, at_ns=0, age_ms=0.0, damage={"packets": 3, "doubtful": 7}
            )
        )
        with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
    finally:
        sink.close()
    found = [re.match(r'physedge_damage\{kind="(\w+)".*\} ([0-9.]+)', line) for line in lines]
    told = {match[1]: float(match[2]) for match in found if match}
    assert told == {"packets": 3, "pictures": 0, "doubtful": 7}


def test_a_recording_of_a_damaged_file_replays_the_same(damaged: Path, tmp_path: Path) -> None:
    with stream(FakeNet(), damaged, record=tmp_path / "raw") as running, pytest.raises(SourceError, match="PE-SRC-040"):
        running.wait()
    assert replay(tmp_path / "raw", FakeNet()).first_difference == ""
    assert replay(tmp_path / "raw").first_difference == ""


def test_a_file_that_was_cut_off_ends_with_an_error(tmp_path: Path) -> None:
    whole = encode(tmp_path / "whole.mkv", noisy(40), "-c:v", "ffv1", "-g", "1")
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with stream(FakeNet(), tmp_path / "cut.mkv") as running, pytest.raises(SourceError, match="PE-SRC-040") as caught:
        running.wait()
    assert "it ends after" in caught.value.found
    assert 15 < running.summary().answers < 25
    with stream(FakeNet(), tmp_path / "cut.mkv", frames=5) as running:
        assert running.wait().pictures == 5, "whoever asks for less does not meet the end"


def test_interlaced_video_is_answered_picture_by_picture_and_that_is_said(tmp_path: Path) -> None:
    path = encode(tmp_path / "i.mp4", woven(12), *X264, "-flags", "+ildct+ilme", "-x264opts", "tff=1")
    for how, said in (("auto", "deinterlaced (bwdif)"), ("off", "left as it is")):
        sink, events = CollectingSink(), list[StreamEvent]()
        with stream(FakeNet(), path, sinks=[sink], on_event=events.append, deinterlace=how) as running:
            running.wait()
        assert [number_in(item.frame.pixels) for item in sink.items if item.frame is not None] == list(range(12))
        texts = [event.text for event in events if event.kind is EventKind.FORMAT]
        assert texts == [f"interlaced video, {said}"]
    with pytest.raises(UsageError, match="PE-STREAM-007"):
        stream(FakeNet(), path, deinterlace="weave")


def test_deinterlacing_reaches_a_source_of_known_spacing(tmp_path: Path) -> None:
    path = encode(tmp_path / "i.mp4", woven(3), *X264, "-flags", "+ildct+ilme", "-x264opts", "tff=1")
    source = SpacedSource(VideoFileSource(path), 0.5)
    with stream(FakeNet(), source, deinterlace="off") as running:
        running.wait()
    assert source.info.notes == ("interlaced video, left as it is",)


def variable(tmp_path: Path) -> Path:
    times = r"settb=1/1000,setpts=if(lt(N\,5)\,40*N\,200+120*(N-5))"
    return encode(tmp_path / "vfr.mkv", counted(10), "-vf", times, "-fps_mode", "vfr", *X264)


EXPECTED_MS = [40 * n if n < 5 else 200 + 120 * (n - 5) for n in range(10)]


def test_every_result_and_line_has_the_sources_stamp_and_the_position(tmp_path: Path) -> None:
    results: list[Result] = []
    with stream(FakeNet(), variable(tmp_path), sinks=[JsonLinesSink(tmp_path / "out.jsonl")]) as running:
        results.extend(running)
    assert [result.position_ns for result in results] == [ms * MS for ms in EXPECTED_MS]
    assert [result.source_stamp_ns for result in results] == [ms * MS for ms in EXPECTED_MS]
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()[1:]]
    assert [line["position_us"] for line in lines] == [1000 * ms for ms in EXPECTED_MS]
    assert [line["source_us"] for line in lines] == [1000 * ms for ms in EXPECTED_MS]
    later = encode(tmp_path / "a.ts", counted(3))
    with stream(FakeNet(), later) as running:
        first = next(running)
    assert first.position_ns == 0
    assert first.source_stamp_ns is not None
    assert first.source_stamp_ns > 1000 * MS


def test_a_file_at_its_own_speed_keeps_its_times(tmp_path: Path) -> None:
    now_ns = 0

    def sleep(seconds: float) -> None:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)

    source = PacedSource(VideoFileSource(variable(tmp_path)), clock=lambda: now_ns, sleep=sleep)
    source.open()
    stamps = []
    while len(stamps) < 10:
        if (frame := source.read()) is not None:
            stamps.append(frame.captured_ns)
    source.close()
    assert stamps == [ms * MS for ms in EXPECTED_MS]


def test_a_pause_in_a_clip_is_no_jump_of_a_clock(tmp_path: Path) -> None:
    times = r"settb=1/1000,setpts=40*N+if(gte(N\,5)\,60000)"
    clip = encode(tmp_path / "paused.mkv", counted(10), "-vf", times, "-fps_mode", "vfr", *X264)
    events: list[StreamEvent] = []
    with stream(FakeNet(), clip, on_event=events.append) as running:
        positions = [result.position_ns for result in running]
        summary = running.summary()
    assert positions[5] == 60_200 * MS
    assert [event for event in events if event.kind is EventKind.CLOCK] == []
    assert summary.source_lag_ms == 0


def test_a_clip_whose_clock_is_set_anew_goes_on_at_its_period() -> None:
    class Jumping:
        info = VideoFileSource(Path("none")).info

        def __init__(self) -> None:
            self.positions = iter([0, 40 * MS, 3_600_000 * MS, 10 * MS, 50 * MS])

        def open(self) -> None: ...

        def close(self) -> None: ...

        def read(self) -> Frame:
            return Frame(pixels=picture(0), position_ns=next(self.positions))

    now_ns = 0

    def sleep(seconds: float) -> None:
        nonlocal now_ns
        now_ns += round(seconds * 1e9)

    source = PacedSource(Jumping(), clock=lambda: now_ns, sleep=sleep)
    source.open()
    frames = [source.read() for _ in range(5)]
    steps = np.diff([frame.captured_ns for frame in frames if frame is not None]) // MS
    assert steps.tolist() == [40, 33, 33, 40]


def test_a_void_answer_stays_void_on_a_doubtful_picture() -> None:
    from dataclasses import replace

    from physedge_runtime.stream.intact import judge_damage

    frame = Frame(pixels=picture(0), damage=Damage.BEFORE)
    answer = answer_to(frame)
    void = replace(answer, trust=replace(answer.trust, state=TrustState.VOID, reason="mass"))
    judged = judge_damage(void, frame).trust
    assert judged.state is TrustState.VOID
    assert judged.reason.startswith("mass; ")
    assert judged.signals["damage"] == 0.5
    assert judge_damage(answer, Frame(pixels=picture(0))) is answer
