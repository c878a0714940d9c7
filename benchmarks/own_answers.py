"""How far a reduced graph's answers lie apart, computed in other ways, and where one weight of it is another.

    python benchmarks/own_answers.py --bundle BUNDLE --frames ../shared/data/polyp/val/images --count 20
    python benchmarks/own_answers.py --bundle BUNDLE --emulator qemu-x86_64      # also on processors that are not here

The bundle was exported for the engine whose own answers count. Every way runs in a process of its own, on one thread:
as the engine ships it; on two threads; with instruction sets left out (OpenVINO alone can be told); on emulated
processors; on the other engine; and as it is written, Q/DQ in float. All of these are right. Then single weights are
exchanged, which is wrong, and the golden frames are asked twice: the bounds against full precision, and those against
the graph's own answers.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import machine_line
from numpy.typing import NDArray

from physedge_runtime.bundle import Bundle, read_bundle
from physedge_runtime.engines import open_engine
from physedge_runtime.errors import IntegrityError
from physedge_runtime.frame import Frame
from physedge_runtime.keys import ANYBODY
from physedge_runtime.net import Net, engine_request
from physedge_runtime.resize import prepare

LEFT_OUT = ("AVX512_CORE", "AVX2", "AVX")
"""The best that OpenVINO may use: without VNNI and AMX; without AVX-512; without fused multiply-adds."""
EMULATED = ("Haswell", "Nehalem")
"""AVX2 without VNNI; SSE 4.2."""
_SEED = 8


def asked_frames(bundle: Bundle, folder: Path | None, count: int) -> list[NDArray[np.uint8]]:
    """The golden frames, then pictures of a folder, evenly over its names."""
    cases = bundle.manifest.golden
    frames = [np.frombuffer(bundle.read(case.frame), np.uint8).reshape(case.shape) for case in cases]
    if folder is not None:
        from physedge_calibrate.dataset import list_pictures, read_picture

        paths = list_pictures(folder)
        frames += [read_picture(path) for path in paths[:: max(1, len(paths) // count)][:count]]
    return frames


def answer(arguments: argparse.Namespace) -> None:
    """The worker: answers of one way to every frame, written to a file."""
    bundle = read_bundle(arguments.bundle, trust=ANYBODY)
    spec = bundle.manifest.spec
    assert spec.frame is not None
    engine, entry, threads, optimise = arguments.answer
    request = engine_request(
        bundle, bundle.manifest.artefact(entry), threads=int(threads), options={"optimise": optimise == "yes"}
    )
    with open_engine(engine, request) as opened:
        answers = [
            opened.infer(prepare(Frame(pixels=pixels), spec.frame)[np.newaxis])["probability"]
            for pixels in asked_frames(bundle, arguments.frames, arguments.count)
        ]
    np.save(arguments.into, np.concatenate(answers))


class Ways:
    """Runs workers and keeps what they answered."""

    def __init__(self, arguments: argparse.Namespace, folder: Path) -> None:
        self.arguments = arguments
        self.folder = folder

    def ask(
        self, engine: str, entry: str, *, threads: int = 1, optimise: bool = True, isa: str = "", emulated: str = ""
    ) -> NDArray[np.float32] | None:
        """(frame, class, height, width); None where this way cannot be gone."""
        into = self.folder / "answers.npy"
        into.unlink(missing_ok=True)
        way = [engine, entry, str(threads), "yes" if optimise else "no"]
        command = [sys.executable, __file__, "--bundle", str(self.arguments.bundle), "--answer", *way]
        command += ["--into", str(into), "--count", str(0 if emulated else self.arguments.count)]
        if self.arguments.frames is not None and not emulated:
            command += ["--frames", str(self.arguments.frames)]
        if emulated:
            command = [self.arguments.emulator, "-cpu", emulated, *command]
        environment = {**os.environ, **({"ONEDNN_MAX_CPU_ISA": isa} if isa else {})}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            print(f"  {engine} {isa or emulated}: {done.stderr.strip().splitlines()[-1][:150]}")
            return None
        found: NDArray[np.float32] = np.load(into)
        return found


def line(name: str, own: NDArray[np.float32], other: NDArray[np.float32] | None) -> None:
    """One row of the first table."""
    if other is None:
        return
    errors = np.abs(own[: len(other)] - other).reshape(len(other), -1)
    same = int((errors.max(axis=1) == 0).sum())
    means = errors.mean(axis=1)
    print(
        f"| {name} | {same} of {len(other)} | {np.median(means):.2g} | {means.max():.2g} | {errors.max():.2g} |",
        flush=True,
    )


def other_ways(arguments: argparse.Namespace, engine: str, entry: str, full: str) -> None:
    """The first table."""
    with tempfile.TemporaryDirectory() as folder:
        ways = Ways(arguments, Path(folder))
        own = ways.ask(engine, entry)
        assert own is not None
        print("| the graph computed by | same bits | mean distance, median frame | worst frame | largest single |")
        print("|---|---|---|---|---|")
        line(f"{engine}, two threads", own, ways.ask(engine, entry, threads=2))
        if engine == "openvino":
            for isa in LEFT_OUT:
                line(f"{engine}, at most {isa}", own, ways.ask(engine, entry, isa=isa))
        if arguments.emulator and engine == "onnxruntime":
            for processor in EMULATED:
                line(f"{engine}, {processor}, golden frames alone", own, ways.ask(engine, entry, emulated=processor))
        if entry.endswith(".onnx"):
            other = "openvino" if engine == "onnxruntime" else "onnxruntime"
            line(other, own, ways.ask(other, entry))
            line("as it is written, in float", own, ways.ask("onnxruntime", entry, optimise=False))
        line("*full precision*", own, ways.ask("onnxruntime", full))


def with_weights_changed(graph: bytes, generator: random.Random, count: int) -> bytes:
    """So many INT8 weights of the graph are others of their 7 bits."""
    import onnx

    model = onnx.load_from_string(graph)
    tensors = [tensor for tensor in model.graph.initializer if tensor.data_type == onnx.TensorProto.INT8]
    tensors = [tensor for tensor in tensors if len(tensor.raw_data) > 1]
    for _ in range(count):
        tensor = generator.choices(tensors, weights=[len(tensor.raw_data) for tensor in tensors])[0]
        data = np.frombuffer(tensor.raw_data, np.int8).copy()
        place = generator.randrange(len(data))
        data[place] = generator.choice([value for value in range(-64, 64) if value != data[place]])
        tensor.raw_data = data.tobytes()
    return bytes(model.SerializeToString())


def faults(bundle: Bundle, engine: str, entry: str, count: int) -> None:
    """How many graphs with one other weight each bound tells."""
    artefact = bundle.manifest.artefact(entry)
    request = engine_request(bundle, artefact, threads=1)
    generator = random.Random(_SEED)

    def own_distance(graph: bytes) -> float | None:
        with Net(
            manifest=bundle.manifest, artefact=artefact, engine=open_engine(engine, replace(request, graph=graph))
        ) as net:
            try:
                return max(replay.own_mean_error or 0.0 for replay in net.replay_golden(bundle))
            except IntegrityError:
                return None

    unchanged = own_distance(with_weights_changed(request.graph, generator, 0))
    print(f"written anew without a change: mean distance {unchanged}")
    assert artefact.own is not None
    found = [own_distance(with_weights_changed(request.graph, generator, 1)) for _ in range(count)]
    means = [mean for mean in found if mean is not None]
    refused = count - len(means)
    told = refused + sum(mean > artefact.own.mean_bound for mean in means)
    print(f"one weight changed, {count} graphs: {refused} beyond the bounds against full precision, {told} told by")
    print(f"the graph's own answers; mean distance from these: median {np.median(means):.2g}, largest {max(means):.2g}")


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--frames", type=Path, help="pictures besides the golden frames")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--faults", type=int, default=40)
    parser.add_argument("--emulator", help="qemu-x86_64, for ONNX Runtime on other processors")
    parser.add_argument("--answer", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        answer(arguments)
        return
    bundle = read_bundle(arguments.bundle, trust=ANYBODY)
    engine = bundle.manifest.target
    entry = bundle.manifest.shipped[engine]
    artefact = bundle.manifest.artefact(entry)
    print(
        f"{bundle.manifest.spec.name}, {entry} on {engine}, bounds against full precision: "
        f"{artefact.golden_mean_bound:g} in the mean, {artefact.golden_max_bound:g} at most"
    )
    other_ways(arguments, engine, entry, bundle.manifest.artefacts[0].entry)
    if arguments.faults and entry.endswith(".onnx"):
        faults(bundle, engine, entry, arguments.faults)
    print(machine_line())


if __name__ == "__main__":
    main()
