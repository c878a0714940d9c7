"""`run` on video files that are damaged or interlaced, as people type it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clips import HEIGHT, WIDTH, X264, encode, overwritten, picture, woven

from physedge.cli.app import main

Write = Callable[..., Path]


def run(bundle: Path, source: Path, *options: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["run", "--bundle", str(bundle), "--source", str(source), "--threads", "1", *options])
    return int(ended.value.code or 0)


def test_a_damaged_video_is_answered_and_ends_with_status_5(
    write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(-8, 9, (HEIGHT, WIDTH, 1))
    pictures = [np.clip(picture(n) + np.roll(noise, n), 0, 255).astype(np.uint8) for n in range(40)]
    whole = encode(tmp_path / "whole.mp4", pictures, *X264, "-g", "10")
    source, lines = overwritten(whole, 0.55, 3000, tmp_path / "damaged.mp4"), tmp_path / "out.jsonl"
    assert run(write_tiny(), source, "--sink", f"jsonl:{lines}") == 5
    told = capsys.readouterr()
    assert "damaged " in told.out
    assert "PE-SRC-040: " in told.err
    assert "Traceback" not in told.err
    frames = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()[1:]]
    assert sum(frame["answer"] is not None for frame in frames) >= 36
    assert {frame["trust"]["state"] for frame in frames if frame["trust"]} >= {"doubtful"}


def test_an_interlaced_video_is_deinterlaced_unless_asked_not_to(
    write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = encode(tmp_path / "i.mp4", woven(8), *X264, "-flags", "+ildct+ilme", "-x264opts", "tff=1")
    bundle = write_tiny()
    assert run(bundle, source) == 0
    assert "interlaced video, deinterlaced (bwdif)" in capsys.readouterr().err
    assert run(bundle, source, "--deinterlace", "off") == 0
    assert "interlaced video, left as it is" in capsys.readouterr().err
    assert run(bundle, source, "--deinterlace", "weave") == 2
    assert "PE-STREAM-007" in capsys.readouterr().err


def test_camera_settings_need_a_camera(write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = encode(tmp_path / "a.mp4", woven(2))
    assert run(write_tiny(), source, "--size", "1920x1080") == 2
    assert "PE-RUN-006" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(
            ["run", "--camera", "99", "--size", "1920x1080", "--rate", "60", "--format", "MJPG", "--control", "gain=3"]
        )
    assert ended.value.code == 5
    assert "PE-SRC-001: camera 99 is not there" in capsys.readouterr().err


def test_doctor_lists_cameras_with_their_formats(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from physedge_runtime.sources import v4l2

    modes = (v4l2.CameraMode(format="MJPG", width=1920, height=1080, rates_hz=(60.0, 30.0)),)
    monkeypatch.setattr(v4l2, "list_cameras", lambda: [(2, "HD Endoscope", modes)])
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--json"])
    assert ended.value.code == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["cameras"] == [
        {
            "number": 2,
            "name": "HD Endoscope",
            "modes": [{"format": "MJPG", "width": 1920, "height": 1080, "rates_hz": [60.0, 30.0]}],
        }
    ]
    assert "camera 2: HD Endoscope" in told.err
    assert "MJPG 1920x1080 at 60, 30" in told.err
