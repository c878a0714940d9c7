"""The bundle's reader under libFuzzer with the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from debian import program
from native_build import SOURCE, configure_and_build

SECONDS = int(os.environ.get("PHYSEDGE_FUZZ_SECONDS", "60"))


@pytest.mark.slow
@pytest.mark.requirement("REQ-NATIVE-MUTATIONS")
def test_the_fuzzer_finds_nothing(tmp_path: Path) -> None:
    """From the exhibits on; a crash, a leak, a hang of 10 s, or undefined behaviour ends it with a failure."""
    program("clang++", "clang")
    options = [
        "-DCMAKE_C_COMPILER=clang",
        "-DCMAKE_CXX_COMPILER=clang++",
        "-DPHYSEDGE_FUZZ=ON",
        "-DPHYSEDGE_OPENVINO=OFF",
    ]
    options += ["-DPHYSEDGE_SANITIZE=address,undefined", "-DCMAKE_CXX_FLAGS=-O1"]
    configure_and_build(
        tmp_path / "fuzz", *options, kind="Debug", targets=("physedge_fuzz_bundle", "physedge_fuzz_repaired")
    )
    corpus = tmp_path / "corpus"
    subprocess.run([sys.executable, SOURCE / "fuzz/make_corpus.py", corpus], check=True)
    assert len(list(corpus.iterdir())) > 500
    run(tmp_path, "physedge_fuzz_bundle", corpus, seconds=SECONDS, fewest=1000)
    bundles = tmp_path / "bundles"
    subprocess.run([sys.executable, SOURCE / "fuzz/make_corpus.py", bundles, "--repaired"], check=True)
    run(tmp_path, "physedge_fuzz_repaired", bundles, seconds=SECONDS // 3, fewest=50)


def run(folder: Path, program_name: str, corpus: Path, *, seconds: int, fewest: int) -> None:
    """One fuzzer over its corpus; it has to have tried so many inputs."""
    limits = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=2048", "-seed=1", "-print_final_stats=1"]
    command = [folder / "fuzz" / program_name, *limits, "-max_len=65536", f"-artifact_prefix={folder}/", corpus]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    runs = next(line for line in done.stderr.splitlines() if "number_of_executed_units" in line)
    assert int(runs.rsplit(":", 1)[1]) > fewest
