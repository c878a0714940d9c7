"""What the runtime adds to the bare engine: raw 640x480 frame to result, health, trust and age on.

    python benchmarks/overhead.py --bundle build/demo/pmrnet_s-demo.physedge

Three loops over the same frames, in turns; the time from answer to answer in each, and the processor time of the whole
process, which other work on the machine disturbs less:

    bare     resize and engine, nothing else
    answer   `net.answer`: trust signals, mask, ages, stage times
    stream   `net.stream` over the frames: also signal health, decisions, summary; the look has a thread of its own
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from machine import machine_line
from soak import pictures

from physedge_runtime import Frame, load
from physedge_runtime.net import Net
from physedge_runtime.stream.loop import stream

SETTLING = 3


def frames_of(count: int) -> Iterator[Frame]:
    """Numbered frames of 640x480."""
    for index in range(count):
        yield Frame(pixels=STOCK[index % len(STOCK)], frame_id=index, captured_ns=time.monotonic_ns())


def bare(net: Net, count: int) -> Iterator[object]:
    """Resize and engine."""
    for frame in frames_of(count):
        yield net.outputs(net.prepare(frame))


def answer(net: Net, count: int) -> Iterator[object]:
    """A result a frame."""
    for frame in frames_of(count):
        yield net.answer(frame)


def streamed(net: Net, count: int) -> Iterator[object]:
    """A result a frame, out of a stream."""
    with stream(net, frames_of(count)) as running:
        yield from running


STOCK = pictures((480, 640))
LOOPS: dict[str, Callable[[Net, int], Iterator[object]]] = {"bare": bare, "answer": answer, "stream": streamed}


def intervals_ms(answers: Iterator[object]) -> list[float]:
    """From answer to answer, without the first few."""
    stamps = [time.perf_counter_ns() for _ in answers]
    return [(after - before) / 1e6 for before, after in zip(stamps[SETTLING:], stamps[SETTLING + 1 :], strict=False)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--frames", type=int, default=70, help="In each loop of each round.")
    arguments = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in LOOPS}
    spent_ms: dict[str, list[float]] = {name: [] for name in LOOPS}
    with load(arguments.bundle).open(engine=arguments.engine, threads=arguments.threads, allow_rejected=True) as net:
        for _ in range(arguments.rounds):
            for name, loop in LOOPS.items():
                started = time.process_time_ns()
                times[name] += intervals_ms(loop(net, arguments.frames))
                spent_ms[name].append((time.process_time_ns() - started) / 1e6 / arguments.frames)
        name = net.engine
    print(f"{name}, {arguments.threads} thread(s), {len(times['bare'])} frames of 640x480 in each loop")
    medians = {loop: statistics.median(values) for loop, values in times.items()}
    for loop, values in times.items():
        p90 = statistics.quantiles(values, n=10)[8]
        added = medians[loop] - medians["bare"]
        print(
            f"  {loop:<7} median {medians[loop]:8.3f} ms, p90 {p90:8.3f} ms; above the bare loop {added:+7.3f} ms,"
            f" {added / medians['bare']:+.4f} of it; processor time {statistics.median(spent_ms[loop]):.3f} ms a frame"
        )
    print(machine_line())


if __name__ == "__main__":
    main()
