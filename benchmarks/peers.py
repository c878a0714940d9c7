"""One network and one clip, as physedge runs it and as people write it themselves; published light nets beside ours.

    python benchmarks/peers.py --bundle build/demo/pmrnet_s-demo.physedge --clip build/demo/film/video.mp4
    python benchmarks/peers.py --bundle build/pmrnet_e.physedge --model pmrnet_e --weights best.safetensors \
        --spec spec.toml --clip clip.mp4
    python benchmarks/peers.py --published

Everybody starts from the same raw frames and ends with a mask at their size, on one thread, in turns, in one run. The
loops of others use the plain export (torch.onnx.export of the trained module, scaling in numpy); OpenVINO's Model API
takes part where `openvino-model-api` is installed, torch.compile with --compile (minutes). Start-up and memory are
taken in a process of their own: import to first answer, and the largest resident set. Where OpenVINO, left alone, takes
bfloat16 for full precision, its loop runs a second time in float32, which is what physedge asks for.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge.deploy.network import DEMO_MODELS, demo_weights

Frames = list[NDArray[np.uint8]]
Answer = Callable[[NDArray[np.uint8]], NDArray[Any]]

REFERENCE = "torch eager"


def computes_in_bfloat16() -> bool:
    """Whether OpenVINO, left alone, takes bfloat16 for a graph in full precision on this processor."""
    import openvino

    return openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT") == openvino.Type.bf16


def read_clip(path: Path | None, count: int = 24) -> Frames:
    """The first frames of a film, RGB; smooth noise of 640x480 where there is none."""
    import cv2

    if path is None:
        generator = np.random.default_rng(0)
        small = generator.integers(0, 256, (count, 12, 16, 3), dtype=np.uint8)
        return [cv2.resize(one, (640, 480), interpolation=cv2.INTER_CUBIC) for one in small]
    film = cv2.VideoCapture(str(path))
    frames = []
    while len(frames) < count:
        found, frame = film.read()
        if not found:
            break
        frames.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return frames


class Peers:
    """The ways to run the network; each is opened by its name."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        from physedge_runtime.spec import read_spec

        self.arguments = arguments
        self.spec = read_spec(arguments.spec)
        assert self.spec.frame is not None
        self.size = (self.spec.frame.height, self.spec.frame.width)
        self.plain = arguments.work / "plain.onnx"

    def names(self) -> list[str]:
        """All that can run here."""
        own = [f"physedge {name}" for name in ("openvino", "onnxruntime")]
        in_float32 = ["OpenVINO loop, float32"] if computes_in_bfloat16() else []
        others = ["OpenVINO loop", *in_float32, "ONNX Runtime loop", REFERENCE]
        extra = ["OpenVINO Model API"] if find_spec("model_api") else []
        return [*own, *others, *extra, *(["torch compiled"] if self.arguments.compile else [])]

    def module(self) -> Any:
        """The trained network as torch runs it."""
        from physedge.deploy.network import load_weights
        from physedge.models.registry import find

        network = find(self.arguments.model).build(classes=self.spec.output_channels, channels=3)
        load_weights(network, self.arguments.weights)
        return network.eval()

    def export_plain(self) -> None:
        """What torch.onnx.export makes of the trained module, float picture in, logits out."""
        import torch

        torch.onnx.export(
            self.module(), (torch.zeros(1, 3, *self.size),), str(self.plain), input_names=["image"],
            output_names=["logits"], dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip

    def open(self, name: str) -> Answer:
        """From a raw frame to a mask of its size."""
        if name.startswith("physedge"):
            return self._physedge(name.split()[1])
        if name.startswith("torch"):
            return self._torch(compiled=name.endswith("compiled"))
        return {
            "OpenVINO loop": self._openvino,
            "OpenVINO loop, float32": lambda: self._openvino(INFERENCE_PRECISION_HINT="f32"),
            "ONNX Runtime loop": self._onnxruntime,
            "OpenVINO Model API": self._model_api,
        }[name]()

    def _physedge(self, engine: str) -> Answer:
        from physedge_runtime import Frame, load
        from physedge_runtime.frame_mask import labels_on_frame

        net = load(self.arguments.bundle).open(engine=engine, threads=1, allow_rejected=True)

        def answer(frame: NDArray[np.uint8]) -> NDArray[Any]:
            result: Any = net.answer(Frame(pixels=frame, captured_ns=time.monotonic_ns()))
            return labels_on_frame(result, self.spec.frame)

        return answer

    def _by_hand(self, run: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> Answer:
        import cv2

        mean, std = (np.float32(values[0]) for values in (self.spec.normalise.mean, self.spec.normalise.std))

        def answer(frame: NDArray[np.uint8]) -> NDArray[Any]:
            small = cv2.resize(frame, self.size[::-1], interpolation=cv2.INTER_AREA)
            image = ((small.astype(np.float32) / 255.0 - mean) / std).transpose(2, 0, 1)[None]
            logits = run(np.ascontiguousarray(image))[0, 0]
            mask = (1.0 / (1.0 + np.exp(-logits)) > 0.5).astype(np.uint8)
            return cv2.resize(mask, frame.shape[1::-1], interpolation=cv2.INTER_NEAREST)

        return answer

    def _openvino(self, **more: str) -> Answer:
        import openvino

        asked = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, **more}
        compiled = openvino.Core().compile_model(str(self.plain), "CPU", asked)
        return self._by_hand(lambda image: compiled(image)[0])

    def _onnxruntime(self) -> Answer:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(self.plain), options, providers=["CPUExecutionProvider"])
        return self._by_hand(lambda image: session.run(None, {"image": image})[0])

    def _model_api(self) -> Answer:
        from model_api.adapters import OpenvinoAdapter, create_core
        from model_api.models import SegmentationModel

        core, path = create_core(), self.plain.with_name("two_planes.xml")
        self._two_planes(core, path)
        adapter = OpenvinoAdapter(core, str(path), device="CPU", plugin_config={"INFERENCE_NUM_THREADS": 1})
        settings = {"resize_type": "standard", "soft_threshold": 0.5, "mean_values": [127.5], "scale_values": [63.75]}
        model = SegmentationModel(adapter, settings, preload=True)
        return lambda frame: np.asarray(model(frame).resultImage)

    def _two_planes(self, core: Any, path: Path) -> None:
        """Model API wants a plane for each class, background and foreground."""
        import openvino

        graph, steps = core.read_model(str(self.plain)), openvino.opset13
        plane = steps.sigmoid(graph.output("logits").get_node().input_value(0))
        both = steps.concat([steps.subtract(steps.constant(np.float32(1)), plane), plane], 1)
        both.output(0).set_names({"masks"})
        openvino.save_model(openvino.Model([both], graph.get_parameters()), path, compress_to_fp16=False)

    def _torch(self, *, compiled: bool) -> Answer:
        import torch

        torch.set_num_threads(1)
        module = self.module()
        run = torch.compile(module) if compiled else module

        @torch.inference_mode()
        def infer(image: NDArray[np.float32]) -> NDArray[np.float32]:
            return run(torch.from_numpy(image)).numpy()

        return self._by_hand(infer)


