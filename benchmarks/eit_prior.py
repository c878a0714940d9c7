"""A learned regulariser as the prior of Gauss-Newton, against the hand-made prior alone and against networks.

    python benchmarks/eit_prior.py --sim sim --weights runs/eit_post/best.safetensors --data ../shared/data/eit/uef2d

The regulariser learns from the true images of `sim/train` alone (no voltages), and is kept as `build/eit/prior.pt` for
`eit_ktc.py`. Rows: the hand-made prior; the same with the learned one, on the linear body and on the complete electrode
model; `eit_post`, and one step of Gauss-Newton after it. Columns: simulated bodies of `sim/val`, then eight tanks.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from eit_adapt import images_of, network_of
from eit_figures import difference_of
from eit_tank import TARGETS, figures, truth_of
from machine import machine_line
from numpy.typing import NDArray

from physedge.models.eit_unrolled import LearnedRegulariser
from physedge.physics.eit.embed import linearisation_of
from physedge.physics.eit.linear import noser
from physedge.physics.eit.pixels import disk_mask
from physedge.physics.eit.plausibility import ForwardCheck
from physedge.train.learned_prior import gauss_newton_with_prior, learn_regulariser
from physedge_calibrate.metrics.reconstruction import relative_error
from physedge_calibrate.voltage_frames import read_arrays, read_declaration, read_voltage_samples
from physedge_runtime.sources.voltage_files import read_voltages

WIDTH = 8
SIDE_PX = 64
STRENGTH = 30.0

Method = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""From (2, voltage), reference and frame, to an image (height, width)."""


def methods_of(sim: Path, weights: Path, regulariser: LearnedRegulariser) -> dict[str, Method]:
    """All rows by name."""
    spec = read_declaration(sim)
    body = linearisation_of(spec)
    check = ForwardCheck(tank=body.tank, protocol=body.protocol)
    step = noser(body, strength=STRENGTH).reconstruction()
    network = network_of("eit_post", spec, weights)
    inside = disk_mask(SIDE_PX)

    def linear(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(body.jacobian @ image.ravel())

    def full(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return check.answer(np.clip(image, -4, 4) * inside)

    def with_prior(answer: Callable[[NDArray[np.float64]], NDArray[np.float64]], steps: int) -> Method:
        return lambda frame: gauss_newton_with_prior(
            regulariser, step, answer, difference_of(frame, body), side_px=SIDE_PX, steps=steps
        )

    def answered(frame: NDArray[np.float32]) -> NDArray[np.float64]:
        return images_of(network, torch.from_numpy(frame)[None])[0]

    def mended(frame: NDArray[np.float32]) -> NDArray[np.float64]:
        image = answered(frame)
        return image + step(difference_of(frame, body) - full(image)).reshape(SIDE_PX, SIDE_PX)

    return {
        "Gauss-Newton, hand-made prior": with_prior(linear, 0),
        "Gauss-Newton, learned prior, linear body": with_prior(linear, 8),
        "Gauss-Newton, learned prior, full model": with_prior(full, 8),
        "eit_post": answered,
        "eit_post, then one step of Gauss-Newton": mended,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sim", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/eit/uef2d"))
    parser.add_argument("--steps", type=int, default=200, help="of the regulariser's training")
    parser.add_argument("--scored", type=int, default=20, help="bodies of val, one frame each")
    parser.add_argument("--out", type=Path, default=Path("build/eit"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spec = read_declaration(asked.sim)
    regulariser = LearnedRegulariser(width=WIDTH)
    kept, losses = asked.out / "prior.pt", []
    if kept.is_file():
        regulariser.load_state_dict(torch.load(kept, weights_only=True))
    else:
        _, images = read_arrays(read_voltage_samples(asked.sim / "train", spec))
        learn_regulariser(regulariser, images, steps=asked.steps, batch=4, advance=losses.append)
        torch.save(regulariser.state_dict(), kept)
        print(f"of the noise {np.sqrt(np.mean(losses[-50:])):.3f} are left")
    frames, truths = read_arrays(read_voltage_samples(asked.sim / "val", spec)[: 4 * asked.scored : 4])
    rest = read_voltages(asked.data / "datamat_1_0.mat", spec)[0]
    tanks = {
        target: np.stack([rest, read_voltages(asked.data / f"datamat_{target}.mat", spec)[0]]) for target in TARGETS
    }
    table: dict[str, dict[str, float]] = {}
    for name, method in methods_of(asked.sim, asked.weights, regulariser).items():
        errors = [relative_error(method(frame), truth) for frame, truth in zip(frames, truths, strict=True)]
        scores = [
            figures(method(frame), truth_of(asked.data, target, clockwise=spec.clockwise))
            for target, frame in tanks.items()
        ]
        table[name] = {
            "simulated": float(np.median(errors)),
            "mean": float(np.mean(errors)),
            **{key: float(np.mean([score[key] for score in scores])) for key in scores[0]},
        }
        print(name, table[name], flush=True)
    (asked.out / "prior.json").write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    print(machine_line())
    heads = ("median", "mean", "tanks: correlation", "relative error", "SSIM", "KTC")
    print(f"\n| | relative error, {len(frames)} simulated: " + " | ".join(heads) + " |\n|---|" + "---|" * len(heads))
    for name, row in table.items():
        print(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row.values()) + " |")


if __name__ == "__main__":
    main()
