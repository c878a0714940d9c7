"""What each step of export gains: from the plain export of a network on, one step after the other, per engine.

    python benchmarks/passes.py --model pmrnet_e --rounds 21

Plain: the module as it was trained, traced as it stands. Then the re-parameterisation of the module, then each pass of
the target, then INT8 for that engine. One thread, processor time, all in turns in one run; parity is the largest
difference of a probability from the plain graph's, on frames of synthetic scenes.
"""

from __future__ import annotations

import argparse
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


def steps_of(plain: TracedGraph, folded: TracedGraph, engine: str) -> dict[str, bytes]:
    """The graphs by what was done last, each step on top of those before it."""
    found = {"plain export": plain.model, "re-parameterised": folded.model}
    model = folded.model
    for make in PASSES[engine]:
        model, report = run_passes(model, [make()])
        if any(report.changed.values()):
            found[make().name.replace("_", " ")] = model
    return found


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
    functions: dict[str, Callable[[], object]] = {
        f"{name} | {title}": partial(engine.infer, frames[0]) for (name, title), engine in engines.items()
    }
    bench = run_bench(functions, rounds=arguments.rounds, generator=np.random.default_rng(0))
    print(f"{arguments.model}, {spec.input_shape[0]}x{spec.input_shape[1]}, one thread, {arguments.rounds} rounds")
    print("| engine | after | median CPU ms | of the plain export | largest difference |\n|---|---|---|---|---|")
    for (name, title), engine in engines.items():
        base = bench.timing(f"{name} | plain export").cpu_median_ms
        own = bench.timing(f"{name} | {title}").cpu_median_ms
        reference = engines["onnxruntime", "plain export"]
        apart = max(
            float(np.abs(engine.infer(x)["probability"] - reference.infer(x)["probability"]).max()) for x in frames
        )
        print(f"| {name} | {title} | {own:.1f} | {base / own:.2f}x | {apart:.1g} |")
    print(machine_line())


if __name__ == "__main__":
    main()
