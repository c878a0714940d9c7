"""Everything that can run a bundle on the NVIDIA GPU that is here, timed in turns in one run, from host to host.

    physedge export --target tensorrt --precision int8 --calib DIR -o build/gpu.physedge     # on any machine
    python benchmarks/gpu.py build/gpu.physedge --data DIR -o build/gpu.json                 # on the GPU

In this order, each as far as it is installed: TensorRT or TensorRT-RTX on every graph of the bundle, ONNX Runtime with
its plug-in for TensorRT-RTX, ONNX Runtime with CUDA, torch with a CUDA graph, `torch.compile`, torch eager. What could
not be run is listed as not run, with the reason. A call is one frame: uint8 from the host's memory to an answer in it.
Beside the times stand the largest difference from full precision on the processor, the share of pixels in another
class, and with `--data` the task's verdict; and the floor: products and bytes that must move, at the GPU's peak.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gpu_torch import torch_answers
from machine import machine_line
from numpy.typing import NDArray

from physedge.deploy.engine_build import DeviceBuildOptions, build_on_device
from physedge.deploy.verify import verify
from physedge_calibrate.bench import run_bench
from physedge_calibrate.tolerance import standard
from physedge_runtime import load
from physedge_runtime.bundle import Bundle
from physedge_runtime.engines import open_engine
from physedge_runtime.engines.cuda import Cuda
from physedge_runtime.errors import PhysedgeError
from physedge_runtime.net import engine_request

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

PEAKS = {
    # As the driver names it: dense half-precision TFLOPS with 32-bit sums, memory GB/s; from NVIDIA's data sheets.
    "H200": (989.0, 4800.0),
    "H100": (989.0, 3350.0),
    "RTX 4090": (165.2, 1008.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to answer, or why it cannot be tried."""

    name: str
    answer: Answer | None = None
    reason: str = ""
    overlaps: bool = False


def main(words: list[str] | None = None) -> int:
    """Measure, print a table, write a record; 3 where nothing could be run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--rounds", type=int, default=700, help="p99 is quoted from 662 on")
    parser.add_argument("--data", type=Path, help="labelled data, for the verdict on each TensorRT engine")
    parser.add_argument("--model", help="for torch; the built-in network of the bundle's name if not said")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--spec", type=Path)
    parser.add_argument("--output", "-o", type=Path, help="a record in JSON")
    arguments = parser.parse_args(words)
    bundle = load(arguments.bundle)
    shape = bundle.manifest.spec.input_shape
    frames = [np.random.default_rng(seed).integers(0, 256, (1, *shape), dtype=np.uint8) for seed in range(4)]
    candidates = [*tensorrt(bundle), *onnxruntime(bundle), *torch_candidates(bundle, arguments)]
    here = {one.name: one.answer for one in candidates if one.answer is not None}
    print(f"{bundle.manifest.spec.name} {shape}, one frame a call, host to host; {device_line()}; {machine_line()}")
    rows = measure(bundle, here, [one.name for one in candidates if one.overlaps], frames, arguments.rounds)
    print_table(rows)
    for one in candidates:
        if one.answer is None:
            print(f"not run: {one.name}: {one.reason}")
    verdicts = judge(bundle, arguments.data) if arguments.data is not None and here else []
    print(*verdicts, *floors(bundle), sep="\n")
    if arguments.output is not None:
        record = {"rows": rows, "not_run": {one.name: one.reason for one in candidates if one.answer is None}}
        record |= {"verdicts": verdicts, "floors": floors(bundle), "device": device_line(), "machine": machine_line()}
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps({"schema_version": 1, **record}, indent=2) + "\n", encoding="utf-8")
    return 0 if here else 3


def tensorrt(bundle: Bundle) -> list[Candidate]:
    """The runtime's own engine, on every graph of the bundle; built here where the cache has none."""
    found = []
    for artefact in bundle.manifest.artefacts:
        if artefact.entry == "model.int8-cpu.onnx":
            continue  # unsigned activations: not for TensorRT
        name = f"TensorRT {artefact.precision}"
        try:
            done = build_on_device(bundle, DeviceBuildOptions(precision=artefact.precision))
            engine = open_engine("tensorrt", engine_request(bundle, artefact))
        except PhysedgeError as error:
            found.append(Candidate(name=name, reason=str(error)))
            continue
        print(f"{name}: {done.statements[0]}", file=sys.stderr)
        found.append(Candidate(name=name, answer=first_output(bundle, engine.infer), overlaps=True))
    return found


