"""A firmware that has the frames itself: it pushes them in, pulls the newest answer, and is never held up.

    python examples/firmware_loop/firmware_loop.py --bundle build/demo/pmrnet_s-demo.physedge --frames 150

Replace `Probe` by whatever hands you pixels. Nothing is left behind when the `with` block ends.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physedge_runtime import load
from physedge_runtime.sources import PushSource
from physedge_runtime.sources.synthetic import SyntheticSource
from physedge_runtime.stream import StreamEvent
from physedge_runtime.stream.loop import stream


class Probe:
    """Stands in for the device: a picture every 33 ms."""

    def __init__(self) -> None:
        self._scene = SyntheticSource()
        self._scene.open()

    def next_picture(self) -> NDArray[np.uint8]:
        frame = self._scene.read()
        assert frame is not None
        return frame.pixels


def log(event: StreamEvent) -> None:
    print(f"{event.at_ns / 1e9:.3f} {event.kind}: {event.text}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--engine", default="auto")
    arguments = parser.parse_args()

    probe, source = Probe(), PushSource(name="probe", period_ns=33_333_333)
    answered = 0
    with load(arguments.bundle).open(engine=arguments.engine) as net, stream(net, source, on_event=log) as running:
        started = time.monotonic()
        for _ in range(arguments.frames):
            source.push(probe.next_picture())  # the array is handed over: it must not be written again
            item = running.poll()  # the newest thing, or None; it never waits
            if item is None:
                continue
            if item.result is not None:
                answered += 1  # item.frame and item.result belong together: draw them together
            else:
                pass  # take the answer off the screen; item.withdrawn_text says why
        source.end()
        print(f"{arguments.frames} frames pushed in {time.monotonic() - started:.1f} s, {answered} answers seen")
    print("\n".join(running.summary().lines()))


if __name__ == "__main__":
    main()
