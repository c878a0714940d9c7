"""The library for 64-bit ARM: cross-compiled, and run under an emulator."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from debian import program, skip_or_fail
from native_build import SOURCE, configure_and_build

from physedge_runtime import load
from physedge_runtime.results import Segmentation

ARM_LIBRARIES = ("libsodium-dev", "zlib1g-dev")


@pytest.mark.requirement("REQ-NATIVE-ARM")
def test_the_library_runs_on_64_bit_arm(tmp_path: Path, write_tiny: Callable[..., Path]) -> None:
    """Built by the cross compiler against the engine `fake`, run under an emulator: the masks are those of Python."""
    program("aarch64-linux-gnu-g++", "g++-aarch64-linux-gnu")
    emulator = program("qemu-aarch64", "qemu-user")
    for package in ARM_LIBRARIES:
        if (
            not Path(f"/usr/share/doc/{package}").exists()
            or not Path("/usr/lib/aarch64-linux-gnu/libsodium.so").exists()
        ):
            skip_or_fail(f"the Debian package {package}:arm64 is not installed")
    toolchain = SOURCE / "cmake/aarch64-linux-gnu.cmake"
    options = [f"-DCMAKE_TOOLCHAIN_FILE={toolchain}", "-DPHYSEDGE_OPENVINO=OFF"]
    configure_and_build(tmp_path / "arm", *options, targets=("physedge_stream_frames",))
    path, generator = write_tiny(), np.random.default_rng(3)
    # Sizes and weights on which a fused multiply-add would show.
    for height, width in ((480, 641), (97, 61), (233, 1023)):
        frames = generator.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        masks = tmp_path / "masks.bin"
        command = [emulator, "-L", "/usr/aarch64-linux-gnu", "-E", "LD_LIBRARY_PATH=/usr/lib/aarch64-linux-gnu"]
        command += [
            "-E",
            "PHYSEDGE_ENGINE=fake",
            tmp_path / "arm/physedge_stream_frames",
            path,
            str(width),
            str(height),
            masks,
        ]
        done = subprocess.run(command, input=frames.tobytes(), capture_output=True)
        assert done.returncode == 0, done.stderr
        assert [json.loads(line)["answered"] for line in done.stdout.splitlines()] == [True, True]
        with load(path).open(engine="fake") as net:
            answers = [net.infer(pixels) for pixels in frames]
        expected = np.stack([answer.mask for answer in answers if isinstance(answer, Segmentation)])
        np.testing.assert_array_equal(np.fromfile(masks, np.uint8).reshape(expected.shape), expected)
