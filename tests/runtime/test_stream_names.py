"""Two streams of one host cannot be mixed up: their names are distinct, and stand on everything that leaves them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from stream_fakes import FakeNet, answer_to, picture

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.results import Signal
from physedge_runtime.sinks.jsonl import JsonLinesSink
from physedge_runtime.sinks.record import describe, describe_end, describe_stream
from physedge_runtime.sinks.table import sink_text
from physedge_runtime.stream import StreamedFrame, StreamInfo
from physedge_runtime.stream.loop import stream
from physedge_runtime.stream.names import StreamNames

INFO = StreamInfo(source="camera 0", live=True, period_ns=None, engine="e", classes=("a", "b"), name="Theatre 3")


@pytest.fixture(autouse=True)
def _own_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def item(**changes: Any) -> StreamedFrame:
    frame = Frame(pixels=picture(0), **changes)
    result = answer_to(frame)
    return StreamedFrame(frame=frame, result=result, signal=Signal.LIVE, captured_ns=0, at_ns=1, age_ms=1.0)


def test_given_names_stay_as_they_are() -> None:
    with StreamNames(["links", "Saal 3 (rechts)"], ["camera 0", "camera 1"]) as names:
        assert names.names == ("links", "Saal 3 (rechts)")


def test_default_names_are_the_sources_and_distinct() -> None:
    with StreamNames([], ["camera 0", "camera 1", "camera 0", "a\nb"]) as names:
        assert names.names == ("camera 0", "camera 1", "camera 0 (2)", "a\\nb")


@pytest.mark.parametrize(
    ("given", "identifier"),
    [
        (["one"], "PE-NAME-001"),
        (["one", "two", "three"], "PE-NAME-001"),
        (["one", "One"], "PE-NAME-003"),
        (["one", ""], "PE-NAME-002"),
        (["one", "a/b"], "PE-NAME-002"),
        (["one", "+"], "PE-NAME-002"),
        (["one", "two\n"], "PE-NAME-002"),
        (["one", "x" * 65], "PE-NAME-002"),
    ],
)
def test_names_that_do_not_tell_streams_apart_are_refused(given: list[str], identifier: str) -> None:
    with pytest.raises(UsageError, match=identifier):
        StreamNames(given, ["camera 0", "camera 1"])
    with StreamNames(["one"], ["camera 0"]) as names:  # nothing is held by one that was refused
        assert names.names == ("one",)


def test_names_of_other_processes_are_taken_and_given_back() -> None:
    code = (
        "import sys; from physedge_runtime.stream.names import StreamNames\n"
        "names = StreamNames([], ['camera 0']); print(names.names[0], flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "camera 0\n"
        with StreamNames([], ["camera 0"]) as names:
            assert names.names == ("camera 0 (2)",)
        with pytest.raises(UsageError, match="PE-NAME-003"):
            StreamNames(["Camera 0"], ["camera 0"])
        one.kill()
    with StreamNames(["Camera 0"], ["camera 0"]) as names:
        assert names.names == ("Camera 0",)


def test_a_host_without_a_place_for_locks_still_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/proc/no/such/place")
    with StreamNames([], ["camera 0", "camera 0"]) as names:
        assert names.names == ("camera 0", "camera 0 (2)")


def test_every_line_has_the_name() -> None:
    told = [describe_stream(INFO, ""), describe(item(), INFO, ""), describe_end(INFO, "over")]
    assert [line["stream"] for line in told] == ["Theatre 3"] * 3
    assert told[0]["source"] == "camera 0"


def test_the_name_is_the_last_level_of_the_topic() -> None:
    assert sink_text("mqtt://h/or", 1, stream_name="left") == "mqtt://h/or/left"
    assert sink_text("mqtts://h/or", 2, stream_name="right") == "mqtts://h/or/right"
    assert sink_text("jsonl:a.jsonl", 2, stream_name="right") == "jsonl:a-2.jsonl"
    assert sink_text("mqtt://h/or", 1, stream_name="") == "mqtt://h/or"


def test_prometheus_has_the_name_as_a_label() -> None:
    client = pytest.importorskip("prometheus_client", reason="the extra metrics is not installed")
    from physedge_runtime.sinks.metrics import _Metrics

    registry = client.CollectorRegistry()
    _Metrics(registry, INFO).count(item())
    assert registry.get_sample_value("physedge_pictures_total", {"stream": "Theatre 3"}) == 1.0
    samples = [sample for metric in registry.collect() for sample in metric.samples]
    assert {sample.labels.get("stream") for sample in samples} == {"Theatre 3"}


# Names out of a folder.


@pytest.mark.parametrize("name", ["caf\udce9.png", "a\nb\u2028c\x85d.png", "x\x1b[2J.png", "\ud800.png"])
def test_a_file_name_that_is_no_text_does_not_end_the_log(tmp_path: Path, name: str) -> None:
    path = tmp_path / "out.jsonl"
    frames = [Frame(pixels=picture(number), frame_id=number, name=name) for number in range(3)]
    with stream(FakeNet(), frames, sinks=[JsonLinesSink(path)]) as running:
        assert running.wait().safe_state == ""
    lines = path.read_text(encoding="utf-8").splitlines()  # at every character that ends a line
    told = [json.loads(line)["name"] for line in lines[1:]]
    assert len(told) == 3
    assert told[0].isprintable()
    assert told[0].endswith(".png")
