"""An output never destroys an input, a bundle or an older result, whoever holds it and under whatever name."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stream_fakes import FakeNet, picture

from physedge_runtime.errors import UsageError
from physedge_runtime.file_guard import HeldInputs, files_named_in, refuse_same_outputs
from physedge_runtime.output_file import Existing, OutputFile
from physedge_runtime.sinks.jsonl import JsonLinesSink
from physedge_runtime.sinks.table import open_sink
from physedge_runtime.sinks.video import VideoSink
from physedge_runtime.stream import StreamInfo
from physedge_runtime.stream.loop import stream

PICTURES = [picture(number) for number in range(6)]


def run_into(sink: Any, *, inputs: list[Path] | None = None, record: Path | None = None) -> Any:
    with stream(FakeNet(), PICTURES, sinks=[sink], inputs=inputs or [], record=record) as running:
        running.wait()
    return running


def in_another_process(code: str, *arguments: Path) -> subprocess.Popen[str]:
    """A process that holds something until its stdin is closed; it has said 'ready' when this returns."""
    code = f"import sys; from pathlib import Path; paths = [Path(a) for a in sys.argv[1:]]\n{code}\n"
    code += "print('ready', flush=True); sys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


# The same file as an input.


@pytest.mark.parametrize("existing", list(Existing))
@pytest.mark.parametrize("way", ["itself", "hard link", "symbolic link"])
def test_an_output_that_is_an_input_is_refused(tmp_path: Path, way: str, existing: Existing) -> None:
    source, target = tmp_path / "clip.mp4", tmp_path / "other.mp4"
    source.write_bytes(b"precious")
    if way == "itself":
        target = source
    elif way == "hard link":
        target.hardlink_to(source)
    else:
        target.symlink_to(source)
    for kind in ("video", "jsonl"):
        sink = open_sink(f"{kind}:{target}", existing=existing)
        with pytest.raises(UsageError, match="PE-OUT-001"):
            stream(FakeNet(), PICTURES, sinks=[sink], inputs=[source])
    with pytest.raises(UsageError, match="PE-OUT-001"):
        stream(FakeNet(), PICTURES, record=OutputFile(target, existing=existing), inputs=[source])
    assert source.read_bytes() == b"precious"
    assert sorted(tmp_path.iterdir()) == sorted({source, target})


def test_the_bundle_that_runs_is_an_input(tmp_path: Path) -> None:
    bundle = tmp_path / "network.physedge"
    bundle.write_bytes(b"precious")
    net = FakeNet()
    net.bundle_path = bundle  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="PE-OUT-001"):
        stream(net, PICTURES, sinks=[open_sink(f"jsonl:{bundle}", existing=Existing.APPEND)])
    assert bundle.read_bytes() == b"precious"


@pytest.mark.parametrize("existing", [Existing.OVERWRITE, Existing.APPEND])
def test_a_file_of_a_folder_that_is_read_is_not_changed(tmp_path: Path, existing: Existing) -> None:
    inside = tmp_path / "pictures/deeper/1.png"
    inside.parent.mkdir(parents=True)
    inside.write_bytes(b"precious")
    (tmp_path / "link.jsonl").hardlink_to(inside)
    for target in (inside, tmp_path / "link.jsonl"):
        with pytest.raises(UsageError, match="PE-OUT-001"):
            OutputFile(target, existing=existing, is_log=True).open([tmp_path / "pictures"])
    assert inside.read_bytes() == b"precious"


_WRITTEN = ("{}", "dicom:{}", "voltages:{}", "voltages:x.npy?reference={}", "{}?reference=x", "a=b&c={}")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        *((text, name) for text in _WRITTEN for name in ("clip.mp4", "10:30:00.mp4")),
        *((text, "50% [v2] a=b?.mp4") for text in _WRITTEN[:3]),
    ],
)
def test_the_files_of_a_source_are_found_whatever_its_scheme(tmp_path: Path, text: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"")
    assert path in files_named_in(text.format(path))


def test_a_source_without_a_file_names_none() -> None:
    for text in ("synthetic:640x480@30", "rtsp://host/cam", "x" * 5000, "a\0b", ""):
        assert files_named_in(text) == ()


# Other processes.


@pytest.mark.parametrize("existing", [Existing.OVERWRITE, Existing.APPEND])
@pytest.mark.parametrize("held", ["file", "folder"])
def test_what_another_process_reads_is_not_changed(tmp_path: Path, existing: Existing, held: str) -> None:
    target = tmp_path / "a" / "log.jsonl"
    target.parent.mkdir()
    target.write_text("{}\n")
    code = "from physedge_runtime.file_guard import HeldInputs; held = HeldInputs(paths)"
    with in_another_process(code, target if held == "file" else tmp_path) as process:
        with pytest.raises(UsageError, match="PE-OUT-002"):
            open_sink(f"jsonl:{target}", existing=existing).open(_info())
        process.communicate()
    assert target.read_text() == "{}\n"
    sink = open_sink(f"jsonl:{target}", existing=existing)  # given back with the process
    sink.open(_info())
    sink.close()


def test_a_stream_holds_its_inputs(tmp_path: Path) -> None:
    source = tmp_path / "log.jsonl"
    source.write_text("{}\n")
    with stream(FakeNet(), PICTURES, inputs=[source]), pytest.raises(UsageError, match="PE-OUT-002"):
        OutputFile(source, existing=Existing.OVERWRITE).open()
    free = OutputFile(source, existing=Existing.OVERWRITE)
    free.open()
    free.discard()


_WRITES = """
from physedge_runtime.output_file import Existing, OutputFile
output = OutputFile(paths[0], is_log=True, existing=Existing(sys.argv[2]))
output.open().write(b'{"run":1}\\n')
output.publish()
"""


@pytest.mark.parametrize("existing", list(Existing))
def test_two_processes_never_write_one_file(tmp_path: Path, existing: Existing) -> None:
    target = tmp_path / "out.jsonl"
    with in_another_process(_WRITES, target, Path(existing)) as process:
        second = OutputFile(target, is_log=True, existing=existing)
        if existing is Existing.NUMBER:
            second.open().write(b"second")
            assert second.publish() == tmp_path / "out-2.jsonl"
            assert "out-2.jsonl is written" in second.said
            second.close()
        else:
            with pytest.raises(UsageError, match="PE-OUT-002"):
                second.open()
        process.communicate()
    assert target.read_text() == '{"run":1}\n'


def test_a_part_that_is_being_written_is_not_taken_over(tmp_path: Path) -> None:
    first = OutputFile(tmp_path / "clip.mp4", existing=Existing.OVERWRITE)
    first.open().write(b"first")
    with pytest.raises(UsageError, match="PE-OUT-002"):
        OutputFile(tmp_path / "clip.mp4", existing=Existing.OVERWRITE).open()
    second = OutputFile(tmp_path / "clip.mp4")
    second.open().write(b"second")
    assert (first.publish().name, second.publish().name) == ("clip.mp4", "clip-2.mp4")
    first.close()
    second.close()
    assert (tmp_path / "clip.mp4").read_bytes() == b"first"


# Older results.


@pytest.mark.parametrize("kind", ["jsonl", "video"])
def test_an_older_result_stays_and_the_next_number_is_told(tmp_path: Path, kind: str) -> None:
    suffix = ".jsonl" if kind == "jsonl" else ".avi"
    older = tmp_path / f"out{suffix}"
    older.write_bytes(b"older")
    events: list[str] = []
    with stream(
        FakeNet(), PICTURES, sinks=[open_sink(f"{kind}:{older}")], on_event=lambda event: events.append(event.text)
    ) as running:
        running.wait()
    assert older.read_bytes() == b"older"
    assert running.written == (tmp_path / f"out-2{suffix}",)
    assert f"{older} is there already, so {tmp_path / f'out-2{suffix}'} is written" in events
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([f"out{suffix}", f"out-2{suffix}"])


def test_rotated_files_of_an_older_run_are_older_results(tmp_path: Path) -> None:
    (tmp_path / "out.jsonl.2").write_text("older")
    assert run_into(JsonLinesSink(tmp_path / "out.jsonl")).written == (tmp_path / "out-2.jsonl",)
    assert (tmp_path / "out.jsonl.2").read_text() == "older"


def test_overwriting_waits_until_the_new_one_is_whole(tmp_path: Path) -> None:
    older = tmp_path / "out.avi"
    older.write_bytes(b"older")
    sink = open_sink(f"video:{older}", existing=Existing.OVERWRITE)
    sink.open(_info())
    assert older.read_bytes() == b"older"
    sink.close()  # no picture came
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"older"]
    run_into(open_sink(f"video:{older}", existing=Existing.OVERWRITE))
    assert older.read_bytes()[:4] == b"RIFF"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_log_is_replaced_with_its_first_entry(tmp_path: Path) -> None:
    older = tmp_path / "out.jsonl"
    older.write_text("older")
    sink = open_sink(f"jsonl:{older}", existing=Existing.OVERWRITE)
    sink.open(_info())
    sink.close()
    assert older.read_text() == "older"
    run_into(open_sink(f"jsonl:{older}", existing=Existing.OVERWRITE))
    assert [line["kind"] for line in _lines(older)] == ["stream", *["frame"] * len(PICTURES)]


def test_a_name_that_somebody_takes_meanwhile_is_passed_over(tmp_path: Path) -> None:
    output = OutputFile(tmp_path / "out.dcm")
    output.open().write(b"ours")
    (tmp_path / "out.dcm").write_bytes(b"theirs")
    assert output.publish().name == "out-2.dcm"
    output.close()
    assert (tmp_path / "out.dcm").read_bytes() == b"theirs"
    assert (tmp_path / "out-2.dcm").read_bytes() == b"ours"


def test_a_file_system_without_links_still_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    output = OutputFile(tmp_path / "out.dcm")
    output.open().write(b"ours")
    (tmp_path / "out.dcm").write_bytes(b"theirs")
    assert output.publish().name == "out-2.dcm"
    output.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out-2.dcm", "out.dcm"]


# Logs go on.


def test_appending_goes_on_behind_the_crash_it_restarts_from(tmp_path: Path) -> None:
    log = tmp_path / "results.jsonl"
    run_into(open_sink(f"jsonl:{log}", existing=Existing.APPEND))
    with log.open("ab") as file:
        file.write(b'{"kind":"frame","frame_id":99,"bro')  # the power went
    first = log.read_bytes()
    run_into(open_sink(f"jsonl:{log}", existing=Existing.APPEND))
    whole = log.read_bytes()
    assert whole.startswith(first + b"\n")
    assert [json.loads(line)["kind"] for line in whole[len(first) + 1 :].splitlines()] == ["stream", *["frame"] * 6]
    assert [file.name for file in tmp_path.iterdir()] == ["results.jsonl"]


def test_an_appended_log_rotates_by_its_whole_size(tmp_path: Path) -> None:
    log = tmp_path / "out.jsonl"
    for _ in range(5):
        sink = JsonLinesSink(log, largest_bytes=4000, kept=3)
        sink.output.existing = Existing.APPEND
        run_into(sink)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.jsonl", "out.jsonl.1", "out.jsonl.2"]
    assert all(file.stat().st_size <= 4000 for file in tmp_path.iterdir())


def test_what_is_no_log_gets_a_number_where_appending_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "out.avi").write_bytes(b"older")
    running = run_into(open_sink(f"video:{tmp_path / 'out.avi'}", existing=Existing.APPEND))
    assert running.written == (tmp_path / "out-2.avi",)


def test_the_example_for_systemd_appends() -> None:
    unit = (Path(__file__).parents[2] / "examples/systemd/physedge.service").read_text()
    command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    assert "jsonl:" in command
    assert "--append" in command.split()


# What a crash leaves.

_CRASHES = """
import os, signal
sys.path[:0] = sys.argv[5:]
from stream_fakes import FakeNet, picture
from physedge_runtime.sinks.table import open_sink
from physedge_runtime.stream.loop import stream
def frames():
    for number in range(40):
        yield picture(number)
    print('ready', flush=True)
    sys.stdin.read()
