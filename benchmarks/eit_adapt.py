"""What training from measured voltages alone does to images: 24 tanks without truth teach, eight with truth judge.

    python benchmarks/eit_adapt.py --sim sim --weights runs/eit_post/best.safetensors --data ../shared/data/eit/uef2d

Rows: the network as trained on simulations; fitted to the 24 tanks in the approximation-error form; fitted to the plain
residual J x - d, which is wrong for true images; a fresh network that saw nothing but these voltages. No truth of any
tank is used, and none of the eight that judge is fitted to.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from eit_tank import TARGETS, figures, truth_of
from machine import machine_line
from numpy.typing import NDArray

from physedge.deploy.network import NetworkChoice, find_network, load_weights
from physedge.models.impedance import ImpedanceNetwork
from physedge.models.registry import load_factory
from physedge.train.adapt import measurements, simulated_measurements
from physedge.train.forward_consistency import (
    AdaptOptions,
    ApproximationError,
    adapt,
    approximation_error,
    forward_misfit,
)
from physedge_calibrate.voltage_frames import read_declaration
from physedge_runtime.frame import VoltageSpec

SHOWN = 8


def network_of(model: str, voltages: VoltageSpec, weights: Path | None) -> ImpedanceNetwork:
    """Fresh where there are no weights."""
    network = load_factory(find_network(NetworkChoice(model=model)).factory)(voltages=voltages)
    assert isinstance(network, ImpedanceNetwork)
    network.load_physics()
    if weights is not None:
        load_weights(network, weights)
    return network.eval()


@torch.no_grad()
def images_of(network: ImpedanceNetwork, frames: torch.Tensor) -> NDArray[np.float64]:
    """(frame, height, width)."""
    image, _linear = network.reconstruct(network.difference(frames), torch.zeros(len(frames), dtype=torch.int64))
    return image[:, 0].double().numpy()


def white_error(network: ImpedanceNetwork, frames: torch.Tensor) -> ApproximationError:
    """What takes the linear body for the true one: no mean, the same deviation for all voltages."""
    with torch.no_grad():
        deviation = float(network.difference(frames).square().mean().sqrt())
    count = frames.shape[-1]
    return ApproximationError(mean=torch.zeros(count), whitener=torch.eye(count) / (0.1 * deviation))


def draw(rows: dict[str, NDArray[np.float64]], titles: list[str], path: Path) -> None:
    """A row a network, a column a tank without truth."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.7 * SHOWN + 0.6, 1.75 * len(rows)), layout="constrained", dpi=110)
    grid = np.asarray(figure.subplots(len(rows), SHOWN))
    for line, (name, images) in enumerate(rows.items()):
        for column in range(SHOWN):
            axes, image = grid[line, column], images[column]
            largest = float(np.abs(image).max()) or 1.0
            axes.imshow(image, cmap="RdBu_r", vmin=-largest, vmax=largest)
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(name, fontsize=8)
            if line == 0:
                axes.set_title(titles[column])
    figure.savefig(path)


def main() -> None:
    """Print the table, draw the tanks that taught."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sim", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--model", default="eit_post")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/eit/uef2d"))
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--out", type=Path, default=Path("build/eit"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    spec = read_declaration(asked.sim)
    rest = asked.data / "datamat_1_0.mat"
    taught = torch.from_numpy(measurements(asked.data / "unlabelled", rest, spec))
    judged = torch.cat(
        [torch.from_numpy(measurements(asked.data / f"datamat_{target}.mat", rest, spec)) for target in TARGETS]
    )
    truths = [truth_of(asked.data, target, clockwise=spec.clockwise) for target in TARGETS]
    frames, images = (torch.from_numpy(part) for part in simulated_measurements(asked.sim, spec))
    trained = network_of(asked.model, spec, asked.weights)
    error = approximation_error(trained, frames, images)
    white = white_error(trained, taught)
    options = AdaptOptions(steps=asked.steps)
    ways: dict[str, tuple[Path | None, ApproximationError | None, AdaptOptions]] = {
        "trained on simulations": (asked.weights, None, options),
        "fitted, approximation error": (asked.weights, error, options),
        "fitted, plain residual": (asked.weights, white, options),
        "fresh, voltages alone": (
            None,
            error,
            AdaptOptions(steps=2 * asked.steps, learning_rate=1e-3, anchor=0.1),
        ),
        "fresh, untrained (linear)": (None, None, options),
    }
    mirror = -1 if spec.clockwise else 1
    table: dict[str, dict[str, float]] = {}
    sheet: dict[str, NDArray[np.float64]] = {}
    for name, (weights, against, how) in ways.items():
        network = network_of(asked.model, spec, weights)
        if against is not None:
            adapt(network, taught, against, how)
        scores = [figures(image, truth) for image, truth in zip(images_of(network, judged), truths, strict=True)]
        table[name] = {
            "misfit_taught": float(forward_misfit(network, taught, error).mean()),
            "misfit_judged": float(forward_misfit(network, judged, error).mean()),
            **{key: float(np.mean([score[key] for score in scores])) for key in scores[0]},
        }
        print(name, table[name], flush=True)
        sheet[name] = images_of(network, taught)[:, :, ::mirror]
    files = sorted((asked.data / "unlabelled").glob("*.mat"))
    draw(sheet, [file.stem.removeprefix("datamat_") for file in files], asked.out / "adapted.png")
    (asked.out / "adapted.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    print(machine_line())
    print("\n| | misfit, 24 that taught | misfit, 8 that judge | correlation | relative error | SSIM | KTC |")
    print("|---|---|---|---|---|---|---|")
    for name, row in table.items():
        cells = " | ".join(f"{row[key]:.3f}" for key in row)
        print(f"| {name} | {cells} |")
    print(asked.out / "adapted.png")


if __name__ == "__main__":
    main()