def print_table(functions: dict[str, Callable[[], object]], rounds: int, extra: dict[str, str], title: str) -> None:
    """Time in turns and print: frames a second, percentiles that the count allows, processor time."""
    from machine import machine_line

    from physedge_calibrate.bench import run_bench

    bench = run_bench(functions, rounds=rounds, generator=np.random.default_rng(0))
    tails = [name for name in ("p90", "p99") if name in bench.timings[0].percentiles_ms]
    print(f"| {title} | frames/s | median ms | {' | '.join(tails)} {'| ' if tails else ''}CPU ms | also |")
    print("|" + "---|" * (5 + len(tails)))
    for timing in bench.timings:
        shown = [f"{1e3 / timing.median_ms:.1f}", f"{timing.median_ms:.1f}"]
        shown += [f"{timing.percentiles_ms[name]:.1f}" for name in tails] + [f"{timing.cpu_median_ms:.1f}"]
        print(f"| {timing.name} | {' | '.join(shown)} | {extra.get(timing.name, '')} |")
    print(f"{rounds} rounds; frames a second and percentiles on the wall, shared with whatever else ran")
    print(machine_line(), flush=True)


def published(rounds: int) -> None:
    """Published light nets and ours at 256x256, full precision, plain export, both engines; ours also as exported."""
    import onnxruntime
    import openvino
    import torch
    from published_nets import NETWORKS, PUBLISHED

    from physedge.models.cost import count
    from physedge.models.registry import find
    from physedge.models.reparameterise import reparameterise

    torch.set_num_threads(1)
    torch.manual_seed(0)
    image = torch.randn(1, 3, 256, 256)
    functions: dict[str, Callable[[], object]] = {}
    extra = {}
    with tempfile.TemporaryDirectory() as folder:
        ours = {
            name: (lambda name=name: reparameterise(find(name).build())) for name in ("pmrnet", "pmrnet_e", "pmrnet_s")
        }
        for name, make in {**NETWORKS, **ours}.items():
            network = make().eval()
            cost = count(network if name in NETWORKS else find(name).build(), (256, 256), channels=3)
            path = f"{folder}/{name}.onnx"
            torch.onnx.export(network, (image,), path, dynamo=True, external_data=False, verbose=False)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            given = {session.get_inputs()[0].name: image.numpy()}
            asked = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
            compiled = openvino.Core().compile_model(path, "CPU", asked)
            functions[f"{name}, ONNX Runtime"] = lambda session=session, given=given: session.run(None, given)
            functions[f"{name}, OpenVINO"] = lambda compiled=compiled: compiled(image.numpy())
            known = f", published {PUBLISHED[name][1]}" if name in PUBLISHED else ""
            text = f"{cost.parameters:,} parameters{known}; {cost.macs / 1e9:.2f} GMAC"
            extra |= {f"{name}, {engine}": text for engine in ("ONNX Runtime", "OpenVINO")}
    print_table(functions, rounds, extra, "network, 256x256, full precision, one thread")


