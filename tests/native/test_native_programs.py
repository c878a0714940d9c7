"""Around libphysedge: the header's example, the C program beside `physedge run`, memory, a folder that was moved."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from native_build import ROOT, SANITIZED, SANITIZERS, SOURCE, compiled
from native_library import Native

from physedge_runtime import load
from physedge_runtime.results import Segmentation

HEIGHT, WIDTH, FRAMES = 48, 64, 30


AROUND_THE_EXAMPLE = """
#include <physedge.h>
#include <stdio.h>
#include <stdlib.h>

static int report(const physedge_error *error) {
    char sentence[900];
    physedge_error_sentence(error, sentence, sizeof sentence);
    puts(sentence);
    return 1;
}

static void show(const uint8_t *mask, uint32_t width, uint32_t height) {
    unsigned long sum = 0;
    for (uint32_t index = 0; index < width * height; ++index) sum += mask[index];
    printf("%lu", sum);
}

int main(void) {
    static uint8_t pixels[640 * 480 * 3];
    for (size_t index = 0; index < sizeof pixels; index += 3) pixels[index] = 200;
EXAMPLE
    return 0;
}
"""


def test_the_headers_example_compiles_and_answers(
    native_build: Path, tmp_path: Path, write_tiny: Callable[..., Path]
) -> None:
    header = (SOURCE / "include/physedge.h").read_text(encoding="utf-8")
    found = re.search(r"from one file to one answer:\n \*\n(.*?)\n \*\n \* Rules", header, re.DOTALL)
    assert found is not None
    example = "\n".join(line.removeprefix(" * ").removeprefix(" *") for line in found[1].splitlines())
    source = tmp_path / "example.c"
    source.write_text(AROUND_THE_EXAMPLE.replace("EXAMPLE", example).replace("polyp.physedge", str(write_tiny())))
    program = compiled(tmp_path / "example", [source], native_build)
    done = subprocess.run([program], capture_output=True, text=True)
    # Red is 200 everywhere: all of it is foreground.
    assert (done.returncode, done.stdout) == (0, str(32 * 32)), done.stderr


def test_the_program_says_what_is_wrong(native_build: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [native_build / "physedge_stream_frames", tmp_path / "missing.physedge", "4", "4"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("PE-BUNDLE-001: the bundle ")
    assert "Traceback" not in done.stderr


BLACK, GONE = (10, 11), 20


def clip() -> np.ndarray:
    """A lesion that moves over noise; two frames that are black, so that some go unanswered; one without the lesion."""
    generator = np.random.default_rng(3)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    frames = generator.integers(20, 90, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for index in range(FRAMES):
        inside = (rows - 24) ** 2 + (columns - 10 - index) ** 2 < 100
        frames[index][inside & (index != GONE), 0] = 220
    frames[list(BLACK)] = 0
    return frames


def film(path: Path) -> np.ndarray:
    """Write the clip as a film; what a decoder makes of it, RGB."""
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"FFV1"), 30, (WIDTH, HEIGHT))
    for pixels in clip():
        writer.write(np.ascontiguousarray(pixels[:, :, ::-1]))
    writer.release()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = [capture.read()[1][:, :, ::-1] for _ in range(FRAMES)]
    capture.release()
    return np.stack(frames)


@pytest.mark.requirement("REQ-NATIVE-SAME-ANSWERS")
def test_the_program_and_physedge_run_answer_a_film_alike(
    engine: str, native_build: Path, tmp_path: Path, write_tiny: Callable[..., Path]
) -> None:
    path, jsonl, masks = write_tiny(), tmp_path / "run.jsonl", tmp_path / "masks.bin"
    frames = film(tmp_path / "film.avi")
    run = [sys.executable, "-c", "from physedge.cli import main; main()", "run", "--source", tmp_path / "film.avi"]
    run += ["--bundle", path, "--engine", engine, "--sink", f"jsonl:{jsonl}", "--record-raw", tmp_path / "film.raw"]
    subprocess.run(run, check=True, capture_output=True)
    done = subprocess.run(
        [native_build / "physedge_stream_frames", path, str(WIDTH), str(HEIGHT), masks],
        input=frames.tobytes(),
        capture_output=True,
        env={"PHYSEDGE_ENGINE": engine, **SANITIZED},
    )
    assert done.returncode == 0, done.stderr.decode()
    ours = [json.loads(line) for line in done.stdout.splitlines()]
    theirs = [line for line in map(json.loads, jsonl.read_text().splitlines()) if line["kind"] == "frame"]
    assert len(ours) == len(theirs) == FRAMES
    for one, other in zip(ours, theirs, strict=True):
        for key in ("frame_id", "signal", "withdrawn"):
            assert (one[key] or None) == (other[key] or None)
        assert one["answered"] == (other["answer"] is not None)
        if other["answer"] is not None:
            region = other["answer"]["regions"]["lesion"]
            assert one["trust"] == other["trust"]["state"]
            assert one["area_fraction"] == pytest.approx(region["area_fraction"], rel=1e-5)
            assert one["box_px"] == (region["box_px"] or [0, 0, 0, 0])
    assert sum(one["answered"] for one in ours) == FRAMES - len(BLACK)
    assert [one["frame_id"] for one in ours if one["trust"] == "doubtful"] == ([GONE] if engine != "fake" else [])
    found = np.fromfile(masks, np.uint8).reshape(-1, 32, 32)
    with load(path).open(engine=engine) as net:
        answers = [net.infer(pixels) for index, pixels in enumerate(frames) if index not in BLACK]
    expected = np.stack([answer.mask for answer in answers if isinstance(answer, Segmentation)])
    np.testing.assert_array_equal(found, expected)
    replayed = subprocess.run([native_build / "physedge_replay", tmp_path / "film.raw"], capture_output=True, text=True)
    assert json.loads(replayed.stdout)["identical"], replayed.stdout


@pytest.mark.skipif(bool(SANITIZERS), reason="a sanitizer hooks the heap itself, and takes more stack")
@pytest.mark.requirement("REQ-NATIVE-MEMORY")
def test_a_frame_takes_nothing_from_the_heap_and_little_of_the_stack(
    engine: str, native_build: Path, tmp_path: Path, write_tiny: Callable[..., Path]
) -> None:
    here, frames = Path(__file__).parent, 400 if engine == "fake" else 60
    sources = [here / "per_frame.c", here / "allocation_hook.c"]
    program = compiled(tmp_path / "per_frame", sources, native_build, "-rdynamic", "-fno-builtin", "-pthread")
    done = subprocess.run([program, write_tiny(), engine, str(frames)], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["ours"] == 0
    if engine != "openvino":  # whose own, in our thread, are counted apart
        assert report["all"] == 0
    if engine == "fake":
        assert report["stack_bytes"] < 16 * 1024
    assert 0 < report["arena_bytes"] < 2_000_000


@pytest.mark.requirement("REQ-NATIVE-RELOCATABLE")
def test_a_folder_that_was_moved_runs_in_an_environment_without_paths(
    real_engine: str, native_build: Path, tmp_path: Path, write_tiny: Callable[..., Path]
) -> None:
    command = [sys.executable, SOURCE / "collect_folder.py", native_build, tmp_path / "made", "--bundle", write_tiny()]
    collected = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert " bytes in all" in collected
    moved = (tmp_path / "made").rename(tmp_path / "moved")
    command = [moved / "bin/physedge_stream_frames", moved / "tiny.physedge", str(WIDTH), str(HEIGHT)]
    search = subprocess.run(
        ["readelf", "-d", command[0], moved / "lib/libphysedge.so.1"], check=True, capture_output=True, text=True
    )
    assert set(re.findall(r"R(?:UN)?PATH.*\[(.*)\]", search.stdout)) == {"$ORIGIN/../lib", "$ORIGIN"}
    done = subprocess.run(
        command, input=clip().tobytes(), capture_output=True, env={"PHYSEDGE_ENGINE": real_engine, **SANITIZED}
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == FRAMES
    assert done.stderr.startswith(real_engine.encode())


def test_the_library_offers_its_header_and_nothing_else(native_build: Path, native: Native) -> None:
    header = (SOURCE / "include/physedge.h").read_text(encoding="utf-8")
    declared = set(re.findall(r"\b(physedge_\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)))
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", native_build / "libphysedge.so"], capture_output=True, text=True, check=True
    ).stdout
    functions = {line.split()[-1] for line in listed.splitlines() if line.split()[-2] == "T"}
    assert functions == declared
    assert native.library.physedge_abi_version() == 1
    assert native.library.physedge_version().decode() in (ROOT / "pyproject.toml").read_text()
