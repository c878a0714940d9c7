"""The same clip, the same camera and the same network through a stream and through loops as people write them.

    python benchmarks/stream_peers.py --bundle build/demo/pmrnet_s-demo.physedge

    physedge     net.stream(...), OpenVINO
    model-api    OpenVINO Model API: cv2.VideoCapture and model(frame) in a loop
    opencv-ort   cv2.VideoCapture, cv2.resize and onnxruntime in a loop

Each runs in a process of its own, one thread for the engine, three times in turns. The clip gives frames a second and
memory; the camera (30 Hz motion JPEG on the loopback, the moment of sending in its pixels) gives the age of an answer.
Model API is used where it is installed (`pip install --no-deps openvino-model-api==0.4.5` beside constraints.txt; newer
ones need another OpenCV). It takes a mask of two planes, so 1 - p is put before p; the other outputs are cut off.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine_line
from numpy.typing import NDArray
from soak import pictures

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))
from mjpeg_server import MjpegCamera, read_time, write_time

from physedge_runtime import load
from physedge_runtime.sources.opencv import import_opencv

CANDIDATES = ("physedge", "model-api", "opencv-ort")
ROUNDS = 3
SIZE = (384, 640)

Answers = Iterator[NDArray[np.uint8]]


class BlobCamera(MjpegCamera):
    """Sends pictures of blobs, the moment of sending in their pixels."""

    def _encode(self) -> bytes:
        import cv2

        pixels = STOCK[self._count % len(STOCK)].copy()
        write_time(pixels, time.monotonic_ns())
        self._count += 1
        return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


STOCK = pictures(SIZE)


def physedge(bundle: Path, source: str) -> Answers:
    """The frames that were answered, as they are handed out."""
    with load(bundle).open(engine="openvino", threads=1, allow_rejected=True) as net:
        for item in net.stream(source, max_age_ms=60_000).frames():  # type: ignore[attr-defined]
            if item.result is not None:
                yield item.frame.pixels


def model_api(bundle: Path, source: str) -> Answers:
    """As Model API's own examples do it."""
    import openvino as ov
    from model_api.adapters import OpenvinoAdapter, create_core
    from model_api.models import SegmentationModel

    core = create_core()
    opened = load(bundle)
    graph = core.read_model(io.BytesIO(opened.read("model.onnx")))
    plane = graph.output("probability").get_node().input_value(0)
    ops = ov.opset13
    both = ops.concat([ops.subtract(ops.constant(np.float32(1)), plane), plane], 1)
    both.output(0).set_names({"masks"})
    small = ov.Model([both], [graph.input(0).get_node()], "two planes")
    path = Path(tempfile.mkdtemp()) / "two_planes.xml"
    ov.save_model(small, path, compress_to_fp16=False)
    adapter = OpenvinoAdapter(core, str(path), device="CPU", plugin_config={"INFERENCE_NUM_THREADS": 1})
    model = SegmentationModel(adapter, {"resize_type": "standard", "soft_threshold": 0.5}, preload=True)
    for frame in captured(source):
        model(frame)
        yield frame


def opencv_ort(bundle: Path, source: str) -> Answers:
    """The loop that stands in a hundred repositories."""
    import cv2
    import onnxruntime

    opened = load(bundle)
    spec = opened.manifest.spec.frame
    assert spec is not None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(opened.read("model.onnx"), options)
    for frame in captured(source):
        picture = cv2.cvtColor(cv2.resize(frame, (spec.width, spec.height)), cv2.COLOR_BGR2RGB)
        (probability,) = session.run(["probability"], {"frame": picture[np.newaxis]})
        mask = (probability[0, 0] > 0.5).astype(np.uint8)
        cv2.resize(mask, (frame.shape[1], frame.shape[0]), interpolation=cv2.INTER_NEAREST)
        yield frame


def captured(source: str) -> Iterator[Any]:
    """Every frame that OpenCV delivers."""
    cv2 = import_opencv()
    capture = cv2.VideoCapture(source)
    while True:
        read, frame = capture.read()
        if not read:
            return
        yield frame


RUNS: dict[str, Callable[[Path, str], Answers]] = {
    "physedge": physedge,
    "model-api": model_api,
    "opencv-ort": opencv_ort,
}


def child(name: str, bundle: Path, source: str, count: int) -> None:
    """Run one candidate; prints one JSON object."""
    import psutil

    process = psutil.Process()
    ages_ms: list[float] = []
    first_s = last_s = cpu_s = 0.0
    for number, pixels in enumerate(RUNS[name](bundle, source)):
        now_ns = time.monotonic_ns()
        last_s = now_ns / 1e9
        if number == 0:
            times = process.cpu_times()
            first_s, cpu_s = last_s, -(times.user + times.system)
        if source.startswith("http"):
            ages_ms.append((now_ns - read_time(pixels)) / 1e6)
        if number + 1 == count:
            break
    times = process.cpu_times()
    sys.stdout.write(
        json.dumps(
            {
                "answers": number + 1,
                "frames_per_s": number / (last_s - first_s),
                "cpu_ms": 1000 * (cpu_s + times.user + times.system) / number,
                "peak_mb": process.memory_full_info().rss / 1e6,
                "ages_ms": ages_ms,
            }
        )
        + "\n"
    )
    sys.stdout.flush()
    import os

    os._exit(0)  # a stream or a capture that is left open must not delay the next one


def ask(name: str, bundle: Path, source: str, count: int) -> dict[str, Any]:
    """Run a candidate in a process of its own."""
    command = [sys.executable, __file__, "--bundle", str(bundle), "--child", name, "--source", source]
    done = subprocess.run([*command, "--count", str(count)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_clip(path: Path, count: int) -> None:
    """A film of the blobs."""
    cv2 = import_opencv()
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (SIZE[1], SIZE[0]))
    for number in range(count):
        writer.write(STOCK[number % len(STOCK)])
    writer.release()


def present() -> list[str]:
    """The candidates that are installed."""
    try:
        print(f"openvino-model-api {importlib.metadata.version('openvino-model-api')}")
    except importlib.metadata.PackageNotFoundError:
        print("openvino-model-api is not installed: left out")
        return [name for name in CANDIDATES if name != "model-api"]
    return list(CANDIDATES)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--child", choices=CANDIDATES)
    parser.add_argument("--source", default="")
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.bundle, arguments.source, arguments.count)
    names = present()
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    ages: dict[str, list[float]] = {name: [] for name in names}
    ends: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, BlobCamera(size=SIZE) as camera:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, arguments.count)
        for _ in range(ROUNDS):
            for name in names:
                rows[name].append(ask(name, arguments.bundle, str(clip), arguments.count))
            for name in names:
                found = ask(name, arguments.bundle, camera.url, arguments.count)["ages_ms"]
                ages[name] += found
                ends[name].append(found[-1])
    print(f"clip and camera {SIZE[1]}x{SIZE[0]}, {ROUNDS} rounds of {arguments.count} answers each, one thread")
    for name in names:
        speed, cpu, memory = (
            statistics.median(row[key] for row in rows[name]) for key in ("frames_per_s", "cpu_ms", "peak_mb")
        )
        ordered = sorted(ages[name])
        p90 = ordered[int(0.9 * len(ordered))]
        print(
            f"  {name:<11} clip {speed:5.1f} frames/s, {cpu:5.1f} ms processor time a frame, {memory:4.0f} MB; "
            f"camera: age median {statistics.median(ordered):6.0f} ms, p90 {p90:6.0f}, "
            f"last answer {statistics.median(ends[name]):6.0f}"
        )
    print(machine_line())


if __name__ == "__main__":
    main()
