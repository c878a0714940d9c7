"""What each part of the learned reconstruction is worth: physics loss, regularisers, size of the training set, errors.

    physedge synth eit --electrodes 16 --cover 0.455 --clockwise --out sim --samples 2000 --ood 40
    python benchmarks/eit_ablation.py --sim sim --out build/eit_ablation

Every figure is kept in cells.json as soon as it is there; an interrupted run goes on where it stopped. Networks are
trained for the same number of steps whatever the size of the set: more data is not more training. None is held
to turns, which is another part of the loss and costs time, but for one that says what it is worth. Intervals are 95 %,
bootstrapped over bodies. Scored are bodies of `sim/val`, or fresh ones of a stated level of error.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from machine import machine_line
from numpy.typing import NDArray

from physedge.data.prepared import PreparedExamples
from physedge.deploy.network import NetworkChoice, find_network, load_weights
from physedge.models.impedance import ImpedanceNetwork
from physedge.models.registry import load_factory
from physedge.physics.eit.embed import linearisation_of, protocol_of
from physedge.physics.eit.linear import Linearisation, greit, noser, trained_matrix
from physedge.physics.eit.plausibility import renumbering, renumbering_error
from physedge.physics.eit.simulate import FRAMES_PER_SESSION, Scenario, Simulator
from physedge.physics.eit.tank import Tank
from physedge.physics.eit.total_variation import total_variation
from physedge.train.options import TrainOptions
from physedge.train.reconstruction import LATER_TURN_WEIGHT, PHYSICS_WEIGHT, TURN_WEIGHT, ReconstructionRecipe
from physedge_calibrate.metrics.reconstruction import relative_error
from physedge_calibrate.statistics import mean_interval
from physedge_calibrate.voltage_frames import VoltageSample, read_arrays, read_declaration, read_voltage_samples
from physedge_runtime.frame import VoltageSpec

BATCH = 16
LEARNING_RATE = 2e-3
TUNED_ON = 120
TUNED_ON_TV, SCORED_BY_TV = 4, 16
STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
TV_STRENGTHS = (10.0, 30.0, 100.0)
LEVEL_SEED = 77
TICKS = (0.5, 0.6, 0.7, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0)
USUAL = Scenario()


def at_noise(decibel: float) -> Scenario:
    """All usual errors, and this noise."""
    return replace(USUAL, noise_db=(decibel, decibel))


def at_model_error(scale: float) -> Scenario:
    """Displacements, shape, contact and gain times `scale` of the usual, at 50 dB of noise."""
    return replace(
        USUAL,
        noise_db=(50.0, 50.0),
        angle_deg=(0.75 * scale, 0.75 * scale),
        shape_deviation=USUAL.shape_deviation * scale,
        contact_deviation=USUAL.contact_deviation * scale,
        contact_drift=USUAL.contact_drift * scale,
        gain_deviation=USUAL.gain_deviation * scale,
    )


LEVELS: dict[str, Scenario] = {
    **{f"noise {decibel:g} dB": at_noise(decibel) for decibel in (20.0, 30.0, 45.0, 60.0)},
    **{f"model error x{scale:g}": at_model_error(scale) for scale in (0.0, 1.0, 2.0, 4.0)},
}

Images = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(slots=True)
class Bench:
    """Data and limits of a run.

    Attributes:
        sim: The simulated set.
        out: Where cells and trained weights are kept.
        spec: Of the voltages.
        steps: Of every training.
        scored: Bodies' frames of `val` that are scored.
        until: Time after which nothing more is begun.
    """

    sim: Path
    out: Path
    spec: VoltageSpec
    steps: int
    scored: int
    until: float
    cells: dict[str, dict[str, float]]

    def samples(self, part: str) -> list[VoltageSample]:
        """In the order of the set."""
        return read_voltage_samples(self.sim / part, self.spec)

    def has(self, name: str) -> bool:
        """Whether a cell is there already, or there is no time left for it."""
        return name in self.cells or time.monotonic() > self.until

    def keep(self, name: str, errors: NDArray[np.float64], groups: Sequence[str], seconds: float = 0.0) -> None:
        """Write a cell down."""
        interval = mean_interval(errors, groups=list(groups), generator=np.random.default_rng(0))
        self.cells[name] = {
            "relative_error": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "samples": len(errors),
            "bodies": len(set(groups)),
            "seconds": round(seconds, 1),
        }
        self.write()
        print(f"{name}: {interval.estimate:.4f} [{interval.low:.4f}, {interval.high:.4f}]", flush=True)

    def write(self) -> None:
        """Keep all cells on disk."""
        (self.out / "cells.json").write_text(json.dumps(self.cells, indent=1) + "\n", encoding="utf-8")


def network_of(bench: Bench, model: str, weights: Path | None = None) -> ImpedanceNetwork:
    """Fresh, or with weights."""
    network = load_factory(find_network(NetworkChoice(model=model)).factory)(voltages=bench.spec)
    assert isinstance(network, ImpedanceNetwork)
    network.load_physics()
    if weights is not None:
        load_weights(network, weights)
    return network.eval()


def trained(
    bench: Bench, model: str, size: int, physics_weight: float, seed: int, turn_weight: float = 0.0
) -> tuple[ImpedanceNetwork, float]:
    """A network after `steps` steps on the first `size` samples, and the processor seconds it took; kept on disk."""
    held = f"-turns{turn_weight:g}" if turn_weight else ""
    path = bench.out / f"{model}-{size}-{physics_weight:g}-{seed}{held}.pt"
    if path.is_file():
        network = network_of(bench, model)
        state = torch.load(path, weights_only=True)
        network.load_state_dict(state["network"])
        return network.eval(), float(state["seconds"])
    torch.manual_seed(seed)
    network = network_of(bench, model)
    chosen = find_network(NetworkChoice(model=model))
    options = TrainOptions(model=model, data=(bench.sim,), output=bench.out, task=chosen.spec.task, seed=seed)
    spec = chosen.spec.model_copy(update={"voltages": bench.spec})
    recipe = ReconstructionRecipe(spec, options, physics_weight=physics_weight, turn_weight=turn_weight)
    examples: PreparedExamples[VoltageSample] = recipe.prepare(
        bench.samples("train")[:size], where="train", advance=lambda: None
    )
    recipe.begin(network, examples)
    frames = torch.from_numpy(np.stack([examples[index].frame for index in range(len(examples))]))
    truths = torch.from_numpy(np.stack([examples[index].truth for index in range(len(examples))]))
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2)
    started = time.process_time()
    order: list[int] = []
    network.train()
    for step in range(bench.steps):
        if len(order) < BATCH:
            order += torch.randperm(len(frames), generator=generator).tolist()
        taken, order = order[:BATCH], order[BATCH:]
        warm = min(1.0, (step + 1) / (0.05 * bench.steps))
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * warm * 0.5 * (1 + math.cos(math.pi * step / bench.steps))
        loss = recipe.loss(network, frames[taken], truths[taken], generator, (64, 64))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
    seconds = time.process_time() - started
    torch.save({"network": network.state_dict(), "seconds": seconds}, path)
    return network.eval(), seconds


@torch.no_grad()
def errors_of_network(
    network: ImpedanceNetwork, frames: NDArray[np.float32], truths: NDArray[np.float32]
) -> NDArray[np.float64]:
    """(sample,) relative errors."""
    images = []
    for part in torch.from_numpy(frames).split(64):
        image, _linear = network.reconstruct(network.difference(part), torch.zeros(len(part), dtype=torch.int64))
        images.append(image[:, 0].numpy())
    return errors_of_images(np.concatenate(images), truths)


def errors_of_images(images: NDArray[np.floating], truths: NDArray[np.floating]) -> NDArray[np.float64]:
    """(sample,) relative errors."""
    return np.array([relative_error(image.reshape(64, 64), truth) for image, truth in zip(images, truths, strict=True)])


def turns_of(network: ImpedanceNetwork, frames: NDArray[np.float32]) -> dict[str, float]:
    """Mean change of images, but for their turn, by electrodes counted from another one on."""
    protocol = protocol_of(network.voltages)

    @torch.no_grad()
    def images(of: NDArray[np.float32]) -> NDArray[np.float64]:
        part = torch.from_numpy(of)
        image, _linear = network.reconstruct(network.difference(part), torch.zeros(len(part), dtype=torch.int64))
        return image[:, 0].double().numpy()

    found, there = {}, images(frames)
    for name, by in (("one electrode", 1), ("a quarter", protocol.electrodes // 4)):
        place, factor = renumbering(protocol, by)
        again = images((frames[..., place] * factor).astype(np.float32))
        turn_deg = 360.0 * by / protocol.electrodes
        errors = [renumbering_error(a, b, turn_deg) for a, b in zip(there, again, strict=True)]
        found[name] = float(np.mean(errors))
    return found


@dataclass(slots=True)
class HandMade:
    """Hand-made regularisers, each at the strength that is best on training bodies."""

    bench: Bench
    body: Linearisation
    plain: ImpedanceNetwork

    def differences(self, frames: NDArray[np.float32]) -> NDArray[np.float64]:
        """As the networks take them."""
        with torch.no_grad():
            return self.plain.difference(torch.from_numpy(frames)).double().numpy()

    def methods(self) -> dict[str, Images]:
        """Name to method, tuned."""
        samples = self.bench.samples("train")
        frames, truths = read_arrays(samples[:TUNED_ON])
        seen = self.differences(frames)
        found: dict[str, Images] = {}
        linear: dict[str, Callable[[float], Images]] = {
            "Tikhonov": lambda s: noser(self.body, strength=s, smoothness=0.0, sensitivity=1.0).reconstruction(),
            "NOSER, Laplace": lambda s: noser(self.body, strength=s).reconstruction(),
            "GREIT": lambda s: greit(self.body, strength=s / 10),
        }
        for name, make in linear.items():
            found[name] = self._best(make, STRENGTHS, seen, truths, name)

        def variation(strength: float) -> Images:
            return lambda values: np.stack([total_variation(self.body, one, strength=strength) for one in values])

        few = slice(0, TUNED_ON_TV * FRAMES_PER_SESSION, FRAMES_PER_SESSION)
        found["total variation"] = self._best(variation, TV_STRENGTHS, seen[few], truths[few], "total variation")
        return found

    def learned_matrix(self, size: int) -> Images:
        """The best matrix that so many samples teach."""
        frames, truths = read_arrays(self.bench.samples("train")[:size])
        differences = self.differences(frames)
        ridge = 0.02 * np.sqrt((differences**2).mean(axis=0))
        return trained_matrix(truths.reshape(len(truths), -1).astype(np.float64), differences, ridge=ridge)

    @staticmethod
    def _best(
        make: Callable[[float], Images],
        strengths: Sequence[float],
        seen: NDArray[np.float64],
        truths: NDArray[np.float32],
        name: str,
    ) -> Images:
        tried = {strength: float(errors_of_images(make(strength)(seen), truths).mean()) for strength in strengths}
        best = min(tried, key=tried.__getitem__)
        print(f"{name}: strength {best:g} of {strengths}", flush=True)
        return make(best)


def level_set(bench: Bench, name: str, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32], list[str]]:
    """Fresh bodies measured with errors of one level: frames, true images, groups; kept on disk."""
    path = bench.out / f"level {name}.npz"
    if not path.is_file():
        spec = bench.spec
        simulator = Simulator(
            tank=Tank(electrodes=spec.electrodes, cover=spec.cover),
            protocol=protocol_of(spec),
            scenario=LEVELS[name],
            seed=LEVEL_SEED,
        )
        samples = [simulator.sample(number) for number in range(count)]
        np.savez(
            path,
            frames=np.stack([sample.voltages for sample in samples]).astype(np.float32),
            truths=np.stack([sample.phantom.image() for sample in samples]),
        )
    stored = np.load(path)
    return stored["frames"], stored["truths"], [str(n // FRAMES_PER_SESSION) for n in range(len(stored["frames"]))]


def run(bench: Bench, sizes: Sequence[int], levels: int, weights: Mapping[str, Path]) -> None:
    """Everything that is missing."""
    val = bench.samples("val")[: bench.scored]
    frames, truths = read_arrays(val)
    groups = [sample.group for sample in val]
    for size in sizes:
        for physics, seed in ((PHYSICS_WEIGHT, 0), (0.0, 0), (PHYSICS_WEIGHT, 1), (0.0, 1)):
            name = f"eit_post, {size} samples, physics {'on' if physics else 'off'}, seed {seed}"
            if not bench.has(name):
                network, seconds = trained(bench, "eit_post", size, physics, seed)
                bench.keep(name, errors_of_network(network, frames, truths), groups, seconds)
    for weight in (0.0, TURN_WEIGHT, LATER_TURN_WEIGHT):
        name = f"eit_post, {max(sizes)} samples, turns weigh {weight:g}"
        if not bench.has(name):
            network, seconds = trained(bench, "eit_post", max(sizes), PHYSICS_WEIGHT, 0, weight)
            bench.keep(name, errors_of_network(network, frames, truths), groups, seconds)
            bench.cells[name] |= turns_of(network, frames[::FRAMES_PER_SESSION])
            bench.write()
    name = f"eit_unrolled, {max(sizes)} samples"
    if not bench.has(name):
        network, seconds = trained(bench, "eit_unrolled", max(sizes), PHYSICS_WEIGHT, 0)
        bench.keep(name, errors_of_network(network, frames, truths), groups, seconds)
    hand = HandMade(bench, linearisation_of(bench.spec), network_of(bench, "eit_post"))
    for size in sizes:
        name = f"matrix, {size} samples"
        if not bench.has(name):
            bench.keep(name, errors_of_images(hand.learned_matrix(size)(hand.differences(frames)), truths), groups)
    for model, path in weights.items():
        if not bench.has(f"{model}, to the end"):
            network = network_of(bench, model, path)
            bench.keep(f"{model}, to the end", errors_of_network(network, frames, truths), groups)
    names = ("Tikhonov", "NOSER, Laplace", "GREIT", "total variation")
    wanted = [*names, *(f"{level} / {name}" for level in LEVELS for name in names[1:3])]
    if not all(name in bench.cells for name in wanted) and time.monotonic() < bench.until:
        methods = hand.methods()
        for name, method in methods.items():
            few = slice(0, SCORED_BY_TV * FRAMES_PER_SESSION, FRAMES_PER_SESSION)
            part = few if name == "total variation" else slice(None)
            if not bench.has(name):
                errors = errors_of_images(method(hand.differences(frames[part])), truths[part])
                bench.keep(name, errors, groups[part])
        for level in LEVELS:
            there, true, bodies = level_set(bench, level, levels)
            for name in names[1:3]:
                if not bench.has(f"{level} / {name}"):
                    errors = errors_of_images(methods[name](hand.differences(there)), true)
                    bench.keep(f"{level} / {name}", errors, bodies)
    for label, network in _final_networks(bench, sizes, weights):
        for level in LEVELS:
            if not bench.has(f"{level} / {label}"):
                there, true, bodies = level_set(bench, level, levels)
                bench.keep(f"{level} / {label}", errors_of_network(network, there, true), bodies)


def _final_networks(
    bench: Bench, sizes: Sequence[int], weights: Mapping[str, Path]
) -> list[tuple[str, ImpedanceNetwork]]:
    found = [(model, network_of(bench, model, path)) for model, path in weights.items()]
    if "eit_unrolled" not in weights and f"eit_unrolled, {max(sizes)} samples" in bench.cells:
        found.append(("eit_unrolled", trained(bench, "eit_unrolled", max(sizes), PHYSICS_WEIGHT, 0)[0]))
    return found


def show(bench: Bench, sizes: Sequence[int]) -> None:
    """Print the tables in Markdown."""
    cells = bench.cells

    def cell(name: str) -> str:
        one = cells.get(name)
        return f"{one['relative_error']:.3f} [{one['low']:.3f}, {one['high']:.3f}]" if one else "not run"

    print("\n| training samples | physics on | physics off | on, seed 1 | off, seed 1 | best matrix |")
    print("|---|---|---|---|---|---|")
    for size in sizes:
        runs = [f"eit_post, {size} samples, physics {how}, seed {seed}" for seed in (0, 1) for how in ("on", "off")]
        print(f"| {size} | " + " | ".join(cell(name) for name in (*runs, f"matrix, {size} samples")) + " |")
    print("\n| turns weigh | relative error | turned by one electrode | by a quarter | processor seconds |")
    print("|---|---|---|---|---|")
    for weight in (0.0, TURN_WEIGHT, LATER_TURN_WEIGHT):
        name = f"eit_post, {max(sizes)} samples, turns weigh {weight:g}"
        if name in cells:
            row = cells[name]
            turned = f"{row['one electrode']:.3f} | {row['a quarter']:.3f}"
            print(f"| {weight:g} | {cell(name)} | {turned} | {row['seconds']:.0f} |")
    print("\n| regulariser | relative error | samples |\n|---|---|---|")
    rows = ["Tikhonov", "NOSER, Laplace", "GREIT", "total variation", f"matrix, {max(sizes)} samples"]
    rows += [f"eit_unrolled, {max(sizes)} samples", f"eit_post, {max(sizes)} samples, physics on, seed 0"]
    for name in (*rows, "eit_unrolled, to the end", "eit_post, to the end"):
        print(f"| {name} | {cell(name)} | {int(cells[name]['samples']) if name in cells else ''} |")
    labels = ("NOSER, Laplace", "GREIT", "eit_unrolled", "eit_post")
    print("\n| level | " + " | ".join(labels) + " |\n|---|" + "---|" * len(labels))
    for level in LEVELS:
        print(f"| {level} | " + " | ".join(cell(f"{level} / {label}") for label in labels) + " |")


def draw(bench: Bench, sizes: Sequence[int], path: Path) -> None:
    """Error over training-set size, and over both kinds of level."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 3.8), layout="constrained", dpi=110)
    panels = figure.subplots(1, 3)

    def line(axes: object, at: Sequence[float], names: Sequence[str], label: str, style: str = "-") -> None:
        there = [(x, bench.cells[name]) for x, name in zip(at, names, strict=True) if name in bench.cells]
        if not there:
            return
        middle = np.array([one["relative_error"] for _, one in there])
        ends = np.array([[one["low"], one["high"]] for _, one in there]).T
        axes.errorbar(  # type: ignore[attr-defined]
            [x for x, _ in there],
            middle,
            yerr=np.abs(ends - middle),
            label=label,
            marker=".",
            capsize=2,
            linestyle=style,
        )

    for how, style in (("on", "-"), ("off", "--")):
        names = [f"eit_post, {size} samples, physics {how}, seed 0" for size in sizes]
        line(panels[0], sizes, names, f"eit_post, physics loss {how}", style)
    line(panels[0], sizes, [f"matrix, {size} samples" for size in sizes], "best matrix", ":")
    panels[0].set_xscale("log")
    panels[0].set_xticks(sizes, [str(size) for size in sizes])
    for axes in panels[:2]:
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    panels[0].set_xlabel("training samples")
    for axes, word, unit in (
        (panels[1], "noise", "signal to noise, dB"),
        (panels[2], "model", "model error, times usual"),
    ):
        levels = [level for level in LEVELS if level.startswith(word)]
        at = [float(level.split()[1]) if word == "noise" else float(level.split("x")[1]) for level in levels]
        for label in ("NOSER, Laplace", "GREIT", "eit_unrolled", "eit_post"):
            line(axes, at, [f"{level} / {label}" for level in levels], label)
        axes.set_xlabel(unit)
    for axes in panels:
        axes.set_ylabel("relative error")
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    figure.savefig(path)


