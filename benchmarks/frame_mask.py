"""The mask at the frame's size: what the smooth one costs beside the nearest pixel's and beside a cubic resize.

    python benchmarks/frame_mask.py

One lesion of three sizes on a grid of 256x256, brought to two frame sizes, on one thread, the ways in turns; the median
time of each, and its ratio to the nearest pixel's, which is what there was before:

    nearest   the grid's mask, each pixel of the frame the nearest point of the grid
    cubic     the grid's mask by OpenCV's cubic resize, then one half: what the film drew before
    smooth    the probability by whole-number bilinear weights, then the threshold: film, page, SEG and figures now
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
from machine import machine_line

from physedge_runtime.decode import foreground
from physedge_runtime.frame import FrameSpec
from physedge_runtime.frame_mask import mask_on_frame
from physedge_runtime.resize import to_frame

SIDE_PX = 256
ROUNDS = 60
SIZES = ((480, 640), (1080, 1920))


def lesion(radius_px: float) -> np.ndarray:
    """Probability (1, row, column) of a disc with a soft border."""
    row, column = np.mgrid[0:SIDE_PX, 0:SIDE_PX]
    distance_px = np.hypot(row - 128.0, column - 120.0) - radius_px
    return (1 / (1 + np.exp(distance_px / 2))).astype(np.float32)[np.newaxis]


def in_turns(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, run in ways.items():
            begun = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - begun) * 1e3)
    return {name: statistics.median(found) for name, found in times.items()}


def main() -> None:
    """Print the table."""
    cv2.setNumThreads(1)
    spec = FrameSpec(height=SIDE_PX, width=SIDE_PX)
    print(machine_line())
    print("| frame | of the grid | nearest | cubic / nearest | smooth / nearest |\n|---|---|---|---|---|")
    for size in SIZES:
        for radius_px in (30, 60, 120):
            probability = lesion(radius_px)
            mask = foreground(probability, 0.5)
            found = in_turns(
                {
                    "nearest": lambda mask=mask, size=size: to_frame(mask, spec, size),
                    "cubic": lambda mask=mask, size=size: (
                        cv2.resize(mask.astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC) > 0.5
                    ),
                    "smooth": lambda probability=probability, size=size: mask_on_frame(probability, 0.5, spec, size),
                }
            )
            base = found["nearest"]
            print(
                f"| {size[1]}x{size[0]} | {mask.mean():.0%} | {base:.2f} ms | {found['cubic'] / base:.1f} | "
                f"{found['smooth'] / base:.1f} |"
            )


if __name__ == "__main__":
    main()