def main() -> None:
    """Measure and print."""
    started = time.perf_counter()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--model", default=DEMO_MODELS[0])
    parser.add_argument("--weights", type=Path, help="and --spec; those that come with physedge if not said")
    parser.add_argument("--spec", type=Path)
    parser.add_argument("--clip", type=Path)
    parser.add_argument("--rounds", type=int, default=64)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--published", action="store_true")
    parser.add_argument("--work", type=Path, default=Path("build/peers"))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.published:
        return published(arguments.rounds)
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.weights is None:
        arguments.weights = demo_weights(arguments.model)
        arguments.spec = arguments.weights.with_suffix(".toml")
    peers, frames = Peers(arguments), read_clip(arguments.clip)
    if arguments.one:
        peers.open(arguments.one)(frames[0])
        seconds = time.perf_counter() - started
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return print(json.dumps({"seconds": seconds, "peak_mb": peak_mb}))
    peers.export_plain()
    extra, functions, masks = {}, {}, {}
    for name in peers.names():
        told = subprocess.run(
            [sys.executable, *sys.argv, "--one", name], check=True, capture_output=True, text=True
        ).stdout.splitlines()[-1]
        alone = json.loads(told)
        extra[name] = f"start {alone['seconds']:.1f} s, {alone['peak_mb']:.0f} MB"
        answer, turn = peers.open(name), iter(range(1 << 30))
        masks[name] = np.stack([answer(frame) > 0 for frame in frames])
        functions[name] = lambda answer=answer, turn=turn: answer(frames[next(turn) % len(frames)])
    for name, given in masks.items():
        extra[name] += f", {np.mean(given != masks[REFERENCE]):.4%} of the mask points are others than in {REFERENCE}"
    print_table(functions, arguments.rounds, extra, f"{peers.spec.name}, raw frame to mask, one thread")
    return None


if __name__ == "__main__":
    main()
