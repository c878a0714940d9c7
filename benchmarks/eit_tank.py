"""Measured tanks beside their truth: classical reconstructions and a bundle's, a table and a contact sheet.

    python benchmarks/eit_tank.py --bundle build/eit_post.physedge --data ../shared/data/eit/uef2d --out build/eit

Data: A. Hauptmann, V. Kolehmainen, N. M. Mach, T. Savolainen, A. Seppanen, S. Siltanen, "Open 2D electrical impedance
tomography data archive", arXiv:1704.01178 (2017). No person is shown: the targets stand in a water tank.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from machine import machine_line
from numpy.typing import NDArray

from physedge.physics.eit.linear import greit, linearise, noser
from physedge.physics.eit.tank import Tank
from physedge.physics.eit.total_variation import total_variation
from physedge_calibrate.metrics.ktc import ktc_score, segment
from physedge_calibrate.metrics.reconstruction import correlation, ssim
from physedge_runtime import load
from physedge_runtime.frame import Frame
from physedge_runtime.net import Net
from physedge_runtime.results import Reconstruction
from physedge_runtime.sources.voltage_files import read_voltages
from physedge_runtime.voltage_protocol import find_protocol

TARGETS = ("1_1", "1_3", "2_1", "2_4", "3_1", "3_3", "3_4", "4_4")


def truth_of(folder: Path, target: str, *, clockwise: bool) -> NDArray[np.uint8]:
    """(256, 256) of 0, 1, 2 in the network's coordinates."""
    from PIL import Image

    labels = np.asarray(Image.open(folder / "truth" / f"truth_{target}.png"), np.uint8)
    return labels[:, ::-1] if clockwise else labels


def signed(labels: NDArray[np.uint8], side_px: int) -> NDArray[np.float64]:
    """-1 where resistive, 1 where conductive, averaged to the image's grid."""
    values = np.where(labels == 1, -1.0, np.where(labels == 2, 1.0, 0.0))
    step = labels.shape[0] // side_px
    return values.reshape(side_px, step, side_px, step).mean(axis=(1, 3))


def figures(image: NDArray[np.float64], labels: NDArray[np.uint8]) -> dict[str, float]:
    """Correlation, relative error and SSIM (best scale) with the signed truth, and the KTC score."""
    truth = signed(labels, image.shape[0])
    scale = float((image * truth).sum() / max((image**2).sum(), 1e-12))
    error = float(np.linalg.norm(scale * image - truth) / np.linalg.norm(truth))
    return {
        "correlation": correlation(image, truth),
        "relative_error": error,
        "ssim": ssim(scale * image, truth, value_range=2.0),
        "ktc": ktc_score(segment(image), np.ascontiguousarray(labels)),
    }


def draw(images: dict[str, dict[str, NDArray[np.float64]]], path: Path) -> None:
    """The contact sheet: a row a method, a column a target, the truth first."""
    from matplotlib.figure import Figure

    methods = list(next(iter(images.values())))
    figure = Figure(figsize=(1.7 * len(images) + 0.6, 1.75 * len(methods)), layout="constrained", dpi=110)
    grid = np.asarray(figure.subplots(len(methods), len(images)))
    for column, (target, row) in enumerate(images.items()):
        for line, method in enumerate(methods):
            axes, image = grid[line, column], row[method]
            largest = float(np.abs(image).max()) or 1.0
            axes.imshow(image, cmap="RdBu_r", vmin=-largest, vmax=largest)
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(method.replace(", ", ",\n"))
            if line == 0:
                axes.set_title(target)
    figure.savefig(path)


def main() -> None:
    """Print the table, write the contact sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/eit/uef2d"))
    parser.add_argument("--engine", default="onnxruntime")
    parser.add_argument("--out", type=Path, default=Path("build/eit"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    print(machine_line())
    table: dict[str, dict[str, dict[str, float]]] = {}
    sheet: dict[str, dict[str, NDArray[np.float64]]] = {}
    with load(asked.bundle).open(engine=asked.engine, threads=1, allow_rejected=True) as net:
        spec = net.spec.voltages
        assert spec is not None
        body = linearise(
            Tank(electrodes=spec.electrodes, cover=spec.cover), find_protocol(spec.protocol, spec.electrodes)
        )
        linear = {"NOSER, Laplace": noser(body).reconstruction(), "GREIT": greit(body)}
        rest = read_voltages(asked.data / "datamat_1_0.mat", spec)[0]
        frames = {
            target: np.stack([rest, read_voltages(asked.data / f"datamat_{target}.mat", spec)[0]]) for target in TARGETS
        }
        for target, frame in frames.items():
            labels = truth_of(asked.data, target, clockwise=spec.clockwise)
            difference = ((frame[1] - frame[0]) * body.frame / frame[0]).astype(np.float64)
            images = {name: matrix(difference).reshape(64, 64) for name, matrix in linear.items()}
            images["TV"] = total_variation(body, difference).reshape(64, 64)
            result = net.infer(frame)
            assert isinstance(result, Reconstruction)
            images[net.spec.name] = result.image.astype(np.float64)
            table[target] = {name: figures(image, labels) for name, image in images.items()}
            mirror = -1 if spec.clockwise else 1
            sheet[target] = {
                "truth": signed(labels, 64)[:, ::mirror],
                **{name: image[:, ::mirror] for name, image in images.items()},
            }
        rate = speed(net, next(iter(frames.values())))
    draw(sheet, asked.out / "tanks.png")
    record = {"targets": table, "frames_per_second": rate}
    (asked.out / "tanks.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    show(table)
    print(
        f"\n{rate['whole']:.0f} frames a second of one thread, voltages to image with trust, on {asked.engine}; "
        f"{rate['graph']:.0f} by the bare graph: the rest takes {rate['graph'] / rate['whole'] - 1:.0%} of its time"
    )
    print(asked.out / "tanks.png")


def speed(net: Net, frame: NDArray[np.float32], count: int = 30, rounds: int = 15) -> dict[str, float]:
    """Frames per second of processor time: from voltages to a result with trust, and by the bare graph; medians.

    Both take turns, so that a processor that slows down slows both.
    """
    inputs = net.prepare(Frame(pixels=frame))
    works = {"whole": lambda: net.infer(frame), "graph": lambda: net.outputs(inputs)}
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            started = time.process_time()
            for _ in range(count):
                work()
            found[name].append(count / (time.process_time() - started))
    return {name: float(np.median(rates)) for name, rates in found.items()}


def show(table: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print the tables in Markdown."""
    methods = list(next(iter(table.values())))
    for figure in ("correlation", "relative_error", "ssim", "ktc"):
        print(f"\n| {figure} | " + " | ".join(table) + " | mean |")
        print("|---|" + "---|" * (len(table) + 1))
        for method in methods:
            values = [table[target][method][figure] for target in table]
            print(f"| {method} | " + " | ".join(f"{value:.2f}" for value in values) + f" | {np.mean(values):.3f} |")


if __name__ == "__main__":
    main()
