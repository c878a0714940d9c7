"""The real engine behind a stream for a long time: speed, tails, memory, threads, file handles.

    python benchmarks/soak.py --bundle build/demo/pmrnet_s-demo.physedge --frames 10000

The same 24 synthetic pictures go round and round, so that the answers to each are known: one that ever differs is
counted, and is an error.
"""

from __future__ import annotations

import argparse
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
from machine import machine_line
from numpy.typing import NDArray

from physedge_runtime import Segmentation, load
from physedge_runtime.stream.loop import stream

PICTURES = 24
SAMPLES = 200
HANG_MS = 600_000.0


def pictures(shape: tuple[int, int] = (288, 384)) -> list[NDArray[np.uint8]]:
    """Smooth blobs on a ramp, each another: uint8 (height, width, 3)."""
    generator = np.random.default_rng(0)
    rows, columns = np.indices(shape)
    found = []
    for _ in range(PICTURES):
        top, left, radius = generator.uniform(80, 200), generator.uniform(80, 300), generator.uniform(20, 60)
        blob = 90 * np.exp(-((rows - top) ** 2 + (columns - left) ** 2) / (2 * radius**2))
        base = 90 + columns / 8 + generator.normal(0, 4, shape)
        found.append(np.stack([base + blob, base * 0.7 + blob * 0.3, base * 0.5], axis=2).clip(0, 255).astype(np.uint8))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", type=int, default=10_000)
    arguments = parser.parse_args()
    stock = pictures()
    process = psutil.Process()
    samples: list[tuple[int, float, int, int]] = []
    known: dict[int, bytes] = {}
    other = 0
    every = max(1, arguments.frames // SAMPLES)

    def frames() -> Iterator[NDArray[np.uint8]]:
        return itertools.islice(itertools.cycle(stock), arguments.frames)

    with load(arguments.bundle).open(engine=arguments.engine, threads=arguments.threads, allow_rejected=True) as net:
        started, cpu = time.monotonic(), process.cpu_times()
        # A machine shared with others may take the processor away for longer than a device's would be: no hang here.
        with stream(net, frames(), hang_ms=HANG_MS) as running:
            for result in running:
                assert isinstance(result, Segmentation)
                answer = result.probability.tobytes()
                other += known.setdefault(result.frame_id % PICTURES, answer) != answer
                if result.frame_id % every == 0:
                    size = process.memory_info().rss / 1e6
                    samples.append((result.frame_id, size, process.num_threads(), process.num_fds()))
                    if result.frame_id % (20 * every) == 0:
                        print(
                            f"  {result.frame_id} frames, {time.monotonic() - started:.0f} s, {size:.1f} MB", flush=True
                        )
            summary = running.summary()
        took_s, after = time.monotonic() - started, process.cpu_times()
        name = net.engine
    steady = samples[len(samples) // 10 :]
    slope = np.polyfit([row[0] for row in steady], [row[1] for row in steady], 1)[0]
    print(
        f"{summary.answers} of {arguments.frames} frames answered in {took_s:.0f} s by {name}, "
        f"{arguments.threads} thread(s); processor time {after.user + after.system - cpu.user - cpu.system:.0f} s"
    )
    print(f"  {summary.answers / took_s:.1f} frames/s; inference {summary.stages['inference']}")
    print(f"  answers that differ from the first to the same picture: {other}; drops {dict(summary.drops)}")
    print(
        f"  resident {steady[0][1]:.1f} MB at frame {steady[0][0]}, {steady[-1][1]:.1f} MB at the end, "
        f"slope {slope * 10_000:+.3f} MB in 10,000 frames"
    )
    print(
        f"  threads {steady[0][2]} to {steady[-1][2]}, file handles {steady[0][3]} to {steady[-1][3]}; "
        f"{threading.active_count()} Python thread(s) left; safe state: {summary.safe_state or 'never'}"
    )
    print(machine_line())


if __name__ == "__main__":
    main()
