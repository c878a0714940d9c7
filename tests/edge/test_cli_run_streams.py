"""`run` over several streams, and how it ends when the system or a person asks it to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from physedge.cli.app import main
from physedge_runtime.sinks.table import sink_text

Write = Callable[..., Path]


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


def test_several_sources_share_one_engine_and_write_apart(
    write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "out.jsonl"
    sources = ["--source", "synthetic:64x48@30", "--source", "synthetic:96x64@30"]
    options = ["--frames", "12", "--threads", "1", "--max-age-ms", "60000", "--sink", f"jsonl:{lines}", "--json"]
    assert run(["run", "--bundle", str(write_tiny()), *sources, *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [summary["pictures"] for summary in printed["streams"]] == [12, 12]
    sizes = []
    for path in (lines, tmp_path / "out-2.jsonl"):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        sizes.append({tuple(r["answer"]["frame_size_px"]) for r in records if r.get("answer")})
    assert sizes == [{(64, 48)}, {(96, 64)}]


def test_names_stand_on_every_line_and_in_the_log(
    write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    lines = tmp_path / "out.jsonl"
    sources = ["--source", "synthetic:64x48@30", "--source", "synthetic:64x48@30", "--frames", "3"]
    options = ["--threads", "1", "--max-age-ms", "60000", "--sink", f"jsonl:{lines}", "--json"]
    assert run(["run", "--bundle", str(write_tiny()), *sources, *options, "--name", "left", "--name", "right"]) == 0
    printed = capsys.readouterr()
    assert [summary["name"] for summary in json.loads(printed.out)["streams"]] == ["left", "right"]
    assert "left: started: " in printed.err
    assert "right: ended: " in printed.err
    for path, name in ((lines, "left"), (tmp_path / "out-2.jsonl", "right")):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert {record["stream"] for record in records} == {name}
    assert run(["run", "--bundle", str(write_tiny()), *sources, *options, "--append"]) == 0
    names = [summary["name"] for summary in json.loads(capsys.readouterr().out)["streams"]]
    assert len(set(names)) == 2
    assert run(["run", "--bundle", str(write_tiny()), *sources, "--name", "left"]) == 2
    assert "PE-NAME-001" in capsys.readouterr().err


def test_a_stream_that_ends_with_an_error_does_not_end_the_others(
    write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "pictures"
    damaged.mkdir()
    cv2.imwrite(str(damaged / "1.png"), np.full((48, 64, 3), 90, np.uint8))
    (damaged / "2.png").write_bytes(b"no picture")
    sources = ["--source", str(damaged), "--source", "synthetic:64x48@30"]
    assert run(["run", "--bundle", str(write_tiny()), *sources, "--frames", "8", "--threads", "1"]) == 5
    printed = capsys.readouterr()
    assert "has ended: " in printed.err
    assert "8 pictures" in printed.out


def test_sinks_of_further_streams_have_names_of_their_own() -> None:
    assert sink_text("video:a/b.mp4", 3) == "video:a/b-3.mp4"
    assert sink_text("serve:0.0.0.0:8080", 2) == "serve:0.0.0.0:8081"
    assert sink_text("serve:0", 2) == "serve:0"
    assert sink_text("mqtts://h/t", 2) == "mqtts://h/t/2"
    assert sink_text("jsonl:x", 1) == "jsonl:x"
    assert sink_text("telegraph:x", 2) == "telegraph:x"  # refused where it is opened


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_a_run_in_order_with_its_film_whole(
    sent: signal.Signals, status: int, write_tiny: Write, tmp_path: Path
) -> None:
    film = tmp_path / "out.mp4"
    command = [sys.executable, "-c", "from physedge.cli import main; main()", "run", "--bundle", str(write_tiny())]
    options = ["--source", "synthetic:96x64@30", "--threads", "1", "--record", str(film), "--sink", "serve:0"]
    with subprocess.Popen(
        [*command, *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # ignored in background jobs
    ) as process:
        assert process.stderr is not None
        told = ""
        while "went from RECOVERING to LIVE" not in told:
            line = process.stderr.readline()
            assert line, told
            told += line
        process.send_signal(sent)
        out, rest = process.communicate(timeout=60)
    assert process.returncode == status, rest
    assert "page: http://127.0.0.1:" in told
    assert "pictures in" in out
    capture = cv2.VideoCapture(str(film))
    pictures = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    capture.release()
    assert pictures >= 3  # as many good ones come before LIVE is said
    assert "Traceback" not in rest
