"""The edge form and the device form side by side: raw 640x480 frame to result, every engine and precision, in one run.

    python benchmarks/forms.py --rounds 21
    python benchmarks/forms.py

Both with the weights that come along, at
256x256 on one thread, processor time, all in turns. Resize and decoding are inside every figure. `timed`: what INT8
makes slower, by the engine's own counters, stays in float. `--profiles PNG` also draws where the time goes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import machine_line
from numpy.typing import NDArray

from physedge.deploy.network import demo_weights, load_weights
from physedge.deploy.profile_picture import draw_profiles
from physedge.models.registry import find
from physedge.models.reparameterise import reparameterise
from physedge_calibrate.bench import run_bench
from physedge_calibrate.profile import profile_graph, shortened, slower_parts
from physedge_calibrate.quantize import QuantizedModel, quantize_unsigned
from physedge_export.graph import TracedGraph
from physedge_export.passes.table import apply_passes, approximate
from physedge_export.trace import trace
from physedge_runtime.decode import Head, decode
from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.frame import Frame
from physedge_runtime.resize import prepare
from physedge_runtime.results import StageTimes

ENGINES = ("onnxruntime", "openvino")
_NO_TIMES = StageTimes(queue_ms=0.0, preprocess_ms=0.0, inference_ms=0.0)


def requests_of(name: str, weights: Path) -> dict[str, EngineRequest]:
    """Engine and precision to the graph as export makes it for them."""
    torch.manual_seed(0)
    network = find(name).build().eval()
    load_weights(network, weights)
    spec = find(name).spec
    traced = trace(reparameterise(network.eval()), spec)
    frames = list(np.random.default_rng(0).integers(0, 256, (4, *spec.input_shape), dtype=np.uint8))
    found = {}
    for engine in ENGINES:
        full, _ = apply_passes(traced, engine)
        ready = approximate(full, engine)
        small = quantised(ready, frames, engine, set())

        def request(graph: bytes) -> EngineRequest:
            return EngineRequest(
                graph=graph,
                graph_sha256="0" * 64,
                input_shape=(1, *spec.input_shape),
                outputs={output.name: output.shape for output in traced.outputs},
                threads=1,
            )

        found |= {f"{engine} fp32": request(full.model), f"{engine} int8": request(small.model)}
        profiles = [
            profile_graph(engine, found[f"{engine} {precision}"], frames[0][np.newaxis], rounds=12)
            for precision in ("fp32", "int8")
        ]
        slower = slower_parts(*profiles)
        nodes = {node for node, module in full.module_of_node.items() if shortened(module, 1) in slower}
        if nodes.intersection(small.quantised_nodes):
            timed = quantised(ready, frames, engine, nodes)
            found[f"{engine} int8, timed"] = request(timed.model)
            print(f"{name} on {engine}: in float again: {', '.join(slower)}", flush=True)
    return found


def quantised(graph: TracedGraph, frames: list[NDArray[np.uint8]], engine: str, also: set[str]) -> QuantizedModel:
    """INT8 with some further nodes in float."""
    return quantize_unsigned(
        graph.model,
        frames,
        input_name="frame",
        float_nodes=graph.float_nodes | also,
        engine="openvino" if engine == "openvino" else "onnxruntime",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--profiles", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    weights = {name: demo_weights(name) for name in ("pmrnet_e", "pmrnet_s")}
    requests = {
        f"{name} {title}": (name, title.split()[0], request)
        for name, path in weights.items()
        for title, request in requests_of(name, path).items()
    }
    pixels = np.random.default_rng(1).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    functions: dict[str, Callable[[], object]] = {}
    for title, (name, engine, request) in requests.items():
        ready, spec = open_engine(engine, request), find(name).spec

        def answer(ready=ready, spec=spec) -> object:  # type: ignore[no-untyped-def]
            frame = Frame(pixels=pixels, captured_ns=time.monotonic_ns())
            assert spec.frame is not None
            outputs = ready.infer(prepare(frame, spec.frame)[np.newaxis])
            return decode(outputs, spec, Head(frame=frame, stages=_NO_TIMES, age_ms=0.0, engine="")).mask

        functions[title] = answer
    bench = run_bench(functions, rounds=arguments.rounds, generator=np.random.default_rng(0))
    base = bench.timing("pmrnet_e onnxruntime fp32").cpu_median_ms
    print(f"raw 640x480 frame to mask, networks at 256x256, one thread, {arguments.rounds} rounds in turns")
    print("| what | median CPU ms | least ms | of pmrnet_e fp32 in ONNX Runtime | of fp32, same engine |")
    print("|---|---|---|---|---|")
    for timing in bench.timings:
        full = bench.timing(timing.name.replace("int8, timed", "fp32").replace("int8", "fp32")).cpu_median_ms
        own = timing.cpu_median_ms
        print(f"| {timing.name} | {own:.1f} | {timing.least_ms:.1f} | {base / own:.2f}x | {full / own:.2f}x |")
    print(machine_line(), flush=True)
    if arguments.profiles:
        frame = np.random.default_rng(2).integers(0, 256, (1, 256, 256, 3), dtype=np.uint8)
        profiles = [
            profile_graph(engine, request, frame, title=title, rounds=16)
            for title, (_, engine, request) in requests.items()
        ]
        print("| profile | sum of operators, shortest ms | explained | without counters, CPU ms |\n|---|---|---|---|")
        for one in profiles:
            print(f"| {one.title} | {one.sum_ms:.1f} | {one.explained:.1%} | {one.whole_ms:.1f} |")
            print("  " + ", ".join(f"{kind} {value:.1f}" for kind, value in one.by_kind().items()))
        for name in weights:
            chosen = [one for one in profiles if one.title.startswith(name)]
            draw_profiles(arguments.profiles.with_stem(f"{arguments.profiles.stem}-{name}"), chosen)


if __name__ == "__main__":
    main()
