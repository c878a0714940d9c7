"""The plain install, without any extra: every verb works or names the extra in one sentence."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from physedge.cli.app import _VERBS
from physedge.cli.extras import PARTS, extra_of

ROOT = Path(__file__).parents[2]
BLOCKED = sorted({part.module for part in PARTS})
PROGRAM = f"""
import sys
finders = list(sys.meta_path)
class Others:
    find_distributions = staticmethod(finders[-1].find_distributions)
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            return None
        found = (finder.find_spec(name, path, target) for finder in finders)
        return next((spec for spec in found if spec is not None), None)
sys.meta_path[:] = [Others()]
from physedge.cli.app import main
main(sys.argv[1:])
"""
ENDINGS = {
    "doctor": (["doctor"], 0),
    "networks": (["inspect"], 0),
    "network": (["inspect", "pmrnet_e"], 3),
    "demo": (["demo"], 3),
    "export": (["export", "--target", "onnxruntime"], 3),
    "training": (["train", "pmrnet_e", "--data", "DATA"], 3),
    "scenes": (["synth", "endoscopy", "--out", "OUT", "--frames", "2"], 3),
    "bundle": (["inspect", "BUNDLE"], 0),
    "verify": (["verify", "BUNDLE"], 0),
    "pictures": (["run", "--bundle", "BUNDLE", "--source", "PICTURES"], 3),
    "camera": (["run", "--bundle", "BUNDLE", "--camera", "0"], 3),
    "film": (["run", "--bundle", "BUNDLE", "--source", "PICTURES/a.mp4"], 3),
    "page": (["run", "--bundle", "BUNDLE", "--source", "synthetic:64x48@30", "--sink", "serve:0"], 3),
    "report": (["report", "BUNDLE", "--output", "OUT/page.html"], 0),
}


def run_plain(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("case", ENDINGS)
def test_a_verb_without_its_extra_says_so_in_one_sentence(
    case: str, write_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    picture = np.zeros((40, 50, 3), np.uint8)
    for name in ("a.png", "b.png"):
        (pictures / name).write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    (pictures / "a.mp4").write_bytes(b"0" * 100)
    (tmp_path / "data").mkdir()
    places = {
        "BUNDLE": str(write_tiny()),
        "PICTURES": str(pictures),
        "DATA": str(tmp_path / "data"),
        "OUT": str(tmp_path),
    }
    arguments, status = ENDINGS[case]
    for word, place in places.items():
        arguments = [argument.replace(word, place) for argument in arguments]
    done = run_plain(arguments, tmp_path)
    assert done.returncode == status, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    if status == 3:
        (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("PE-")]
        assert sentence.startswith("PE-ENV-001: ")
        assert "-py3-none-any.whl[" in sentence


def test_every_verb_shows_its_help(tmp_path: Path) -> None:
    program = (
        PROGRAM.replace("main(sys.argv[1:])", "")
        + f"""
for verb in {_VERBS!r}:
    try:
        main([verb, "--help"])
    except SystemExit as ended:
        assert ended.code == 0, verb
"""
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-500:]


def test_the_table_of_packages_agrees_with_what_the_extras_bring() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for part in PARTS:
        assert part.package in {re.split(r"[\[>=;]", line)[0].strip() for line in extras[part.extra]}, part
    assert extra_of("torch.nn") == "export"
    assert extra_of("physedge_runtime") is None
