"""GREIT's figures of merit over a sweep, scores, laws that images must hold, and how true the claimed spread is.

    python benchmarks/eit_figures.py --bundle build/eit_post.physedge --sim sim

Sweep: one small target (5 % of the radius, ln 2 more or less conductive) at radii from 0 to 0.9, noise-free voltages of
a mesh of 16,384 triangles or more. Scores and laws: 50 measurements of `sim/val` (total variation: 10 and 3). All
methods see the same voltages. Turns: electrodes counted from the next, and from four on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine_line
from numpy.typing import NDArray

from physedge.physics.eit.forward import CompleteElectrodeModel
from physedge.physics.eit.linear import CONTACT_IMPEDANCE, Linearisation, greit, homogeneous_fields, linearise, noser
from physedge.physics.eit.mesh import mesh_of_at_least
from physedge.physics.eit.phantoms import draw_phantom
from physedge.physics.eit.pixels import disk_mask
from physedge.physics.eit.plausibility import ForwardCheck, renumbering, renumbering_error, true_image
from physedge.physics.eit.simulate import Scenario
from physedge.physics.eit.tank import Tank
from physedge.physics.eit.total_variation import total_variation
from physedge_calibrate.metrics.greit import GreitFigures, greit_figures, sweep_summary
from physedge_calibrate.metrics.ktc import ktc_of_images
from physedge_calibrate.metrics.reconstruction import correlation, relative_error, ssim
from physedge_calibrate.voltage_frames import read_arrays, read_voltage_samples
from physedge_runtime import load
from physedge_runtime.results import Reconstruction
from physedge_runtime.voltage_protocol import find_protocol

TARGET_RADIUS = 0.05
RADII = np.linspace(0.0, 0.9, 10)
LOG_RATIO = float(np.log(2))
LAWS_ON = 50
TV_LAWS_ON = 3
TV_SCORED = 10
SWEEP_TRIANGLES = 16384

SCORES: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64]], float]] = {
    "relative_error": relative_error,
    "correlation": correlation,
    "ssim": ssim,
    "ktc": ktc_of_images,
}

Method = Callable[[NDArray[np.float32]], NDArray[np.float64]]
"""From (2, voltage), reference and frame, to an image (height, width)."""


def difference_of(frame: NDArray[np.floating], body: Linearisation) -> NDArray[np.float64]:
    """(voltage,) in units of a body of conductivity 1, each channel by its own reference."""
    return np.asarray((frame[1] - frame[0]) * body.frame / frame[0], np.float64)


def classical(body: Linearisation) -> dict[str, Method]:
    """The baselines."""
    linear = {"NOSER, Laplace": noser(body).reconstruction(), "GREIT": greit(body)}
    methods: dict[str, Method] = {
        name: lambda frame, matrix=matrix: matrix(difference_of(frame, body)).reshape(64, 64)  # type: ignore[misc]
        for name, matrix in linear.items()
    }
    methods["TV"] = lambda frame: total_variation(body, difference_of(frame, body)).reshape(64, 64)
    return methods


def sweep(body: Linearisation, methods: dict[str, Method]) -> dict[str, tuple[GreitFigures, GreitFigures, int]]:
    """Mean, standard deviation and number of unseen targets by method."""
    model = CompleteElectrodeModel(body.tank, mesh_of_at_least(body.tank, SWEEP_TRIANGLES))
    rest = homogeneous_fields(model, CONTACT_IMPEDANCE).frame(body.protocol)
    impedance = np.full(body.tank.electrodes, CONTACT_IMPEDANCE)
    found: dict[str, list[GreitFigures]] = {name: [] for name in methods}
    unseen = dict.fromkeys(methods, 0)
    for number, radius in enumerate(RADII):
        angle = 2.4 * number  # the golden angle: no two targets stand alike to electrodes
        centre = (float(radius * np.cos(angle)), float(radius * np.sin(angle)))
        for sign in (1.0, -1.0):
            there = np.hypot(model.centroids[0] - centre[0], model.centroids[1] - centre[1]) <= TARGET_RADIUS
            frame = model.solve(np.exp(sign * LOG_RATIO * there), impedance).frame(body.protocol)
            for name, method in methods.items():
                image = method(np.stack([rest, frame]).astype(np.float32))
                try:
                    one = greit_figures(image, centre=centre, radius=TARGET_RADIUS, amplitude=sign * LOG_RATIO)
                    found[name].append(one)
                except ValueError:
                    unseen[name] += 1
    return {name: (*sweep_summary(figures), unseen[name]) for name, figures in found.items() if figures}


def laws(
    body: Linearisation, methods: dict[str, Method], frames: NDArray[np.float32], truths: NDArray[np.float32]
) -> dict[str, dict[str, float]]:
    """Sign, full forward residual and renumbering by method; the true images are a row of their own."""
    check = ForwardCheck(tank=body.tank, protocol=body.protocol)
    pitch_deg = 360.0 / body.tank.electrodes
    pitches = {"one electrode": 1, "a quarter turn": body.tank.electrodes // 4}
    orders = {name: renumbering(body.protocol, by) for name, by in pitches.items()}
    rows: dict[str, dict[str, float]] = {}
    known = {"truth": None, **methods}
    for name, method in known.items():
        signs, residuals, least = [], [], []
        turns: dict[str, list[float]] = {name: [] for name in pitches}
        for frame, truth in list(zip(frames, truths, strict=True))[: TV_LAWS_ON if name == "TV" else LAWS_ON]:
            difference = difference_of(frame, body)
            image = truth.astype(np.float64) if method is None else method(frame)
            residuals.append(check.residual(image, difference))
            signs.append(np.sign(image.sum()) == np.sign(truth.sum()))
            least.append(float(np.exp(image.min())))
            for turn, (place, factor) in orders.items():
                if method is None:
                    break
                again = method((frame[:, place] * factor).astype(np.float32))
                turns[turn].append(renumbering_error(image, again, pitch_deg * pitches[turn]))
        rows[name] = {
            "samples": len(residuals),
            "sign": float(np.mean(signs)),
            "forward_residual": float(np.mean(residuals)),
            **{
                name: float(np.mean(errors)) if errors else turned_truths(pitch_deg * pitches[name])
                for name, errors in turns.items()
            },
            "least_conductivity": min(least),
        }
    return rows


def scores(
    methods: dict[str, Method], frames: NDArray[np.float32], truths: NDArray[np.float32]
) -> dict[str, dict[str, float]]:
    """Nearness to the true images by method, of bodies that nothing was trained on."""
    rows: dict[str, dict[str, float]] = {}
    for name, method in methods.items():
        count = TV_SCORED if name == "TV" else len(frames)
        images = [method(frame) for frame in frames[:count]]
        pairs = list(zip(images, truths[:count].astype(np.float64), strict=True))
        rows[name] = {
            "samples": count,
            **{figure: float(np.mean([score(*pair) for pair in pairs])) for figure, score in SCORES.items()},
        }
    return rows


def turned_truths(turn_deg: float) -> float:
    """What `renumbering_error` leaves of true images of exactly turned bodies: the pixels alone."""
    errors = []
    for number in range(LAWS_ON):
        phantom = draw_phantom(np.random.default_rng(number), small_share=Scenario().small_share)
        errors.append(renumbering_error(true_image(phantom), true_image(phantom, turn_deg), turn_deg))
    return float(np.mean(errors))


def spread(images: list[Reconstruction], truths: NDArray[np.float32]) -> dict[str, float]:
    """How often the truth lies within one and two of the posterior standard deviations that are claimed."""
    inside = disk_mask(64)
    errors, claimed = [], []
    for result, truth in zip(images, truths, strict=True):
        errors.append(np.abs(result.image - truth)[inside])
        claimed.append(result.maps["deviation"][inside])
    error, deviation = np.concatenate(errors), np.concatenate(claimed)
    order = np.argsort(deviation)
    halves = error[order[: len(order) // 2]], error[order[len(order) // 2 :]]
    return {
        "within_1": float((error <= deviation).mean()),
        "within_2": float((error <= 2 * deviation).mean()),
        "error_where_sure": float(np.sqrt((halves[0] ** 2).mean())),
        "error_where_unsure": float(np.sqrt((halves[1] ** 2).mean())),
    }


def main() -> None:
    """Print three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--sim", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("build/eit"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with load(asked.bundle).open(engine="onnxruntime", threads=1, allow_rejected=True) as net:
        spec = net.spec.voltages
        assert spec is not None
        body = linearise(
            Tank(electrodes=spec.electrodes, cover=spec.cover), find_protocol(spec.protocol, spec.electrodes)
        )

        def answer(frame: NDArray[np.float32]) -> Reconstruction:
            result = net.infer(frame)
            assert isinstance(result, Reconstruction)
            return result

        methods = {**classical(body), net.spec.name: lambda frame: answer(frame).image.astype(np.float64)}
        frames, truths = read_arrays(read_voltage_samples(asked.sim / "val", spec)[: 4 * LAWS_ON : 4])
        record = {
            "sweep": {
                name: {"mean": _plain(mean), "sd": _plain(sd), "unseen": unseen}
                for name, (mean, sd, unseen) in sweep(body, methods).items()
            },
            "scores": scores(methods, frames, truths),
            "laws": laws(body, methods, frames, truths),
            "spread": spread([answer(frame) for frame in frames], truths),
        }
    (asked.out / "figures.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    show(record)


def _plain(figures: GreitFigures) -> dict[str, float]:
    from dataclasses import asdict

    return asdict(figures)


def show(record: dict[str, Any]) -> None:
    """Print the tables in Markdown."""
    print(machine_line())
    names = ("amplitude_response", "position_error", "resolution", "shape_deformation", "ringing")
    print("\n| mean ± sd | " + " | ".join(name.replace("_", " ") for name in names) + " | unseen |")
    print("|---|" + "---|" * (len(names) + 1))
    for method, row in record["sweep"].items():
        mean, sd = row["mean"], row["sd"]
        cells = [f"{mean[name]:.3f} ± {sd[name]:.3f}" for name in names]
        print(f"| {method} | " + " | ".join(cells) + f" | {row['unseen']} |")
    print("\n| simulated bodies | relative error | correlation | SSIM | KTC | samples |\n|---|---|---|---|---|---|")
    for method, row in record["scores"].items():
        cells = [f"{row[name]:.3f}" for name in SCORES]
        print(f"| {method} | " + " | ".join(cells) + f" | {row['samples']} |")
    print("\n| | sign right | full residual | by one electrode | by a quarter | least conductivity | samples |")
    print("|---|---|---|---|---|---|---|")
    for method, law in record["laws"].items():
        print(
            f"| {method} | {law['sign']:.2f} | {law['forward_residual']:.3f} | "
            f"{law['one electrode']:.3f} | {law['a quarter turn']:.3f} | {law['least_conductivity']:.2f} | "
            f"{law['samples']} |"
        )
    claimed = record["spread"]
    print(
        f"\nposterior standard deviation: the truth lies within one in {claimed['within_1']:.1%} and within two in "
        f"{claimed['within_2']:.1%} of pixels; error {claimed['error_where_sure']:.3f} in the half where it is small, "
        f"{claimed['error_where_unsure']:.3f} in the other"
    )


if __name__ == "__main__":
    main()
