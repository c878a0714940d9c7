"""libphysedge beside the bare OpenVINO C library and beside Python: time a frame, start, memory, size.

    python benchmarks/native.py --build build/native --bundle build/demo/pmrnet_s-demo.physedge --frames 200

Frames alternate between libphysedge (raw 640x480 frame to result) and the bare library (prepared picture to output)
in one process. A start is a whole process up to an opened network, golden frames included.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import machine_line

ROOT = Path(__file__).parents[1]
NATIVE = ROOT / "runtime/native"
PYTHON_START = """
import sys
from physedge_runtime import load
load(sys.argv[1]).open(engine=sys.argv[3], threads=int(sys.argv[2]), allow_rejected=True).close()
"""


def openvino() -> Path:
    """Folder of the wheel."""
    found = importlib.util.find_spec("openvino")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


def compiled(folder: Path, build: Path) -> Path:
    """The C program of this benchmark."""
    wheel, program = openvino(), folder / "native_frames"
    (library,) = (wheel / "libs").glob("libopenvino_c.so.*")
    paths = [f"-Wl,-rpath,{build.resolve()}", f"-Wl,-rpath,{wheel / 'libs'}", f"-Wl,-rpath-link,{wheel / 'libs'}"]
    headers = [f"-I{NATIVE / 'include'}", f"-I{wheel / 'include'}"]
    source = ROOT / "benchmarks/native_frames.c"
    command = [
        "gcc",
        "-O2",
        "-D_GNU_SOURCE",
        *headers,
        source,
        "-o",
        program,
        f"-L{build}",
        "-lphysedge",
        library,
        *paths,
    ]
    subprocess.run(command, check=True)
    return program


def frames(program: Path, arguments: argparse.Namespace, precision: str) -> None:
    """Print the medians and the ratios for the graph of a precision; "" for the one that ships."""
    command = [program, arguments.bundle, "640", "480", str(arguments.threads), str(arguments.frames), precision]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    rows = [[float(value) for value in line.split()] for line in done.stdout.splitlines()]
    whole, bare, whole_cpu, bare_cpu, resize, after = (statistics.median(column) for column in zip(*rows, strict=True))
    ratios = [row[2] / row[3] for row in rows]
    without_resize = [(row[2] - row[4]) / row[3] for row in rows]
    print(done.stderr.strip())
    print(f"  wall       raw frame to result {whole:8.3f} ms   bare engine {bare:8.3f} ms   {whole / bare:.4f}x")
    print(f"  processor  raw frame to result {whole_cpu:8.3f} ms   bare engine {bare_cpu:8.3f} ms", end="")
    print(f"   {statistics.median(ratios):.4f}x, without the resize {statistics.median(without_resize):.4f}x")
    print(f"  resize {resize:.3f} ms, from outputs to result {after:.3f} ms; {len(rows)} frames, medians")


def start(command: list[str | Path], environment: dict[str, str]) -> tuple[float, float, float]:
    """Wall and processor seconds of a whole process, and its largest resident MB."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, command
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def starts(arguments: argparse.Namespace, folder: Path) -> None:
    """Print how long an opened network takes from nothing, with the engine's cache warm."""
    native = [arguments.build / "physedge_stream_frames", arguments.bundle, "64", "64"]
    python = [sys.executable, "-c", PYTHON_START, arguments.bundle, str(arguments.threads)]
    warm = {"PHYSEDGE_CACHE": str(folder / "native")}
    kinds = {
        "libphysedge, OpenVINO, no cache": (native, {"PHYSEDGE_ENGINE": "openvino"}),
        "libphysedge, OpenVINO, warm cache": (native, {"PHYSEDGE_ENGINE": "openvino", **warm}),
        "Python, OpenVINO, warm cache": ([*python, "openvino"], {"PHYSEDGE_CACHE": str(folder / "python")}),
        "libphysedge, ONNX Runtime": (native, {"PHYSEDGE_ENGINE": "onnxruntime"}),
        "Python, ONNX Runtime": ([*python, "onnxruntime"], {}),
    }
    offered = subprocess.run([native[0]], capture_output=True, text=True).stderr
    if "onnxruntime" not in offered:
        kinds = {name: kind for name, kind in kinds.items() if not name.startswith("libphysedge, ONNX")}
    for command, environment in kinds.values():
        start(command, environment)
    rounds = [{name: start(*kind) for name, kind in kinds.items()} for _ in range(arguments.starts)]
    for name in kinds:
        wall, cpu, memory = (statistics.median(column) for column in zip(*(row[name] for row in rounds), strict=True))
        best = min(row[name][0] for row in rounds)
        print(f"  {name:<34} {wall:6.3f} s wall (best {best:.3f}), {cpu:6.3f} s processor, {memory:5.0f} MB resident")


def sizes(arguments: argparse.Namespace, folder: Path) -> None:
    """Print what lies on the device."""
    command = [sys.executable, NATIVE / "collect_folder.py", arguments.build, folder / "collected"]
    print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.rstrip())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--starts", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compiled(folder, arguments.build)
        for precision in ("", "fp32"):
            frames(program, arguments, precision)
        starts(arguments, folder)
        sizes(arguments, folder)
    print(f"{arguments.bundle.name}, {arguments.bundle.stat().st_size:,} bytes; {machine_line()}")


if __name__ == "__main__":
    main()
