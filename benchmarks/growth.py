"""How the cost grows: with the side of the picture, with threads, with streams that share an engine, with calibration.

    python benchmarks/growth.py --model pmrnet_s --output docs/growth.png

Weights are random: times do not depend on them. Times on one thread are processor time; with several threads and
streams, wall time, so those two panels are only as good as the machine is quiet. Calibration is the time of the
quantiser for so many pictures, the engine's work included.
"""

from __future__ import annotations

import argparse
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from machine import machine_line
from matplotlib.figure import Figure

from physedge.models.registry import find
from physedge.models.reparameterise import reparameterise
from physedge_calibrate.bench import run_bench
from physedge_calibrate.quantize import quantize_unsigned
from physedge_export.graph import TracedGraph
from physedge_export.passes.table import apply_passes, approximate
from physedge_export.trace import trace
from physedge_runtime.engines import Engine, EngineRequest, open_engine
from physedge_runtime.frame import FrameSpec

Series = dict[str, dict[int, float]]


def traced(model: str, side: int, engine: str) -> TracedGraph:
    """The network with random weights as export hands it to an engine."""
    torch.manual_seed(0)
    spec = find(model).spec.model_copy(update={"frame": FrameSpec(height=side, width=side)})
    graph, _ = apply_passes(trace(reparameterise(find(model).build()), spec), engine)
    return graph


def quantised(graph: TracedGraph, side: int, count: int, engine: str) -> bytes:
    """INT8, calibrated with noise."""
    frames = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    ready = approximate(graph, engine)
    return quantize_unsigned(
        ready.model,
        list(frames),
        input_name="frame",
        float_nodes=ready.float_nodes,
        engine="openvino" if engine == "openvino" else "onnxruntime",
    ).model


def opened(graph: bytes, side: int, engine: str, threads: int) -> Engine:
    """The engine, ready."""
    request = EngineRequest(
        graph=graph,
        graph_sha256="0" * 64,
        input_shape=(1, side, side, 3),
        outputs={"probability": (1, 1, side, side)},
        threads=threads,
    )
    return open_engine(engine, request)


def by_side(
    model: str, engine: str, sides: list[int], rounds: int
) -> tuple[Series, dict[int, tuple[TracedGraph, bytes]]]:
    """Frames a second of processor time, full precision and INT8, on one thread."""
    graphs = {}
    for side in sides:
        graph = traced(model, side, engine)
        graphs[side] = graph, quantised(graph, side, 2, engine)
        print(f"exported at {side}", flush=True)
    engines, functions = [], {}
    for side, (graph, small) in graphs.items():
        for precision, data in (("full precision", graph.model), ("INT8", small)):
            ready = opened(data, side, engine, 1)
            engines.append(ready)
            frame = np.zeros((1, side, side, 3), np.uint8)
            functions[f"{precision} {side}"] = partial(ready.infer, frame)
    bench = run_bench(functions, rounds=rounds, generator=np.random.default_rng(0))
    series: Series = {"full precision": {}, "INT8": {}}
    for timing in bench.timings:
        precision, _, side_text = timing.name.rpartition(" ")
        series[precision][int(side_text)] = 1e3 / timing.cpu_median_ms
    for ready in engines:
        ready.close()
    return series, graphs


def by_threads(graph: bytes, side: int, engine: str, counts: list[int], rounds: int) -> Series:
    """Frames a second on the wall."""
    engines = {count: opened(graph, side, engine, count) for count in counts}
    frame = np.zeros((1, side, side, 3), np.uint8)
    bench = run_bench(
        {str(count): partial(ready.infer, frame) for count, ready in engines.items()},
        rounds=rounds,
        generator=np.random.default_rng(0),
    )
    return {"INT8": {int(timing.name): 1e3 / timing.median_ms for timing in bench.timings}}


def by_streams(graph: bytes, side: int, engine: str, counts: list[int], seconds: float) -> Series:
    """Frames a second of all streams together that ask one engine on one thread."""
    found = {}
    with opened(graph, side, engine, 1) as ready:
        for count in counts:
            answered = [0] * count
            until = time.monotonic() + seconds

            def ask(place: int, answered: list[int] = answered, until: float = until) -> None:
                frame = np.zeros((1, side, side, 3), np.uint8)
                while time.monotonic() < until:
                    ready.infer(frame)
                    answered[place] += 1

            threads = [threading.Thread(target=ask, args=(place,)) for place in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            found[count] = sum(answered) / seconds
    return {"all streams": found, "one stream": {count: total / count for count, total in found.items()}}


def by_calibration(graph: TracedGraph, side: int, engine: str, counts: list[int]) -> Series:
    """Seconds of processor time of the quantiser."""
    found = {}
    for count in counts:
        started = time.process_time()
        quantised(graph, side, count, engine)
        found[count] = time.process_time() - started
    return {"quantiser": found}


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pmrnet_s")
    parser.add_argument("--engine", default="openvino")
    parser.add_argument("--sides", type=int, nargs="+", default=[128, 192, 256, 384, 512])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--calibration", type=int, nargs="+", default=[4, 16, 32])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--output", type=Path, default=Path("docs/growth.png"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    sides, graphs = by_side(arguments.model, arguments.engine, arguments.sides, arguments.rounds)
    side = 256 if 256 in graphs else arguments.sides[0]
    graph, small = graphs[side]
    panels: dict[str, tuple[str, Series]] = {
        "side of the picture, pixels": ("frames/s of processor time, one thread", sides),
        f"threads, {side} pixels": (
            "frames/s on the wall", by_threads(small, side, arguments.engine, arguments.threads, arguments.rounds)
        ),
        f"streams on one engine, {side} pixels": (
            "frames/s on the wall", by_streams(small, side, arguments.engine, arguments.streams, arguments.seconds)
        ),
        f"calibration pictures, {side} pixels": (
            "s of processor time", by_calibration(graph, side, arguments.engine, arguments.calibration)
        ),
    }  # fmt: skip
    figure = Figure(figsize=(15, 3.8), layout="constrained", dpi=100)
    line = machine_line()
    for axes, (title, (unit, series)) in zip(figure.subplots(1, 4), panels.items(), strict=True):
        for name, values in series.items():
            print(f"{title}; {name}, {unit}: " + ", ".join(f"{key} {value:.1f}" for key, value in values.items()))
            axes.plot(list(values), list(values.values()), marker="o", label=name)
        highest = max(value for row in series.values() for value in row.values())
        ticks = sorted({key for row in series.values() for key in row})
        axes.set(xlabel=title, ylabel=unit, ylim=(0, 1.3 * highest), xticks=ticks)
        axes.legend(fontsize=8, loc="upper right")
        axes.grid(alpha=0.25)
    figure.suptitle(f"{arguments.model} on {arguments.engine}; {line}", fontsize=9)
    figure.savefig(arguments.output, metadata={"Software": None})
    print(line)


if __name__ == "__main__":
    main()
