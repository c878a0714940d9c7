"""README, "From maker to device": every line of it runs as it is written, and what it says is refused is refused."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_network import tiny_spec

from physedge.cli.app import main

README = Path(__file__).parents[2] / "README.md"
SECTION = re.compile(r"^## From maker to device\n\n```sh\n(.*?)```", re.DOTALL | re.MULTILINE)


def film(path: Path) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (50, 40))
    generator = np.random.default_rng(0)
    for _ in range(5):
        writer.write(generator.integers(0, 256, (40, 50, 3), np.uint8))
    writer.release()


def run(line: str) -> int:
    words = shlex.split(line, comments=True)
    if words[0] != "physedge":
        return subprocess.run(line, shell=True, check=False, capture_output=True).returncode
    with pytest.raises(SystemExit) as ended:
        main(words[1:])
    return int(ended.value.code or 0)


@pytest.mark.requirement("REQ-INSTALL-NO-WAY-BACK")
def test_from_maker_to_device_runs_as_written(
    write_tiny: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = SECTION.search(README.read_text(encoding="utf-8"))
    assert found is not None
    (tmp_path / "build").mkdir()
    write_tiny("build/pmrnet_e", spec=tiny_spec().model_copy(update={"name": "pmrnet_e"}))
    film(tmp_path / "clip.mp4")
    monkeypatch.chdir(tmp_path)
    statuses = []
    for line in found[1].splitlines():
        expected = re.search(r"# refused, exit status (\d)", line)
        capsys.readouterr()
        statuses.append(run(line))
        said = capsys.readouterr()
        assert statuses[-1] == (int(expected[1]) if expected else 0), f"{line}\n{said.err}"
        if "--installed" in line:
            assert "signed by maker" in said.err
    assert statuses.count(4) == 2 and len(statuses) == 12
    assert said.err.startswith("PE-BUNDLE-002")  # the last line: the changed byte, found before anything is parsed
    log = (tmp_path / "device/pmrnet_e/install.log").read_text(encoding="utf-8")
    assert log.count('"proved"') == 1  # a film of a few frames proves nothing; the hand did