sinks = [open_sink(f'jsonl:{paths[0]}'), open_sink(f'video:{paths[1]}')]
with stream(FakeNet(), frames(), sinks=sinks, record=paths[2]) as running:
    running.wait()
"""


def test_after_kill_what_was_written_is_there_and_the_film_says_that_it_is_a_part(tmp_path: Path) -> None:
    pytest.importorskip("cv2", reason="the extra camera is not installed")
    from physedge_runtime.stream.recording import read_records

    log, film, raw = tmp_path / "out.jsonl", tmp_path / "out.avi", tmp_path / "out.raw"
    support = Path(__file__).parents[1] / "support"
    with in_another_process(_CRASHES, log, film, raw, tmp_path, support) as process:
        process.send_signal(signal.SIGKILL)
    assert len(_lines(log)) >= 20
    assert sum(record["call"] == "frame" for record, _ in read_records(raw)) >= 20
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.jsonl", "out.partial.avi", "out.raw"]
    run_into(VideoSink(film))  # the part is an older result
    assert (tmp_path / "out.partial.avi").exists()
    assert (tmp_path / "out-2.avi").exists()


# Two outputs of one run, and what was written.


def test_two_outputs_onto_one_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="PE-OUT-003"):
        refuse_same_outputs([tmp_path / "a.mp4", tmp_path / "b.mp4", tmp_path / "link/a.mp4"])
    sinks = [open_sink(f"jsonl:{tmp_path / 'a'}"), open_sink(f"jsonl:{tmp_path / 'link/a'}")]
    with pytest.raises(UsageError, match="PE-OUT-003"):
        stream(FakeNet(), PICTURES, sinks=sinks)
    with pytest.raises(UsageError, match="PE-OUT-003"):
        stream(FakeNet(), PICTURES, sinks=sinks[:1], record=tmp_path / "a")
    assert [file.name for file in tmp_path.iterdir()] == ["link"]


def test_a_stream_that_cannot_start_leaves_nothing(tmp_path: Path) -> None:
    sinks = [open_sink(f"jsonl:{tmp_path / 'a.jsonl'}"), open_sink(f"jsonl:{tmp_path / 'missing/b.jsonl'}")]
    with pytest.raises(UsageError, match="PE-SINK-001"):
        stream(FakeNet(), PICTURES, sinks=sinks, record=tmp_path / "c.raw")
    assert list(tmp_path.iterdir()) == []


def test_a_recording_is_written_and_told(tmp_path: Path) -> None:
    running = run_into(JsonLinesSink(tmp_path / "a.jsonl"), record=tmp_path / "a.raw")
    assert set(running.written) == {tmp_path / "a.jsonl", tmp_path / "a.raw"}
    again = run_into(JsonLinesSink(tmp_path / "b.jsonl"), record=tmp_path / "a.raw")
    assert set(again.written) == {tmp_path / "b.jsonl", tmp_path / "a-2.raw"}


def test_a_pipe_and_a_folder_under_the_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"PE-SINK-001: .*[Ii]s a directory"):
        open_sink(f"jsonl:{tmp_path}").open(_info())
    assert run_into(open_sink("jsonl:/dev/null")).written == (Path("/dev/null"),)


def test_held_inputs_pass_over_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    held = HeldInputs([tmp_path / "pipe", tmp_path / "missing", Path("/dev/null"), tmp_path])
    held.close()
    held.close()


def _info() -> StreamInfo:
    return StreamInfo(source="x", live=False, period_ns=None, engine="e", classes=("background", "lesion"))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
