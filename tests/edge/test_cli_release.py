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
