"""What each step of export gains: from the plain export of a network on, one step after the other, per engine.

    python benchmarks/passes.py --model pmrnet_e --rounds 21

Plain: the module as it was trained, traced as it stands. Then the re-parameterisation of the module, then each pass of
the target, then INT8 for that engine. One thread, processor time, all in turns in one run. A step's own gain is the
median over the rounds of the time before it by the time with it, both of the same round, which sees less of the
machine's moods than two medians do. Parity is the largest difference of a probability from the plain graph's, on frames
of synthetic scenes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from machine import machine_line

from physedge.deploy.golden import golden_frames
from physedge.deploy.network import DEMO_MODELS, demo_weights, load_weights
from physedge.models.registry import find
from physedge.models.reparameterise import reparameterise
from physedge_calibrate.bench import run_bench
from physedge_calibrate.quantize import quantize_unsigned
from physedge_export.graph import TracedGraph
from physedge_export.passes.base import run_passes
from physedge_export.passes.table import PASSES, apply_passes
from physedge_export.trace import trace
from physedge_runtime.engines import Engine, EngineRequest, open_engine
from physedge_runtime.frame import Frame
from physedge_runtime.resize import prepare

ENGINES = ("openvino", "onnxruntime")
WARM_UP = 3


def steps_of(plain: TracedGraph, folded: TracedGraph, engine: str) -> dict[str, bytes]:
    """The graphs by what was done last, each step on top of those before it."""
    found = {"plain export": plain.model, "re-parameterised": folded.model}
    model = folded.model
    for make in PASSES[engine]:
        model, report = run_passes(model, [make()])
        if any(report.changed.values()):
            found[make().name.replace("_", " ")] = model
    return found


def kept(samples_ns: list[int], run: Callable[[], object]) -> Callable[[], None]:
    """The call, which writes its processor time down each time."""

    def call() -> None:
        start = time.process_time_ns()
        run()
        samples_ns.append(time.process_time_ns() - start)

    return call


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", default="pmrnet_e", help="with the weights that come along, if it has any; else random ones"
    )
    parser.add_argument("--rounds", type=int, default=21)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    spec = find(arguments.model).spec
    module = find(arguments.model).build().eval()
    if arguments.model in DEMO_MODELS:
        load_weights(module, demo_weights(arguments.model))
    plain, folded = trace(module, spec), trace(reparameterise(module), spec)
    assert spec.frame is not None
    frames = [prepare(Frame(pixels=frame), spec.frame)[np.newaxis] for frame in golden_frames(spec)]
    engines: dict[tuple[str, str], Engine] = {}
    for name in ENGINES:
        graphs = steps_of(plain, folded, name)
        passed, _ = apply_passes(folded, name)
        graphs["INT8"] = quantize_unsigned(
            passed.model, frames, input_name="frame", float_nodes=passed.float_nodes, engine=name
        ).model
        for title, graph in graphs.items():
            request = EngineRequest(
                graph=graph,
                graph_sha256="0" * 64,
                input_shape=(1, *spec.input_shape),
                outputs={output.name: output.shape for output in plain.outputs},
                threads=1,
            )
            engines[name, title] = open_engine(name, request)
    samples_ns: dict[tuple[str, str], list[int]] = {key: [] for key in engines}
    functions: dict[str, Callable[[], object]] = {
        " | ".join(key): kept(samples_ns[key], partial(engine.infer, frames[0])) for key, engine in engines.items()
    }
    run_bench(functions, rounds=arguments.rounds, generator=np.random.default_rng(0), warm_up=WARM_UP)
    rounds_ms = {key: 1e-6 * np.array(values[WARM_UP:]) for key, values in samples_ns.items()}
    print(f"{arguments.model}, {spec.input_shape[0]}x{spec.input_shape[1]}, one thread, {arguments.rounds} rounds")
    print("| engine | after | median CPU ms | of the plain export | of the step before | largest difference |")
    print("|---|---|---|---|---|---|")
    before = rounds_ms["openvino", "plain export"]
    for (name, title), engine in engines.items():
        base, own = rounds_ms[name, "plain export"], rounds_ms[name, title]
        before = base if title == "plain export" else before
        reference = engines["onnxruntime", "plain export"]
        apart = max(
            float(np.abs(engine.infer(x)["probability"] - reference.infer(x)["probability"]).max()) for x in frames
        )
        gains = f"{np.median(base / own):.2f}x | {np.median(before / own):.3f}x"
        print(f"| {name} | {title} | {np.median(own):.1f} | {gains} | {apart:.1g} |")
        before = own
    print(machine_line())


if __name__ == "__main__":
    main()
