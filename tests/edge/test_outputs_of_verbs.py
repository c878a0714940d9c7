"""What a verb writes never replaces what it reads, nor a bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from physedge.cli.app import main

Write = Callable[..., Path]


def run(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


READ = {
    "bench": ("tiny.physedge", "link", "record.json"),
    "report": ("tiny.physedge", "link", "data/picture.html"),
    "export": ("tiny.physedge", "link", "data/picture.html", "record.json"),
    "adapt": ("tiny.physedge", "link", "data/picture.html", "record.json"),
}


@pytest.mark.parametrize(("verb", "output"), [(verb, name) for verb, names in READ.items() for name in names])
def test_an_input_is_never_written_over(
    verb: str, output: str, write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, record, data = write_tiny(), tmp_path / "record.json", tmp_path / "data"
    record.write_text("{}")
    data.mkdir()
    (data / "picture.html").write_text("precious")
    (tmp_path / "link").hardlink_to(bundle)
    inputs = {
        "bench": [str(bundle), "--baseline", str(record)],
        "report": [str(bundle), "--data", str(data)],
        "export": ["--onnx", str(bundle), "--spec", str(record), "--data", str(data)],
        "adapt": ["eit_post", "--weights", str(bundle), "--reference", str(record), "--data", str(data), "--sim", "x"],
    }[verb]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert run([verb, *inputs, "-o", str(tmp_path / output)]) == 2
    assert "PE-OUT-001" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("verb", ["bench", "report", "diff"])
def test_a_bundle_is_never_written_over_by_a_report(
    verb: str, write_tiny: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, other = write_tiny(), write_tiny("other")
    if verb == "diff":
        (tmp_path / "folder").mkdir()
        other = other.rename(tmp_path / "folder/diff.json")
    before = other.read_bytes()
    inputs = [str(bundle), str(bundle)] if verb == "diff" else [str(bundle)]
    output = other.parent if verb == "diff" else other
    assert run([verb, *inputs, "-o", str(output)]) == 2
    assert "PE-OUT-005" in capsys.readouterr().err
    assert other.read_bytes() == before
