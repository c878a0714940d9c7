"""One film through `physedge run` and through the C program: the same decisions, and how far the masks are apart.

    python benchmarks/native_film.py --build build/native --bundle NAME.physedge --film FILM.mp4

The film is decoded once more for the C program, which gets raw pictures. What the stream's core of Python was told and
decided is recorded as well and replayed, call by call, through the core in C++.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine_line
from numpy.typing import NDArray

from physedge_runtime import load
from physedge_runtime.results import Segmentation
from physedge_runtime.sources.video import decoded_pictures


def pictures(film: Path) -> NDArray[np.uint8]:
    """Every picture of the film: uint8 (frame, height, width, 3), RGB."""
    return np.stack([picture.pixels for picture in decoded_pictures(film)])


def lines(text: str) -> list[dict[str, Any]]:
    """The JSON lines of the pictures."""
    return [line for line in map(json.loads, text.splitlines()) if line.get("kind", "frame") == "frame"]


def compare(arguments: argparse.Namespace, engine: str, frames: NDArray[np.uint8], folder: Path) -> None:
    """Print one row."""
    said, raw, masks = folder / "run.jsonl", folder / "film.raw", folder / "masks.bin"
    run = [sys.executable, "-c", "from physedge.cli import main; main()", "run", "--source", str(arguments.film)]
    run += ["--bundle", str(arguments.bundle), "--engine", engine, "--allow-rejected"]
    run += ["--sink", f"jsonl:{said}", "--record-raw", str(raw)]
    subprocess.run(run, check=True, capture_output=True)
    command = [str(arguments.build / "physedge_stream_frames"), str(arguments.bundle)]
    command += [str(frames.shape[2]), str(frames.shape[1]), str(masks)]
    environment = {**os.environ, "PHYSEDGE_ENGINE": engine}
    done = subprocess.run(command, input=frames.tobytes(), check=True, capture_output=True, env=environment)
    ours, theirs = lines(done.stdout.decode()), lines(said.read_text())
    same = sum(
        (one["frame_id"], one["signal"], one["withdrawn"] or None, one["answered"])
        == (other["frame_id"], other["signal"], other["withdrawn"] or None, other["answer"] is not None)
        for one, other in zip(ours, theirs, strict=True)
    )
    trusted = sum(
        one["trust"] == (other["trust"] or {"state": "ok"})["state"] for one, other in zip(ours, theirs, strict=True)
    )
    replay = subprocess.run([arguments.build / "physedge_replay", raw], capture_output=True, text=True)
    replayed = json.loads(replay.stdout)
    with load(arguments.bundle).open(engine=engine, allow_rejected=True) as net:
        answers = [net.infer(pixels) for pixels in frames]
    expected = np.stack([answer.mask for answer in answers if isinstance(answer, Segmentation)])
    found = np.fromfile(masks, np.uint8).reshape(-1, *expected.shape[1:])
    shown = np.array([bool(one["answered"]) for one in ours])
    differing = int(np.count_nonzero(found != expected[shown]))
    print(
        f"{engine}: {len(frames)} pictures, {int(shown.sum())} answered; same decisions {same}, same trust {trusted}; "
        f"{differing} of {found.size} mask points differ; foreground {found.mean():.3f}; recorded decisions replayed "
        f"{replayed['decisions']}, identical {replayed['identical']} {replayed['first_difference']}"
    )


def main() -> None:
    """Compare on every engine that the library was built with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--film", type=Path, required=True)
    parser.add_argument("--engines", nargs="+", default=["openvino", "onnxruntime"])
    arguments = parser.parse_args()
    frames = pictures(arguments.film)
    for engine in arguments.engines:
        with tempfile.TemporaryDirectory() as name:
            compare(arguments, engine, frames, Path(name))
    print(f"{arguments.bundle.name}; {arguments.film.name}; {machine_line()}")


if __name__ == "__main__":
    main()
