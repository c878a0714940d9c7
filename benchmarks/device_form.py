"""How the sizes of `pmrnet_s` were chosen: block times measured in place, then every combination added up.

    python benchmarks/device_form.py --engine openvino --budget-ms 12

Three networks of three widths a stage are exported, quantised and profiled on one thread; that gives the time of every
block at every width, where it stands. Every combination of widths and numbers of couplings is then the sum of its
blocks. Printed are the forms with the most multiply-accumulates that keep the time and the number of parameters: what a
form computes in a millisecond is what distinguishes it, not how few parameters it has. Weights are random: times do
not depend on them.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from machine import machine_line

from physedge.models.cost import count
from physedge.models.pmrnet_s import DeviceForm, pmrnet_s
from physedge.models.registry import find
from physedge.models.reparameterise import reparameterise
from physedge_calibrate.profile import profile_graph
from physedge_calibrate.quantize import quantize_unsigned
from physedge_export.passes.table import apply_passes
from physedge_export.trace import trace
from physedge_runtime.engines import EngineRequest

WIDTHS = ((32, 64, 96), (96, 128, 160), (128, 192, 256))
"""Of the stages at 1/4, 1/8 and 1/16, that are measured."""
MOVES = ((1, 2, 3), (1, 2, 3, 4), (1, 2, 3, 4, 5))
MOST_PARAMETERS = 870_000
STAGES = ("stage1", "stage2", "stage3")


@dataclass(frozen=True, slots=True)
class Blocks:
    """Milliseconds of one measured network: by stage a coupling and the rest, and by stage its decoder."""

    move_ms: tuple[float, ...]
    rest_ms: tuple[float, ...]
    decoder_ms: tuple[float, ...]
    around_ms: float


def measure(form: DeviceForm, engine: str, precision: str, rounds: int) -> Blocks:
    """Export, quantise and profile one network."""
    spec = find("pmrnet_s").spec
    torch.manual_seed(0)
    traced = trace(reparameterise(pmrnet_s(form=form)), spec)
    traced, _ = apply_passes(traced, engine)
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 256, (3, *spec.input_shape), dtype=np.uint8)
    graph = traced.model
    if precision == "int8":
        graph = quantize_unsigned(
            graph,
            list(frames),
            input_name="frame",
            float_nodes=traced.float_nodes,
            engine="openvino" if engine == "openvino" else "onnxruntime",
        ).model
    request = EngineRequest(
        graph=graph,
        graph_sha256="0" * 64,
        input_shape=(1, *spec.input_shape),
        outputs={output.name: output.shape for output in traced.outputs},
    )
    profile = profile_graph(engine, request, frames[:1], rounds=rounds)
    print(f"{form}: sum {profile.sum_ms:.2f} ms, whole {profile.whole_ms:.2f} ms", flush=True)
    stages, parts = profile.by_module(), profile.by_module(2)
    moves = [parts.get(f"{stage}.moves", 0.0) for stage in STAGES]
    decoders = [stages.get(f"fuse{i}", 0.0) + stages.get(f"refine{i}", 0.0) for i in (1, 2)]
    used = sum(stages.get(stage, 0.0) for stage in STAGES) + sum(decoders)
    return Blocks(
        move_ms=tuple(time / count for time, count in zip(moves, form.moves, strict=True)),
        rest_ms=tuple(stages[stage] - time for stage, time in zip(STAGES, moves, strict=True)),
        decoder_ms=tuple(decoders),
        around_ms=profile.sum_ms - used,
    )


def candidates(measured: dict[DeviceForm, Blocks]) -> Iterator[tuple[float, DeviceForm]]:
    """Every combination of measured widths and couplings with the sum of its blocks, milliseconds."""
    rows = list(measured.items())
    around = min(blocks.around_ms for _, blocks in rows)
    for picked in itertools.product(range(len(rows)), repeat=3):
        widths = tuple(rows[row][0].widths[stage] for stage, row in enumerate(picked))
        for moves in itertools.product(*MOVES):
            time = around
            for stage, row in enumerate(picked):
                blocks = rows[row][1]
                time += blocks.rest_ms[stage] + moves[stage] * blocks.move_ms[stage]
                time += blocks.decoder_ms[stage] if stage < 2 else 0.0
            yield time, DeviceForm(widths=widths, moves=moves)  # type: ignore[arg-type]


def main() -> None:
    """Measure, add up and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="openvino", choices=("openvino", "onnxruntime"))
    parser.add_argument("--precision", default="int8", choices=("int8", "fp32"))
    parser.add_argument("--budget-ms", type=float, default=12.0)
    parser.add_argument("--rounds", type=int, default=24)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    measured = {
        form: measure(form, arguments.engine, arguments.precision, arguments.rounds)
        for form in (
            DeviceForm(widths=widths, moves=(1, 1, 1))  # type: ignore[arg-type]
            for widths in zip(*WIDTHS, strict=True)
        )
    }
    print("| width at 1/4, 1/8, 1/16 | coupling ms | rest of the stage ms | decoder ms |\n|---|---|---|---|")
    for form, blocks in measured.items():
        texts = [
            " ".join(f"{value:.2f}" for value in row) for row in (blocks.move_ms, blocks.rest_ms, blocks.decoder_ms)
        ]
        print(f"| {form.widths} | " + " | ".join(texts) + " |")
    fitting = [(time, form) for time, form in candidates(measured) if time <= arguments.budget_ms and _may_fit(form)]
    # Slower forms of the same budget compute more: only the slowest are worth counting exactly.
    counted = []
    for time, form in sorted(fitting, key=lambda row: -row[0])[:60]:
        cost = count(pmrnet_s(form=form), (256, 256), channels=3)
        if cost.parameters <= MOST_PARAMETERS:
            counted.append((cost.macs, cost.parameters, time, form))
    counted.sort(key=lambda row: -row[0])
    print(f"\nwithin {arguments.budget_ms} ms and {MOST_PARAMETERS:,} parameters, most MACs first:")
    for macs, parameters, time, form in counted[:12]:
        print(f"  {macs / 1e6:7.1f} MMAC  {parameters:>8,} parameters  {time:6.2f} ms  {form.widths} {form.moves}")
    print(machine_line())


def _may_fit(form: DeviceForm) -> bool:
    """A cheap bound on the parameters: couplings, entrances and mixings alone."""
    total, before = 0, form.stem
    for width, moves in zip(form.widths, form.moves, strict=True):
        total += 4 * before * width + (2 * moves + 2) * width * width
        before = width
    return total <= MOST_PARAMETERS


if __name__ == "__main__":
    main()