def onnxruntime(bundle: Bundle) -> list[Candidate]:
    """ONNX Runtime's plug-in for TensorRT-RTX, then its CUDA provider, on full precision and half precision."""
    import onnxruntime as ort

    found = []
    graphs = [one for one in bundle.manifest.artefacts if one.entry in ("model.onnx", "model.fp16.onnx")]
    for artefact in graphs:
        for title, providers in (("TensorRT-RTX plug-in", rtx_devices), ("CUDA provider", cuda_provider)):
            name = f"ONNX Runtime, {title}, {artefact.precision}"
            options = ort.SessionOptions()
            options.log_severity_level = 3
            try:
                session = ort.InferenceSession(bundle.read(artefact.entry), options, providers=providers(ort, options))
            except Exception as error:  # every build of ONNX Runtime refuses in a way of its own
                found.append(Candidate(name=name, reason=str(error).splitlines()[0]))
                continue
            found.append(Candidate(name=name, answer=first_output(bundle, session_answer(session))))
    return found


def rtx_devices(ort: Any, options: Any) -> list[str] | None:
    """Puts the plug-in's GPUs into the options; no list of providers goes with them."""
    import onnxruntime_ep_nv_tensorrt_rtx as plug_in

    name = "NvTensorRTRTXExecutionProvider"
    ort.register_execution_provider_library(name, plug_in.get_library_path())
    devices = [device for device in ort.get_ep_devices() if device.ep_name == name]
    if not devices:
        raise RuntimeError("the plug-in sees no GPU")
    options.add_provider_for_devices(devices, {})
    return None


def cuda_provider(ort: Any, options: Any) -> list[str]:
    """The CUDA provider, and nothing that would quietly answer in its place."""
    del options
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise RuntimeError("this ONNX Runtime has no CUDAExecutionProvider (onnxruntime-gpu has, in a venv of its own)")
    return ["CUDAExecutionProvider"]


def session_answer(session: Any) -> Callable[[NDArray[np.uint8]], dict[str, NDArray[np.float32]]]:
    """A session asked like an engine."""
    names = [output.name for output in session.get_outputs()]
    feed = session.get_inputs()[0].name
    return lambda frame: dict(zip(names, session.run(names, {feed: frame}), strict=True))


def torch_candidates(bundle: Bundle, arguments: argparse.Namespace) -> list[Candidate]:
    """The network in torch, where torch sees the GPU."""
    answers = torch_answers(bundle.manifest.spec, arguments.model, arguments.weights, arguments.spec)
    return [
        Candidate(name=name, answer=found if callable(found) else None, reason="" if callable(found) else found)
        for name, found in answers.items()
    ]


def first_output(bundle: Bundle, infer: Callable[..., Any]) -> Answer:
    """The answer itself, whatever else the graph gives out."""
    name = bundle.manifest.outputs[0].name
    return lambda frame: np.asarray(infer(frame)[name], np.float32)


