"""`physnet_e` on one core: full precision against INT8, the growth block's share, and how long an export takes.

    python benchmarks/physnet_speed.py --size 224

Times are CPU time of one thread, in one interleaved run; weights are untrained, which changes no time. The growth block
is measured three times: exported alone (density, D and rho in), with the cost of a call of its own; inside the network,
as what the same network saves whose density stands still; and by OpenVINO's own counters of the operators in it.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from functools import partial

import numpy as np
import openvino
import torch
from machine import machine_line

from physedge.deploy.judge import Graph
from physedge.models.blocks.growth import Growth
from physedge.models.registry import factory_options, find
from physedge.models.reparameterise import reparameterise
from physedge_calibrate.bench import run_bench
from physedge_calibrate.profile import profile_graph
from physedge_calibrate.quantize import quantize_unsigned
from physedge_export.graph import TracedGraph
from physedge_export.passes.table import apply_passes
from physedge_export.quiet import strict_tracing
from physedge_export.trace import trace
from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.frame import Fit, FrameSpec
from physedge_runtime.growth import GrowthSpec


def growth_graph(spec: GrowthSpec) -> bytes:
    """The block alone, from u, D and rho to the snapshots."""
    cells = spec.cells
    inputs = (torch.rand(1, 1, cells, cells), torch.full((1, 1, 1, 1), 0.1), torch.full((1, 1, 1, 1), 0.01))
    with strict_tracing():
        program = torch.onnx.export(
            Growth(spec).eval(),
            inputs,
            input_names=["u", "D", "rho"],
            output_names=["density"],
            opset_version=18,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph: bytes = program.model_proto.SerializeToString()
    return graph


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="physnet_e")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--integrator", default="split")
    parser.add_argument("--rounds", type=int, default=64)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    entry = find(asked.model)
    growth = GrowthSpec(cells=asked.size // 4, none_class="no_tumor", integrator=asked.integrator)
    frame = FrameSpec(height=asked.size, width=asked.size, fit=Fit.LETTERBOX)

    def exported(growth: GrowthSpec) -> TracedGraph:
        spec = entry.spec.model_copy(update={"frame": frame, "growth": growth})
        torch.manual_seed(0)
        module = reparameterise(entry.build(**factory_options(spec)).eval())
        return apply_passes(trace(module, spec), "openvino")[0]

    still = exported(growth.model_copy(update={"evolves": False}))
    wall, cpu = time.perf_counter(), time.process_time()
    traced = exported(growth)
    print(f"trace and passes: {time.process_time() - cpu:.1f} s CPU, {time.perf_counter() - wall:.1f} s on the wall")
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, frame.shape).astype(np.uint8) for _ in range(16)]
    cpu = time.process_time()
    quantised = quantize_unsigned(
        traced.model, frames, input_name="frame", float_nodes=traced.float_nodes, engine="openvino"
    )
    print(f"INT8 with 16 pictures: {time.process_time() - cpu:.1f} s CPU, {quantised.int8_mac_share:.1%} of the MACs")
    outputs = {output.name: output.shape for output in traced.outputs}

    def asked_for(graph: Graph) -> EngineRequest:
        return EngineRequest(
            graph=graph.data,
            graph_sha256=hashlib.sha256(graph.data).hexdigest(),
            input_shape=(1, *frame.shape),
            outputs=outputs,
            threads=1,
        )

    def opened(graph: Graph, engine: str) -> object:
        return open_engine(engine, asked_for(graph)).__enter__()

    full, int8 = (
        Graph(entry="fp32", precision="fp32", data=traced.model),
        Graph(entry="int8", precision="int8", data=quantised.model),
    )
    candidates = {
        f"{engine} {graph.entry}": partial(opened(graph, engine).infer, frames[0][np.newaxis])  # type: ignore[attr-defined]
        for engine in ("openvino", "onnxruntime")
        for graph in (full, int8)
    }
    standing = Graph(entry="fp32, density standing still", precision="fp32", data=still.model)
    without = f"openvino {standing.entry}"
    candidates[without] = partial(opened(standing, "openvino").infer, frames[0][np.newaxis])  # type: ignore[attr-defined]
    core = openvino.Core()
    as_the_runtime = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    alone = core.compile_model(core.read_model(growth_graph(growth)), "CPU", as_the_runtime).create_infer_request()
    for name, values in (
        ("u", rng.random((1, 1, growth.cells, growth.cells))),
        ("D", np.full((1, 1, 1, 1), 0.1)),
        ("rho", np.full((1, 1, 1, 1), 0.01)),
    ):
        alone.set_tensor(name, openvino.Tensor(values.astype(np.float32)))
    candidates["openvino growth block"] = alone.infer
    bench = run_bench(candidates, rounds=asked.rounds, generator=np.random.default_rng(0))
    times = {timing.name: timing.cpu_median_ms for timing in bench.timings}
    print(f"{asked.model} at {asked.size}x{asked.size}, {growth.integrator}, {asked.rounds} rounds\n")
    print("| candidate | CPU ms, median | against full precision of the same engine |\n|---|---|---|")
    for name, value in times.items():
        base = times.get(f"{name.split()[0]} fp32", value)
        print(f"| {name} | {value:.2f} | {base / value:.2f}x |")
    whole = times["openvino fp32"]
    profile = profile_graph("openvino", asked_for(full), frames[0][np.newaxis], rounds=asked.rounds)
    counted = profile.by_module(depth=2)
    print(
        f"\ngrowth block, of the network's time: {times['openvino growth block'] / whole:.2%} alone with a call of its "
        f"own; {(whole - times[without]) / whole:.2%} as what a density that stands still saves; "
        f"{counted['block.growth'] / profile.sum_ms:.2%} by the counters ({profile.sentence()})"
    )
    for module, milliseconds in counted.items():
        if module.startswith("block."):
            print(f"- {module}: {milliseconds:.3f} ms, {milliseconds / profile.sum_ms:.2%}")
    print(machine_line())


if __name__ == "__main__":
    main()
