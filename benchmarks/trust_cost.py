"""What the trust signals in a graph cost: the same graph with and without them, in turns.

python benchmarks/trust_cost.py --bundle build/demo/pmrnet_s-demo.physedge
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.utils
from machine import machine_line
from numpy.typing import NDArray

from physedge_runtime import load
from physedge_runtime.engines import Engine, EngineRequest, open_engine
from physedge_runtime.trust import is_signal

ENGINES = ("openvino", "onnxruntime")
FEWEST = 20


def cut(graph: bytes) -> bytes:
    """The graph without its trust signals and what only they need."""
    model = onnx.load_from_string(graph)
    kept = [output.name for output in model.graph.output if not is_signal(output.name)]
    names = [one.name for one in model.graph.input]
    smaller: bytes = onnx.utils.Extractor(model).extract_model(names, kept).SerializeToString()
    return smaller


def timed(engine: Engine, inputs: NDArray[Any]) -> float:
    """One inference, milliseconds."""
    started = time.perf_counter_ns()
    engine.infer(inputs)
    return (time.perf_counter_ns() - started) / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=300)
    arguments = parser.parse_args()
    bundle = load(arguments.bundle)
    manifest = bundle.manifest
    shape = (1, *manifest.spec.input_shape)
    inputs = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    entries = [one.entry for one in manifest.artefacts if one.entry in ("model.onnx", "model.int8-cpu.onnx")]
    for entry in entries:
        graph = bundle.read(entry)
        for name in ENGINES:
            engines = []
            for text in (graph, cut(graph)):
                outputs = {one.name: (1, *one.shape) for one in manifest.outputs if one.name.encode() in text}
                request = EngineRequest(graph=text, graph_sha256="", input_shape=shape, outputs=outputs, threads=1)
                engines.append(open_engine(name, request))
            times: tuple[list[float], list[float]] = ([], [])
            for _ in range(FEWEST + arguments.frames):
                for engine, values in zip(engines, times, strict=True):
                    values.append(timed(engine, inputs))
            whole, less = (statistics.median(values[FEWEST:]) for values in times)
            ratios = [one / other for one, other in zip(times[0][FEWEST:], times[1][FEWEST:], strict=True)]
            print(
                f"{entry:<20} {engines[0].fingerprint:<28} with {whole:.3f} ms, without {less:.3f} ms:"
                f" {whole / less - 1:+.4f} (median of the ratios {statistics.median(ratios) - 1:+.4f})"
            )
            for engine in engines:
                engine.close()
    print(machine_line())


if __name__ == "__main__":
    main()