def measure(
    bundle: Bundle, here: dict[str, Answer], overlapping: list[str], frames: list[NDArray[np.uint8]], rounds: int
) -> list[dict[str, Any]]:
    """One row a candidate: times, frames a second from two threads, and how far its answers lie from full precision."""
    if not here:
        return []
    with open_engine("onnxruntime", engine_request(bundle, bundle.manifest.artefacts[0])) as reference:
        expected = [first_output(bundle, reference.infer)(frame) for frame in frames]
    timed = run_bench(
        {name: (lambda answer=answer: answer(frames[0])) for name, answer in here.items()},
        rounds=rounds,
        generator=np.random.default_rng(0),
        warm_up=20,
    )
    rows = []
    for name, answer in here.items():
        answers, timing = [answer(frame) for frame in frames], timed.timing(name)
        threshold = bundle.manifest.spec.threshold
        pairs = list(zip(answers, expected, strict=True))
        rows.append(
            {
                "name": name,
                "median_ms": timing.median_ms,
                "percentiles_ms": dict(timing.percentiles_ms),
                "calls": timing.samples,
                "frames_per_second": 1e3 / timing.median_ms,
                "frames_per_second_two_threads": two_threads(answer, frames, rounds) if name in overlapping else None,
                "largest_difference": max(float(np.abs(one - other).max()) for one, other in pairs),
                "pixels_in_another_class": float(np.mean([(a > threshold) != (b > threshold) for a, b in pairs])),
            }
        )
    return rows


def two_threads(answer: Answer, frames: list[NDArray[np.uint8]], rounds: int) -> float:
    """Frames a second where one caller's copies overlap with the other's work on the GPU."""
    started = time.perf_counter()
    with ThreadPoolExecutor(2) as callers:
        list(callers.map(answer, [frames[index % len(frames)] for index in range(rounds)]))
    return rounds / (time.perf_counter() - started)


def print_table(rows: list[dict[str, Any]]) -> None:
    """Markdown, as it stands in docs/results.md."""
    titles = ("what", "median ms", "p90", "p99", "frames/s", "by two threads", "largest difference", "other class")
    print(*(f"| {title} " for title in titles), "|", sep="")
    print("|---" * len(titles) + "|")
    for row in rows:
        tails = [row["percentiles_ms"].get(key) for key in ("p90", "p99")]
        cells = [f"{row['median_ms']:.3f}", *("" if tail is None else f"{tail:.3f}" for tail in tails)]
        both = row["frames_per_second_two_threads"]
        cells += [f"{row['frames_per_second']:.0f}", "" if both is None else f"{both:.0f}"]
        cells += [f"{row['largest_difference']:.2g}", f"{row['pixels_in_another_class']:.1e}"]
        print(f"| {row['name']} | " + " | ".join(cells) + " |")


def judge(bundle: Bundle, data: Path) -> list[str]:
    """The task's verdict on each TensorRT engine."""
    said = []
    for precision in sorted({one.precision for one in bundle.manifest.artefacts}):
        try:
            found = verify(bundle, tolerance=standard(), engine="tensorrt", precision=precision, data=data).verdict
        except PhysedgeError as error:
            said.append(f"no verdict on {precision}: {error}")
            continue
        if found is not None and found.reference is not None and found.measured is not None:
            pair = f"{found.metric} {found.measured.value:.4f}, full precision {found.reference.value:.4f}"
            said.append(f"{precision}: {found.verdict}, {pair} ({found.samples} samples, {found.groups} groups)")
    return said


def floors(bundle: Bundle) -> list[str]:
    """What no engine can be faster than: the graph's products and its weights, frame and answers, at the GPU's peak."""
    manifest = bundle.manifest
    moved = 2 * manifest.parameters + int(np.prod(manifest.spec.input_shape))
    moved += 4 * sum(int(np.prod(output.shape)) for output in manifest.outputs)
    said = [f"{manifest.macs:,} multiply-accumulates and at least {moved:,} bytes a frame in half precision"]
    for name, (tflops, gigabytes) in PEAKS.items():
        if name in device_line():
            compute_us, memory_us = 2 * manifest.macs / tflops / 1e6, moved / gigabytes / 1e3
            said.append(f"floor on {name}: {compute_us:.1f} us of products, {memory_us:.1f} us of memory traffic")
    return said


def device_line() -> str:
    """The GPU, or why there is none."""
    try:
        return str(Cuda().device())
    except PhysedgeError as error:
        return f"no GPU ({error.found})"


if __name__ == "__main__":
    sys.exit(main())
