"""What the runtime adds to the bare engine: raw 640x480 frame to result, minus resize and inference.

    python benchmarks/overhead.py --bundle build/demo/pmrnet_s-demo.physedge --frames 200

Both come from the same frames: `net.answer` as a whole, and within it the times of resize and engine.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from machine import machine_line

from physedge_runtime import Frame, load


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", type=int, default=200)
    arguments = parser.parse_args()
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (480, 640, 3), dtype=np.uint8)
    whole_ms, resize_ms, engine_ms, overhead_ms = [], [], [], []
    with load(arguments.bundle).open(engine=arguments.engine, threads=arguments.threads, allow_rejected=True) as net:
        for index in range(arguments.frames + 10):
            frame = Frame(pixels=pixels, frame_id=index, captured_ns=time.monotonic_ns())
            started = time.perf_counter_ns()
            result = net.answer(frame)
            whole = (time.perf_counter_ns() - started) / 1e6
            if index < 10:
                continue
            whole_ms.append(whole)
            resize_ms.append(result.stages.preprocess_ms)
            engine_ms.append(result.stages.inference_ms)
            overhead_ms.append(whole - result.stages.preprocess_ms - result.stages.inference_ms)
        name = net.engine
    print(f"{name}, {arguments.threads} thread(s), {len(whole_ms)} frames of 640x480")
    for title, values in (
        ("frame to result", whole_ms),
        ("resize", resize_ms),
        ("engine", engine_ms),
        ("overhead above engine and resize", overhead_ms),
    ):
        quantiles = statistics.quantiles(values, n=10)
        print(f"  {title:<34} median {statistics.median(values):8.3f} ms   p90 {quantiles[8]:8.3f} ms")
    share = statistics.median(overhead_ms) / statistics.median(engine_ms)
    print(f"  overhead / engine {share:.4f}")
    print(machine_line())


if __name__ == "__main__":
    main()
