"""What averaging over turned voltages costs and gains: a way to treat all electrodes alike that needs no training.

    python benchmarks/eit_turns.py --sim sim --weights runs/eit_post/best.safetensors

The network answers the voltages of the body in several turns; each image is turned back, and their mean is taken.
Quarter turns move pixels onto pixels. Turns by one electrode are interpolated, which blurs. Scored are measurements of
`sim/val`, one a body; the time is processor time of one thread in torch.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from machine import machine_line
from numpy.typing import NDArray

from physedge.deploy.network import NetworkChoice, find_network, load_weights
from physedge.models.impedance import ImpedanceNetwork
from physedge.models.registry import load_factory
from physedge.models.reparameterise import reparameterise
from physedge.physics.eit.embed import protocol_of
from physedge.physics.eit.plausibility import renumbering, renumbering_error
from physedge.physics.eit.symmetry import Symmetry, symmetries
from physedge.train.turned_bodies import changed_frames, turned_images
from physedge_calibrate.metrics.reconstruction import relative_error
from physedge_calibrate.voltage_frames import read_arrays, read_declaration, read_voltage_samples
from physedge_runtime.voltage_protocol import VoltageProtocol

QUARTER_DEG = 90.0
TIMED = 40


@torch.no_grad()
def averaged(network: ImpedanceNetwork, frame: NDArray[np.float32], turns: Sequence[Symmetry]) -> NDArray[np.float64]:
    """(height, width): the mean over the turns, each turned back."""
    voltages = torch.cat([changed_frames(torch.from_numpy(frame)[None], turn) for turn in turns])
    images, _ = network.reconstruct(network.difference(voltages), torch.zeros(len(turns), dtype=torch.int64))
    found = []
    for image, turn in zip(images, turns, strict=True):
        quarters, rest_deg = divmod(turn.turn_deg, QUARTER_DEG)
        back = turned_images(torch.rot90(image, -int(quarters), dims=(-2, -1)), -rest_deg)[0]
        found.append(back.flip(-1) if turn.is_mirrored else back)
    return torch.stack(found).mean(dim=0).double().numpy()


def row(
    network: ImpedanceNetwork,
    protocol: VoltageProtocol,
    turns: Sequence[Symmetry],
    frames: NDArray[np.float32],
    truths: NDArray[np.float32],
) -> str:
    """One line of the table."""
    pitch_deg = 360.0 / protocol.electrodes
    images = [averaged(network, frame, turns) for frame in frames]
    errors = [relative_error(image, truth) for image, truth in zip(images, truths, strict=True)]
    cells = [f"{np.mean(errors):.4f}"]
    for by in (1, protocol.electrodes // 4):
        place, factor = renumbering(protocol, by)
        again = [averaged(network, (frame[:, place] * factor).astype(np.float32), turns) for frame in frames]
        turned = [renumbering_error(a, b, by * pitch_deg) for a, b in zip(images, again, strict=True)]
        cells.append(f"{np.mean(turned):.3f}")
    started = time.process_time()
    for _ in range(TIMED):
        averaged(network, frames[0], turns)
    return " | ".join([*cells, f"{(time.process_time() - started) / TIMED * 1e3:.1f}"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sim", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--model", default="eit_post")
    parser.add_argument("--bodies", type=int, default=50)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    spec = read_declaration(asked.sim)
    network = load_factory(find_network(NetworkChoice(model=asked.model)).factory)(voltages=spec)
    assert isinstance(network, ImpedanceNetwork)
    load_weights(network, asked.weights)
    deployed = reparameterise(network)
    assert isinstance(deployed, ImpedanceNetwork)
    protocol = protocol_of(spec)
    frames, truths = read_arrays(read_voltage_samples(asked.sim / "val", spec)[: 4 * asked.bodies : 4])
    known = symmetries(protocol)
    plain = [turn for turn in known if not turn.is_mirrored]
    quarters = [turn for turn in plain if turn.turn_deg % QUARTER_DEG == 0]
    kinds = {
        "as it is": plain[:1],
        "2 turns by a half": quarters[::2],
        "4 turns by a quarter": quarters,
        "and mirrored": [turn for turn in known if turn.turn_deg % QUARTER_DEG == 0],
        "all turns by an electrode": plain,
    }
    print(machine_line())
    print("\n| mean over | relative error | turned by one electrode | by a quarter | ms |\n|---|---|---|---|---|")
    for name, turns in kinds.items():
        print(f"| {name} | {row(deployed, protocol, turns, frames, truths)} |", flush=True)


if __name__ == "__main__":
    main()