def main() -> None:
    """Fill in what is missing, print the tables, draw the curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sim", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="eit_post, trained to the end by physedge train")
    parser.add_argument("--unrolled", type=Path, help="eit_unrolled, trained likewise")
    parser.add_argument("--out", type=Path, default=Path("build/eit_ablation"))
    parser.add_argument("--sizes", default="200,600,1800")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--scored", type=int, default=240, help="frames of val that are scored")
    parser.add_argument("--levels", type=int, default=120, help="fresh frames of every level of error")
    parser.add_argument("--limit-s", type=float, default=math.inf, help="begin nothing more after this time")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    known = asked.out / "cells.json"
    sizes = [int(word) for word in asked.sizes.split(",")]
    bench = Bench(
        sim=asked.sim,
        out=asked.out,
        spec=read_declaration(asked.sim),
        steps=asked.steps,
        scored=asked.scored,
        until=time.monotonic() + asked.limit_s,
        cells=json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {},
    )
    given = {"eit_post": asked.weights, "eit_unrolled": asked.unrolled}
    run(bench, sizes, asked.levels, {model: path for model, path in given.items() if path is not None})
    print(machine_line())
    show(bench, sizes)
    draw(bench, sizes, asked.out / "ablation.png")
    print(asked.out / "ablation.png")


if __name__ == "__main__":
    main()
