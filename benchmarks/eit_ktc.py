"""The tank of the Kuopio Tomography Challenge 2023 beside its truth, classical and learned, by the challenge's score.

    python benchmarks/eit_ktc.py --data ../shared/data/eit/ktc2023 --out build/eit

32 electrodes, 76 injections, 2,356 voltages, an empty tank as reference. Differences are compressed to the directions
that the body has (rank 500). `images` are true images, of `physedge synth eit`, from which the learned regulariser
learns what bodies look like; it never saw a voltage.

Data: M. Rasanen et al., "Kuopio Tomography Challenge 2023 open electrical impedance tomographic dataset (KTC 2023)".
No person is shown: the targets stand in a water tank.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from eit_prior import WIDTH
from eit_tank import draw, figures, show, signed
from machine import machine_line
from numpy.typing import NDArray

from physedge.models.eit_unrolled import LearnedRegulariser
from physedge.physics.eit.absolute import AbsoluteFit, fit_background, gauss_newton
from physedge.physics.eit.forward import CompleteElectrodeModel
from physedge.physics.eit.linear import Linearisation, linearise, noise_deviation, noser
from physedge.physics.eit.mesh import mesh_of_at_most
from physedge.physics.eit.pixels import disk_mask, mean_over_triangles
from physedge.physics.eit.tank import Tank
from physedge.physics.eit.total_variation import total_variation
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.sources.voltage_files import read_voltages
from physedge_runtime.voltage_protocol import find_protocol

TARGETS = (1, 3, 4)
SIDE_PX = 64
RANK = 500
ACCURACY = 5e-3
GAUSS_NEWTON_TRIANGLES = 500
TANK = Tank(electrodes=32, cover=0.5)
PROTOCOL = find_protocol("ktc2023", 32)
SPEC = VoltageSpec(count=PROTOCOL.count, electrodes=32, protocol="ktc2023")


@dataclass(frozen=True, slots=True)
class Compressed:
    """The linearised body in the directions that its whitened voltages have.

    Attributes:
        body: With `RANK` voltages, each with noise of deviation 1.
        directions: (voltage, rank), orthonormal.
        noise: (voltage,) of the measured differences.
    """

    body: Linearisation
    directions: NDArray[np.float64]
    noise: NDArray[np.float64]

    def differences(self, difference: NDArray[np.float64]) -> NDArray[np.float64]:
        """(rank,) of measured ones (voltage,)."""
        return self.directions.T @ (difference / self.noise)


def compress(body: Linearisation) -> Compressed:
    """By a randomised range finder (Halko, Martinsson, Tropp, SIAM Rev. 53:217, 2011) with one power iteration."""
    noise = noise_deviation(body.frame, relative=ACCURACY, absolute=ACCURACY)
    white = body.jacobian / noise[:, None]
    sketch = white @ np.random.default_rng(0).normal(size=(white.shape[1], RANK))
    directions = np.linalg.qr(white @ (white.T @ np.linalg.qr(sketch)[0]))[0]
    small = Linearisation(
        tank=body.tank,
        protocol=body.protocol,
        frame=directions.T @ (body.frame / noise),
        jacobian=directions.T @ white,
        side_px=body.side_px,
    )
    return Compressed(small, directions, noise)


class Absolute:
    """Gauss-Newton for conductivities, without a difference; the empty tank gives background, contacts and offsets."""

    def __init__(self, rest: NDArray[np.float64]) -> None:
        self._model = CompleteElectrodeModel(TANK, mesh_of_at_most(TANK, GAUSS_NEWTON_TRIANGLES))
        self._background = fit_background(self._model, PROTOCOL, rest, accuracy=2e-2, steps=3, has_offsets=True)

    def image(self, frame: NDArray[np.float64]) -> NDArray[np.float64]:
        """(height, width), ln of the conductivity over the background's."""
        fit: AbsoluteFit = gauss_newton(self._model, PROTOCOL, frame, background=self._background, steps=4)
        change = np.log(fit.conductivity / self._background.conductivity)
        weights = mean_over_triangles(self._model.points, self._model.triangles, SIDE_PX)
        image = (weights.T @ change) / np.maximum(np.asarray(weights.sum(axis=0)).ravel(), 1e-12)
        return np.asarray(image.reshape(SIDE_PX, SIDE_PX) * disk_mask(SIDE_PX))


def learned(path: Path | None) -> LearnedRegulariser | None:
    """What `eit_prior.py` trained; None without it."""
    import torch

    if path is None:
        return None
    regulariser = LearnedRegulariser(width=WIDTH)
    regulariser.load_state_dict(torch.load(path, weights_only=True))
    return regulariser


def main() -> None:
    """Print the tables, write the contact sheet."""
    from scipy.io import loadmat

    from physedge.train.learned_prior import gauss_newton_with_prior

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/eit/ktc2023"))
    parser.add_argument("--prior", type=Path, help="a learned regulariser, of eit_prior.py")
    parser.add_argument("--out", type=Path, default=Path("build/eit"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    print(machine_line())
    rest = read_voltages(asked.data / "ref.mat", SPEC)[0].astype(np.float64)
    full = linearise(TANK, PROTOCOL, side_px=SIDE_PX, largest_triangles=2000)
    gain = float(rest @ full.frame / (rest @ rest))
    small = compress(full)
    body = small.body
    ones = np.ones(RANK)
    matrix = noser(body, noise=ones).reconstruction()
    absolute, regulariser = Absolute(rest), learned(asked.prior)
    table: dict[str, dict[str, dict[str, float]]] = {}
    sheet: dict[str, dict[str, NDArray[np.float64]]] = {}
    seconds: dict[str, float] = {}
    for target in TARGETS:
        frame = read_voltages(asked.data / f"data{target}.mat", SPEC)[0].astype(np.float64)
        difference = small.differences((frame - rest) * gain)
        methods = {
            "NOSER, Laplace": lambda d=difference: matrix(d),
            "TV": lambda d=difference: total_variation(body, d, noise=ones),
            "Gauss-Newton, absolute": lambda f=frame: absolute.image(f),
        }
        if regulariser is not None:
            methods["Gauss-Newton, learned prior"] = lambda d=difference: gauss_newton_with_prior(
                regulariser, matrix, lambda found: body.jacobian @ found.ravel(), d, side_px=SIDE_PX
            )
        labels = np.ascontiguousarray(loadmat(asked.data / f"true{target}.mat")["truth"].astype(np.uint8))
        images = {}
        for name, method in methods.items():
            started = time.process_time()
            images[name] = np.asarray(method()).reshape(SIDE_PX, SIDE_PX)
            seconds[name] = time.process_time() - started
            print(f"target {target}, {name}: {seconds[name]:.1f} s", flush=True)
        table[str(target)] = {name: figures(image, labels) for name, image in images.items()}
        sheet[str(target)] = {"truth": signed(labels, SIDE_PX), **images}
    draw(sheet, asked.out / "ktc.png")
    (asked.out / "ktc.json").write_text(json.dumps({"targets": table, "seconds": seconds}, indent=2), encoding="utf-8")
    show(table)
    print("\nprocessor seconds an image: " + ", ".join(f"{name} {value:.1f}" for name, value in seconds.items()))
    print(asked.out / "ktc.png")


if __name__ == "__main__":
    main()
