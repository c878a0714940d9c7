"""What the density of a trained PhysNet means: on lesions of known density, and on pictures that nobody outlined.

    python benchmarks/physnet_density.py --run runs/physnet_e --data ../shared/data/brain_mri --densities tumours

Lesions of the set's validation part are set into validation pictures; the training saw neither. On those without a
tumour of their own everything is known: the overlap 2 sum(u v) / sum(u² + v²) of u_0 with the density, the share of
lesions of which the densest cell is found, the haze (mean of u_0 over brain where nothing of the lesion is), how steep
u_0 falls at the lesion's front, and the correlation of D / rho, with what the front of the known density tells of it
beside. Every picture gets several lesions, one at a time; intervals are of 95 %, by picture. Without a lesion set in,
there is the mass by class and the share of it in the scalp and outside of the head. `--sheet` draws u_0 on every third
picture: for the eye, and not to be handed on, since they are pictures of patients.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from machine import machine_line
from numpy.typing import NDArray

from physedge.deploy.network import load_weights
from physedge.models.blocks.front import FrontReading, crossing
from physedge.models.physnet import PhysNet
from physedge.models.registry import factory_options, find
from physedge.train.inputs import Normaliser, planar
from physedge.train.lesions import Grafted, Lesions, outside_of_brain
from physedge_calibrate.class_folders import read_class_folders
from physedge_calibrate.statistics import mean_interval, statistic_interval
from physedge_runtime.frame import Frame
from physedge_runtime.resize import prepare
from physedge_runtime.spec import read_spec

_TILE_PX, _COLUMNS = 160, 12


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--densities", type=Path, required=True)
    parser.add_argument("--model", default="physnet_e")
    parser.add_argument("--draws", type=int, default=5, help="Lesions set into each picture, one at a time.")
    parser.add_argument("--sheet", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    spec = read_spec(asked.run / "spec.toml")
    assert spec.frame is not None and spec.growth is not None
    network = find(asked.model).build(**factory_options(spec))
    assert isinstance(network, PhysNet)
    load_weights(network, asked.run / "best.safetensors")
    network.eval()
    normalise = Normaliser(spec)
    samples = read_class_folders(asked.data / "val", spec.classes)
    frames = np.stack([prepare(Frame(pixels=sample.picture()), spec.frame) for sample in samples])
    pictures = planar(torch.from_numpy(frames))
    labels = np.array([sample.label for sample in samples])
    healthy = torch.from_numpy(labels == spec.classes.index(spec.growth.none_class))
    lesions = Lesions(asked.densities, spec.growth, split="val")
    generator = torch.Generator().manual_seed(0)
    own = torch.nonzero(healthy)[:, 0].repeat(asked.draws)
    with torch.no_grad():
        grafted = lesions.set_into(pictures[own], torch.zeros(len(own), dtype=torch.bool), generator)
        answer = network(normalise(pictures))
        density, place = network.first_density(normalise(grafted.pictures))
    _print_known(network, density, place, grafted, own)
    _print_own(answer, pictures, labels, spec.classes)
    print(machine_line())
    if asked.sheet is not None:
        asked.sheet.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(asked.sheet), _sheet(frames, answer["density"][:, 0].numpy(), labels, len(spec.classes)))


def _print_known(
    network: PhysNet, density: torch.Tensor, place: torch.Tensor, grafted: Grafted, pictures: torch.Tensor
) -> None:
    assert network.block is not None
    large = grafted.density.amax(dim=(1, 2, 3)) > 0.5
    u, v, groups = density[large], grafted.density[large], pictures[large].numpy()
    rng = np.random.default_rng(0)

    def say(name: str, figures: torch.Tensor, lowest: float = 0.0, highest: float = 1.0) -> None:
        values = figures.double().numpy()
        one = mean_interval(values, groups=groups, generator=rng).within(lowest, highest)
        print(f"- {name}: {one.estimate:.3f} ({one.low:.3f} to {one.high:.3f})")

    print(f"{len(u)} lesions of known density in {len(set(groups))} pictures without a tumour of their own:\n")
    say("overlap with the density", 2.0 * (u * v).sum(dim=(1, 2, 3)) / (u.square() + v.square()).sum(dim=(1, 2, 3)))
    highest = u.flatten(1).argmax(dim=1)
    say("densest cell is in the lesion", (v.flatten(1).gather(1, highest[:, None])[:, 0] > 0.2).float())
    sound = (v < 0.01) & (outside_of_brain(grafted.pictures[large]) == 0)
    say("haze: mean of u_0 over brain without a lesion", (u * sound).sum(dim=(1, 2, 3)) / sound.sum(dim=(1, 2, 3)))
    front, band = FrontReading(network.block.spec), crossing(v) ** 3
    steep, known = ((front.steepness(one) * band).sum(dim=(1, 2, 3)) for one in (u, v))
    say("how steep u_0 falls at the lesion's front, as a share of the density's", steep / known, highest=np.inf)
    values = network.block.parameter.low + network.block.parameter.span * place
    ratio = (values[:, 0] - values[:, 1])[large].double().numpy()
    truth = grafted.log_ratio[large, 0].double().numpy()
    print(f"- correlation of log(D / rho) with the truth: {_correlation(ratio, truth, groups)}")
    missed = float(np.sqrt(np.mean((ratio - truth) ** 2)))
    print(f"- it misses log(D / rho) by {missed:.2f} (root of the mean square), whose spread is {truth.std():.2f}")
    for name, density_read in (("the known density", v), ("u_0", u)):
        read = front(density_read)[:, 0].double().numpy()
        print(f"- correlation of what the front of {name} tells: {_correlation(read, truth, groups)}")
    print()


def _correlation(x: NDArray[np.float64], y: NDArray[np.float64], groups: NDArray[np.int64]) -> str:
    x, y = x - x.mean(), y - y.mean()
    sums = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)

    def correlation(totals: NDArray[np.float64]) -> NDArray[np.float64]:
        mean_x, mean_y, xx, yy, xy = (totals[:, 1:] / totals[:, :1]).T
        spreads = np.sqrt((xx - mean_x**2) * (yy - mean_y**2))
        found: NDArray[np.float64] = (xy - mean_x * mean_y) / spreads
        return found

    one = statistic_interval(sums, correlation, groups=groups, generator=np.random.default_rng(0)).within(-1.0, 1.0)
    return f"{one.estimate:.3f} ({one.low:.3f} to {one.high:.3f})"


def _print_own(
    answer: dict[str, torch.Tensor], pictures: torch.Tensor, labels: NDArray[np.int64], classes: tuple[str, ...]
) -> None:
    u = answer["density"][:, 0]
    outside = (u * outside_of_brain(pictures)[:, 0]).sum(dim=(1, 2)).numpy()
    whole, cells = u.sum(dim=(1, 2)).numpy(), u[0].numel()
    peak, width = u.amax(dim=(1, 2)).numpy(), answer["front_width_mm"][:, 0].numpy()
    columns = ("class", "pictures", "mass of u_0, median", "u_0 above one half", "in scalp or air", "sqrt(D / rho), mm")
    print("| " + " | ".join(columns) + " |")
    print("|---|---|---|---|---|---|")
    for label, name in enumerate(classes):
        own = labels == label
        print(
            f"| {name} | {own.sum()} | {np.median(whole[own]) / cells:.2%} | {(peak[own] > 0.5).mean():.0%} | "
            f"{outside[own].sum() / whole[own].sum():.1%} | {width[own].min():.2f} to {width[own].max():.2f} |"
        )
    print()


def _sheet(
    frames: NDArray[np.uint8], density: NDArray[np.float32], labels: NDArray[np.int64], classes: int
) -> NDArray[np.uint8]:
    rows = []
    for label in range(classes):
        row = []
        for index in np.flatnonzero(labels == label)[::3][:_COLUMNS]:
            picture = cv2.resize(cv2.cvtColor(frames[index], cv2.COLOR_RGB2BGR), (_TILE_PX, _TILE_PX)).astype(
                np.float32
            )
            u = cv2.resize(density[index], (_TILE_PX, _TILE_PX))
            picture[..., 1] += 110.0 * u
            tile = np.clip(picture, 0, 255).astype(np.uint8)
            contours, _ = cv2.findContours((u > 0.5).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            row.append(cv2.drawContours(tile, contours, -1, (255, 80, 255), 1))
        rows.append(np.hstack(row))
    return np.asarray(np.vstack(rows), np.uint8)


if __name__ == "__main__":
    main()
