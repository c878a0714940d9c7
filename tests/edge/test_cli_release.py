"""From maker to device by the command line: key, sign, install, run, roll forward, refused rollback, tampering."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from physedge.cli.app import main
from physedge_runtime.bundle import read_bundle
from physedge_runtime.device_config import DEVICE_VARIABLE

Write = Callable[..., Path]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    def run(*words: object) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*(str(word) for word in words), "--json"])
        printed = capsys.readouterr()
        return int(ended.value.code or 0), json.loads(printed.out) if printed.out else {}

    return run


@pytest.fixture
def film(tmp_path: Path) -> Path:
    from disks import disk_pair
    from PIL import Image

    folder = tmp_path / "film"
    folder.mkdir()
    for index in range(3):
        Image.fromarray(disk_pair(index)[0]).save(folder / f"{index}.png")
    return folder


def test_from_maker_to_device(
    command: Callable[..., tuple[int, dict[str, Any]]], write_tiny: Write, film: Path, tmp_path: Path
) -> None:
    pem, public, root = tmp_path / "maker.pem", tmp_path / "maker.pub", tmp_path / "device"
    engine = ("--engine", "onnxruntime")
    status, made = command("sign", "--new-key", pem)
    assert (status, made["public"]) == (0, str(public))
    first, second = write_tiny("first"), write_tiny("second")
    for path, release in ((first, 1), (second, 2)):
        assert command("verify", path, "--trust", public, *engine)[1]["error"]["id"] == "PE-SIGN-005"
        status, signed = command("sign", path, "--key", pem, "--release", release)
        assert (status, signed["release"], signed["key_id"]) == (0, release, made["key_id"])
    assert command("verify", first, "--trust", public, *engine)[1]["trust"].startswith("signed by maker")

    device = ("--root", root, "--trust", public, *engine)
    assert command("install", first, *device)[1]["slot"] == "a"
    results = tmp_path / "results.jsonl"
    streamed = ("run", "--installed", "tiny", *device, "--source", film, "--sink", f"jsonl:{results}")
    status, summary = command(*streamed)
    assert status == 0
    assert summary["bundle_trust"].startswith("signed by maker")
    header = json.loads(results.read_text(encoding="utf-8").splitlines()[0])
    assert header["bundle_trust"] == summary["bundle_trust"]

    status, installed = command("install", second, *device, "--slot", "b")
    assert (status, installed["replaced_release"]) == (0, 1)
    assert command(*streamed)[1]["bundle"].endswith("b.physedge")

    # A film proves nothing: the floor rises only with live answers, or by this word.
    assert command("run", "--bundle", first, *device, "--source", film)[0] == 0
    status, proven = command("install", "--good", "tiny", "--root", root)
    assert (status, proven["floor"]) == (0, 2)
    status, refused = command("install", first, *device)
    assert (status, refused["error"]["id"]) == (4, "PE-INSTALL-001")
    status, refused = command("run", "--bundle", first, *device, "--source", film)
    assert (status, refused["error"]["id"]) == (4, "PE-INSTALL-001")
    status, back = command("install", first, *device, "--allow-rollback")
    assert (status, back["is_rollback"]) == (0, True)

    data = bytearray(second.read_bytes())
    data[len(data) // 2] ^= 1
    second.write_bytes(data)
    status, refused = command("install", second, *device)
    assert (status, refused["error"]["exit_status"]) == (4, 4)
    both = command("run", "--bundle", first, "--installed", "tiny", "--source", film)
    assert both[1]["error"]["id"] == "PE-RUN-003"


def test_a_device_demands_its_keys_of_every_verb(
    command: Callable[..., tuple[int, dict[str, Any]]],
    write_tiny: Write,
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command("sign", "--new-key", tmp_path / "maker.pem")
    (tmp_path / "device.toml").write_text('[trust]\nkeys = ["maker.pub"]\n[install]\nroot = "var"\n', encoding="utf-8")
    monkeypatch.setenv(DEVICE_VARIABLE, str(tmp_path / "device.toml"))
    path = write_tiny()
    for words in (("verify", path), ("install", path), ("run", "--bundle", path, "--source", film)):
        status, refused = command(*words)
        assert (status, refused["error"]["id"]) == (4, "PE-SIGN-005")
    assert command("inspect", path)[1]["trust"] == "unsigned"
    command("sign", path, "--key", tmp_path / "maker.pem", "--not-after", "2020-01-01")
    assert command("verify", path)[1]["error"]["id"] == "PE-SIGN-009"
    command("sign", path, "--key", tmp_path / "maker.pem")
    assert command("install", path, "--engine", "onnxruntime")[1]["root"] == str(tmp_path / "var")


def test_a_live_stream_proves_what_runs(
    command: Callable[..., tuple[int, dict[str, Any]]],
    write_tiny: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from physedge_runtime.slots import read_state
    from physedge_runtime.update import proving

    monkeypatch.setattr(proving, "GOOD_ANSWERS", 5)
    monkeypatch.setattr(proving, "GOOD_SECONDS", 0.1)
    device = ("--root", tmp_path / "device", "--engine", "onnxruntime")
    assert command("install", write_tiny(release=3), *device)[0] == 0
    streamed = ("run", "--installed", "tiny", *device, "--source", "synthetic:64x48@50")
    assert command(*streamed, "--frames", 2)[0] == 0
    state = read_state(tmp_path / "device/tiny")
    assert (state.on_trial, state.starts, state.floor) == (True, 0, 0)  # it ended before it could prove anything
    assert command(*streamed, "--frames", 30)[0] == 0
    state = read_state(tmp_path / "device/tiny")
    assert (state.on_trial, state.floor) == (False, 3)


def test_a_wrong_release_number_is_taken_back_by_a_signed_reset(
    command: Callable[..., tuple[int, dict[str, Any]]], write_tiny: Write, tmp_path: Path
) -> None:
    pem, root = tmp_path / "maker.pem", tmp_path / "device"
    command("sign", "--new-key", pem)
    device = ("--root", root, "--trust", tmp_path / "maker.pub", "--engine", "onnxruntime")
    wrong, right = write_tiny("wrong", release=20261130), write_tiny("right", release=6)
    for path in (wrong, right):
        command("sign", path, "--key", pem)
    assert command("install", wrong, *device)[0] == 0
    command("install", "--good", "tiny", "--root", root)
    assert command("install", right, *device)[1]["error"]["id"] == "PE-INSTALL-001"
    reset = tmp_path / "tiny.reset"
    words = ("--network", "tiny", "--wrong", 20261130, "--release", 5)
    status, written = command("sign", "--reset", reset, "--key", pem, *words)
    assert (status, written["floor"]) == (0, 5)
    status, done = command("install", "--reset", reset, *device[:4])
    assert (status, done) == (0, {"schema_version": 1, "network": "tiny", "floor": 5})
    assert command("install", right, *device)[1]["release"] == 6
    assert command("install", "--reset", reset, *device[:4])[1]["error"]["id"] == "PE-INSTALL-011"
    assert command("sign", "--reset", reset, "--key", pem)[1]["error"]["id"] == "PE-SIGN-015"
    status, refused = command("install", right, "--good", "tiny", *device)
    assert (status, refused["error"]["id"]) == (2, "PE-INSTALL-013")


def test_no_verb_opens_what_is_below_the_floor(
    command: Callable[..., tuple[int, dict[str, Any]]],
    write_tiny: Write,
    film: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "device.toml").write_text('[install]\nroot = "var"\n', encoding="utf-8")
    monkeypatch.setenv(DEVICE_VARIABLE, str(tmp_path / "device.toml"))
    assert command("install", write_tiny("new", release=2), "--engine", "onnxruntime")[0] == 0
    assert command("install", "--good", "tiny")[1]["floor"] == 2
    old = write_tiny("old", release=1)
    for words in (
        ("verify", old),
        ("run", "--bundle", old, "--source", film),
        ("bench", old),
        ("install", old),
    ):
        status, refused = command(*words)
        assert (status, refused["error"]["id"]) == (4, "PE-INSTALL-001"), words
    status, refused = command("run", "--bundle", old, "--source", film, "--root", tmp_path / "elsewhere")
    assert (status, refused["error"]["id"]) == (2, "PE-SIGN-016")


def test_signing_says_what_it_needs(
    command: Callable[..., tuple[int, dict[str, Any]]], write_tiny: Write, tmp_path: Path
) -> None:
    for words in ((), (write_tiny(),), ("--key", "x"), (write_tiny(), "--key", "x", "--new-key", "y")):
        status, refused = command("sign", *words)
        assert (status, refused["error"]["id"]) == (2, "PE-SIGN-015")
    assert not (tmp_path / "y").exists()


def test_diff_and_report(command: Callable[..., tuple[int, dict[str, Any]]], write_tiny: Write, tmp_path: Path) -> None:
    first, second = write_tiny("first", release=1), write_tiny("second", release=2)
    words = ("--engine", "onnxruntime", "--output", tmp_path / "diff")
    status, found = command("diff", first, second, *words)
    assert (status, found["changed_frames"]) == (0, 0)
    assert (tmp_path / "diff/index.html").is_file()
    status, written = command(
        *("report", first, "--pack", tmp_path / "pack", "--requirements", ROOT / "docs/requirements.toml")
    )
    assert status == 0
    assert set(written["requirements"].values()) == {"not run"}
    assert read_bundle(first).manifest.release == 1
    assert (tmp_path / "pack/index.html").is_file()
