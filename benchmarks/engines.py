"""Torch eager, ONNX Runtime and OpenVINO, full precision and INT8, on one core in one interleaved run.

    python benchmarks/engines.py --bundle build/demo/pmrnet_s-demo.physedge
    python benchmarks/engines.py --bundle build/polyp.physedge --model pmrnet_e --weights runs/polyp/best.safetensors \
        --spec runs/polyp/spec.toml --profile

Times are CPU time of one thread: on a shared machine it holds within a few per cent where wall time does not. Every
candidate answers the same
frames; the largest difference of its answers from full precision is printed beside its time.
"""

from __future__ import annotations

import argparse
import hashlib
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import machine_line
from numpy.typing import NDArray

from physedge.deploy.network import NetworkChoice, find_network, load_weights
from physedge.models.registry import load_factory
from physedge_runtime import load
from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.engines.openvino import OpenVinoEngine

Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def torch_answer(module: torch.nn.Module, mean: float, std: float, memory_format: torch.memory_format) -> Answer:
    """The network as people run it in torch: normalise, forward, sigmoid."""
    module = module.eval().to(memory_format=memory_format)

    @torch.inference_mode()
    def answer(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        image = torch.from_numpy(frame).permute(0, 3, 1, 2).float().div(255).sub(mean).div(std)
        return torch.sigmoid(module(image.contiguous(memory_format=memory_format))).numpy()

    return answer


def profile(
    graph: bytes, request: EngineRequest, frame: NDArray[np.uint8], rounds: int = 10
) -> list[tuple[str, float]]:
    """OpenVINO's own time by kind of operator, milliseconds a frame, the costliest first."""
    totals: Counter[str] = Counter()
    values: dict[str, Any] = {"graph": graph, "options": {"profile": True}}
    with OpenVinoEngine(
        EngineRequest(
            graph_sha256=request.graph_sha256,
            input_shape=request.input_shape,
            outputs=request.outputs,
            threads=1,
            **values,
        )
    ) as engine:
        for _ in range(3):
            engine.infer(frame)
        for _ in range(rounds):
            engine.infer(frame)
            for entry in engine.profiling_info():
                totals[f"{entry.node_type} ({entry.exec_type})"] += entry.real_time.total_seconds() * 1e3 / rounds
    return totals.most_common(12)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--model")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--spec", type=Path)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundle = load(arguments.bundle)
    spec = bundle.manifest.spec
    network = find_network(NetworkChoice(model=arguments.model, weights=arguments.weights, spec=arguments.spec))
    plain = load_factory(network.factory)(classes=spec.output_channels, channels=spec.input_shape[2])
    if network.weights is not None:
        load_weights(plain, network.weights)
    generator = np.random.default_rng(0)
    frames = [generator.integers(0, 256, (1, *spec.input_shape), dtype=np.uint8) for _ in range(4)]
    mean, std = spec.normalise.mean[0], spec.normalise.std[0]
    candidates: dict[str, Answer] = {
        "torch eager": torch_answer(plain, mean, std, torch.contiguous_format),
        "torch eager, channels_last": torch_answer(plain, mean, std, torch.channels_last),
    }
    engines = []
    requests = {}
    for artefact in bundle.manifest.artefacts:
        if artefact.entry not in ("model.onnx", "model.int8-cpu.onnx"):
            continue
        graph = bundle.read(artefact.entry)
        request = EngineRequest(
            graph=graph,
            graph_sha256=hashlib.sha256(graph).hexdigest(),
            input_shape=(1, *spec.input_shape),
            outputs={output.name: (1, *output.shape) for output in bundle.manifest.outputs},
            threads=1,
        )
        requests[artefact.precision] = request
        for name in ("onnxruntime", "openvino"):
            engine = open_engine(name, request)
            engines.append(engine)
            candidates[f"{name} {artefact.precision}"] = lambda frame, engine=engine: engine.infer(frame)["probability"]
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for index in range(arguments.rounds + 3):
        frame = frames[index % len(frames)]
        for name, answer in candidates.items():
            started = time.process_time()
            answer(frame)
            if index >= 3:
                times[name].append((time.process_time() - started) * 1e3)
    reference = candidates["onnxruntime fp32"](frames[0])
    base = statistics.median(times["torch eager"])
    full = {name: statistics.median(times[f"{name} fp32"]) for name in ("onnxruntime", "openvino")}
    print(f"{spec.name}, {spec.input_shape[0]}x{spec.input_shape[1]}, one thread, CPU time, {arguments.rounds} rounds")
    print("| candidate | median ms | of torch eager | of fp32, same engine | largest difference |")
    print("|---|---|---|---|---|")
    for name, values in times.items():
        median = statistics.median(values)
        own = name.split()[0]
        ratio = f"{full[own] / median:.2f}x" if own in full else ""
        difference = "" if name.startswith("torch") else f"{np.abs(candidates[name](frames[0]) - reference).max():.2g}"
        print(f"| {name} | {median:.1f} | {base / median:.2f}x | {ratio} | {difference} |")
    if arguments.profile:
        for precision, request in requests.items():
            print(f"\nOpenVINO {precision}, ms a frame by operator:")
            for kind, milliseconds in profile(request.graph, request, frames[0]):
                print(f"  {milliseconds:7.2f}  {kind}")
    for engine in engines:
        engine.close()
    print(machine_line())


if __name__ == "__main__":
    main()
