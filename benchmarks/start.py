"""How long it takes to start, and how much the plain install weighs.

python benchmarks/start.py                 # import and --help, whole processes
python benchmarks/start.py --install       # also weighs a plain install in a fresh environment
python benchmarks/start.py --bundle B      # also to the first answer, cache of compiled graphs cold and warm
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

from machine import machine_line

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "empty process": [sys.executable, "-c", "pass"],
    "import physedge_runtime": [sys.executable, "-c", "import physedge_runtime"],
    "physedge --help": [sys.executable, "-c", "from physedge.cli import main; main(['--help'])"],
}


def seconds(command: list[str]) -> float:
    """Wall time of a whole process."""
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


_FIRST_ANSWER = """
import sys, numpy
from physedge_runtime import load
with load(sys.argv[1]).open(engine=sys.argv[2], threads=1, allow_rejected=True) as net:
    net.infer(numpy.full((480, 640, 3), 90, numpy.uint8))
"""


def first_answers(bundle: Path, engine: str, runs: int) -> None:
    """Whole processes that check a bundle, replay its golden frames and answer one frame."""
    command = [sys.executable, "-c", _FIRST_ANSWER, str(bundle), engine]
    cold_s, warm_s = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            os.environ["PHYSEDGE_CACHE"] = cache
            cold_s.append(seconds(command))
            warm_s.append(seconds(command))
    for name, values in (("cold", cold_s), ("warm", warm_s)):
        print(f"first answer, {engine}, {name} cache: median {statistics.median(values):.2f} s, {len(values)} runs")


def installed_bytes() -> dict[str, int]:
    """Size of what a plain install puts into site-packages, by distribution, without pip and setuptools."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin/python"
        pip = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt"), str(ROOT)]
        subprocess.run(pip, check=True)
        (packages,) = (Path(folder) / "lib").glob("python3*/site-packages")
        found = importlib.metadata.distributions(path=[str(packages)])
        return {
            f"{one.name} {one.version}": sum(
                path.stat().st_size for file in one.files or () if (path := Path(str(one.locate_file(file)))).is_file()
            )
            for one in found
            if one.name not in ("pip", "setuptools")
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=11)
    parser.add_argument("--install", action="store_true")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--engine", default="openvino")
    arguments = parser.parse_args()
    for command in COMMANDS.values():
        seconds(command)  # the file cache
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(arguments.runs)]
    for name in COMMANDS:
        values = [row[name] for row in rounds]
        print(f"{name:<26} median {statistics.median(values):.3f} s, best {min(values):.3f} s, {len(values)} runs")
    if arguments.bundle is not None:
        first_answers(arguments.bundle, arguments.engine, min(5, arguments.runs))
    if arguments.install:
        sizes = installed_bytes()
        print(f"plain install: {sum(sizes.values()) / 1e6:.0f} MB without pip and setuptools")
        print(
            "  "
            + ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sorted(sizes.items(), key=lambda one: -one[1]))
        )
    print(machine_line())


if __name__ == "__main__":
    main()
