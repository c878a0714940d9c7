"""The example of a network of one's own, typed as its page says."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from physedge_runtime import load

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/own_network"


def _typed_lines() -> list[str]:
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    (.+)$", page, re.MULTILINE)
    return [line.partition("#")[0].strip() for line in lines]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example's folder in which its page was followed, but for the ONNX file that nobody brought."""
    folder = tmp_path_factory.mktemp("own") / "own_network"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("build", "*.safetensors", "__pycache__"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [".", os.environ.get("PYTHONPATH")]))}
    for line in _typed_lines():
        words = [word for word in shlex.split(line) if not word.startswith("PYTHONPATH=")]
        if "--onnx" in words:
            continue
        program = [sys.executable] if words[0] == "python" else [sys.executable, "-m", "physedge"]
        done = subprocess.run([*program, *words[1:]], cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}: {done.stderr}"
    return folder


def test_the_page_ends_in_a_bundle_that_runs(deployed: Path) -> None:
    bundle = load(deployed / "build/own-unet.physedge")
    assert bundle.manifest.spec.name == "own-unet"
    assert bundle.manifest.verdict == "NOT RUN"
    with bundle.open(engine="onnxruntime", threads=1) as net:
        assert net.spec.classes == ("background", "lesion")


def test_the_same_network_brought_as_onnx_is_the_same_graph(deployed: Path) -> None:
    graph = load(deployed / "build/own-unet.physedge").read("model.onnx")
    (deployed / "net.onnx").write_bytes(graph)
    words = ["export", "--onnx", "net.onnx", "--spec", "spec.toml", "--output", "build/brought.physedge"]
    done = subprocess.run(
        [sys.executable, "-m", "physedge", *words], cwd=deployed, env=dict(os.environ), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert load(deployed / "build/brought.physedge").manifest.spec.name == "own-unet"
