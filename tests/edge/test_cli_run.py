"""`run`, `verify` and `inspect` as people type them, on the tiny bundle and real files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import exhibits
import numpy as np
import pytest

from physedge.cli.app import main
from physedge_runtime.verdict import Verdict

Write = Callable[..., Path]


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 20.0, (96, 64))
    for index in range(12):
        picture = np.zeros((64, 96, 3), np.uint8)
        cv2.circle(picture, (20 + 4 * index, 32), 14, (0, 0, 255), -1)
        writer.write(picture)
    writer.release()
    return path


def test_a_film_becomes_results_an_overlay_and_a_summary(
    write_tiny: Write, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, overlay, lines = write_tiny(), tmp_path / "out.mp4", tmp_path / "out.jsonl"
    arguments = ["run", "--bundle", str(bundle), "--source", str(film), "--threads", "1", "--json"]
    assert run([*arguments, "--record", str(overlay), "--sink", f"jsonl:{lines}"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["pictures"] == summary["answers"] == 12
    assert summary["drops"] in ({}, {"superseded": 0}) or not any(summary["drops"].values())
    records = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    frames = [record for record in records if record["kind"] == "frame"]
    assert [frame["frame_id"] for frame in frames] == list(range(12))
    first, last = (frame["answer"]["regions"]["lesion"]["centroid_px"][0] for frame in (frames[0], frames[-1]))
    assert last - first == pytest.approx(44, abs=6)
    capture = cv2.VideoCapture(str(overlay))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 12
    capture.release()


def test_a_folder_and_a_bound_on_frames(write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "pictures/deeper"
    folder.mkdir(parents=True)
    for index in range(5):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((40, 50, 3), 40 * index, np.uint8))
    arguments = ["run", "--bundle", str(write_tiny()), "--source", str(tmp_path / "pictures"), "--json"]
    assert run([*arguments, "--frames", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 3


@pytest.mark.parametrize(
    ("arguments", "status", "identifier"),
    [
        (["--camera", "97"], 5, "PE-SRC-001"),
        ([], 2, "PE-RUN-002"),
        (["--camera", "0", "--source", "x"], 2, "PE-RUN-002"),
        (["--source", "synthetic:", "--engine", "abacus"], 2, "PE-ENGINE-001"),
        (["--source", "synthetic:", "--precision", "int8"], 2, "PE-ENGINE-003"),
        (["--source", "synthetic:", "--sink", "telegraph:x"], 2, "PE-SINK-002"),
        (["--source", "synthetic:", "--frames", "0"], 2, "PE-STREAM-003"),
        (["--source", "synthetic:", "--drop", "some"], 2, "PE-STREAM-002"),
    ],
)
def test_what_cannot_be_run_is_one_sentence_and_a_status(
    write_tiny: Write, arguments: list[str], status: int, identifier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", "--bundle", str(write_tiny()), *arguments]) == status
    printed = capsys.readouterr().err
    assert identifier in printed
    assert "Traceback" not in printed


def test_a_camera_is_meant_even_where_a_folder_is_called_like_its_number(
    write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "97").mkdir()
    cv2.imwrite(str(tmp_path / "97/a.png"), np.full((40, 50, 3), 40, np.uint8))
    bundle = str(write_tiny())
    monkeypatch.chdir(tmp_path)
    assert run(["run", "--bundle", bundle, "--camera", "97"]) == 5
    assert "PE-SRC-001" in capsys.readouterr().err
    assert run(["run", "--bundle", bundle, "--source", "97"]) == 0


def test_a_video_without_frames_is_a_source_error(
    write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty.mp4"
    empty.write_bytes(b"")
    assert run(["run", "--bundle", str(write_tiny()), "--source", str(empty)]) == 5
    assert "PE-SRC" in capsys.readouterr().err


def test_a_broken_bundle_is_4_and_a_rejected_one_1(write_tiny: Write, capsys: pytest.CaptureFixture[str]) -> None:
    rejected = write_tiny("bad", verdict=Verdict.REJECT)
    assert run(["run", "--bundle", str(rejected), "--source", "synthetic:"]) == 1
    assert "PE-BUNDLE-012" in capsys.readouterr().err
    assert run(["run", "--bundle", str(rejected), "--source", "synthetic:", "--frames", "2", "--allow-rejected"]) == 0
    assert "REJECT" in capsys.readouterr().err
    broken = write_tiny("broken")
    broken.write_bytes(broken.read_bytes()[:-40])
    assert run(["verify", str(broken)]) == 4
    assert run(["run", "--bundle", str(broken), "--source", "synthetic:"]) == 4


def test_a_graph_that_computes_otherwise_than_at_export_is_told_and_refused_where_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = exhibits.reduced(tmp_path / "x.physedge", bias=0.02, engine="onnxruntime")
    common = ["run", "--bundle", str(bundle), "--engine", "onnxruntime", "--source", "synthetic:", "--frames", "2"]
    assert run(common) == 0
    assert "otherwise than at export" in capsys.readouterr().err
    assert run([*common, "--only-as-exported"]) == 4
    assert "PE-BUNDLE-020" in capsys.readouterr().err


def test_without_a_bundle_the_project_must_have_been_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("physedge.toml").write_text('model = "pmrnet_e"\n', encoding="utf-8")
    assert run(["run", "--source", "synthetic:"]) == 2
    assert "PE-RUN-001" in capsys.readouterr().err


def test_verify_replays_the_golden_frames(write_tiny: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["verify", str(write_tiny()), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["golden"][0]["max_error"] < 1e-3
    assert printed["verdict"] is None


def test_inspect_shows_a_bundle_and_a_network(write_tiny: Write, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(write_tiny()), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["manifest"]["spec"]["name"] == "tiny"
    assert run(["inspect", "pmrnet_e", "--json"]) == 0
    cost = json.loads(capsys.readouterr().out)
    assert (cost["parameters"], cost["height"], cost["width"]) == (862_387, 256, 256)
    assert cost["flops"] == 2 * cost["macs"]
    assert run(["inspect"]) == 0
    assert "pmrnet" in capsys.readouterr().out
    assert run(["inspect", "no_such_network"]) == 2


def test_a_recorded_stream_replays_bit_for_bit(
    write_tiny: Write, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, recording = write_tiny(), tmp_path / "raw.physedgerec"
    arguments = ["run", "--bundle", str(bundle), "--source", str(film), "--threads", "1"]
    assert run([*arguments, "--record-raw", str(recording)]) == 0
    capsys.readouterr()
    assert run(["replay", str(recording), "--bundle", str(bundle), "--threads", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["identical"] is True
    assert (report["frames"], report["answers"]) == (12, 12)
    recording.write_bytes(b"no recording")
    assert run(["replay", str(recording)]) == 4


def test_a_film_is_never_recorded_over_itself_nor_over_an_older_one(
    write_tiny: Write, film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, older = film.read_bytes(), tmp_path / "out.mp4"
    older.write_bytes(b"older")
    arguments = ["run", "--bundle", str(write_tiny()), "--source", str(film), "--threads", "1"]
    assert run([*arguments, "--record", str(film), "--overwrite"]) == 2
    assert "PE-OUT-001" in capsys.readouterr().err
    assert film.read_bytes() == before
    assert run([*arguments, "--record", str(older)]) == 0
    printed = capsys.readouterr()
    assert older.read_bytes() == b"older"
    assert f"wrote {tmp_path / 'out-2.mp4'}\n" in printed.out
    assert f"{older} is there already" in printed.err
    assert run([*arguments, "--record", str(older), "--overwrite"]) == 0
    assert f"wrote {older}\n" in capsys.readouterr().out
    assert len(older.read_bytes()) > 1000


@pytest.mark.parametrize("existing", [[], ["--overwrite"], ["--append"]])
def test_the_bundle_is_never_written_over(
    write_tiny: Write, film: Path, existing: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_tiny()
    before = bundle.read_bytes()
    arguments = ["run", "--bundle", str(bundle), "--source", str(film), "--threads", "1", *existing]
    assert run([*arguments, "--sink", f"jsonl:{bundle}"]) == 2
    assert run([*arguments, "--record-raw", str(bundle)]) == 2
    assert capsys.readouterr().err.count("PE-OUT-001") == 2
    assert bundle.read_bytes() == before


def test_wrote_is_said_of_what_was_written_alone(
    write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "1.png").write_bytes(b"no picture")
    arguments = ["run", "--bundle", str(write_tiny()), "--source", str(pictures), "--threads", "1"]
    assert run([*arguments, "--record", str(tmp_path / "out.mp4")]) == 5
    assert "wrote" not in capsys.readouterr().out
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize(
    ("options", "identifier"),
    [
        (["--overwrite", "--append"], "PE-OUT-004"),
        (["--record", "same.mp4", "--sink", "video:same.mp4"], "PE-OUT-003"),
        (["--record-raw", "same", "--sink", "jsonl:same"], "PE-OUT-003"),
        (["--source", "synthetic:", "--sink", "jsonl:a.jsonl", "--sink", "jsonl:a-2.jsonl"], "PE-OUT-003"),
    ],
)
def test_outputs_that_collide_are_refused(
    write_tiny: Write, options: list[str], identifier: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", "--bundle", str(write_tiny()), "--source", "synthetic:", *options]) == 2
    assert identifier in capsys.readouterr().err
