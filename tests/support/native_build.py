"""Builds libphysedge once for all test processes; PHYSEDGE_NATIVE_BUILD names a build that is there already."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from debian import program, skip_or_fail
from native_library import Native

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "runtime/native"
HEADERS = {
    "minizip/unzip.h": "libminizip-dev",
    "nlohmann/json.hpp": "nlohmann-json3-dev",
    "sodium.h": "libsodium-dev",
    "toml++/toml.h": "libtomlplusplus-dev",
    "expat.h": "libexpat1-dev",
    "zlib.h": "zlib1g-dev",
}


def openvino_folder() -> Path:
    """The wheel of OpenVINO, which carries headers, CMake files and the C library."""
    found = importlib.util.find_spec("openvino")
    if found is None or found.origin is None:
        skip_or_fail("openvino is not installed")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


# Half the time of a full optimisation; the resize, whose bytes are compared, keeps its own.
_QUICK = "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG"


def configure_and_build(folder: Path, *options: str, kind: str = "Release", targets: tuple[str, ...] = ()) -> None:
    """Run CMake; a failure shows the end of what it said."""
    wanted = [part for target in targets for part in ("--target", target)]
    for command in (
        ["cmake", "-S", str(SOURCE), "-B", str(folder), f"-DCMAKE_BUILD_TYPE={kind}", _QUICK, *options],
        ["cmake", "--build", str(folder), "--parallel", "2", *wanted],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


@pytest.fixture(scope="session")
def native_build(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder with the built library and programs."""
    if named := os.environ.get("PHYSEDGE_NATIVE_BUILD"):
        return Path(named)
    program("cmake", "cmake")
    program("g++", "g++")
    for header, package in HEADERS.items():
        if not (Path("/usr/include") / header).exists() and not list(Path("/usr/include").glob(f"*/{header}")):
            skip_or_fail(f"the Debian package {package} is not installed")
    own = tmp_path_factory.getbasetemp()
    shared = own if worker_id == "master" else own.parent
    folder = shared / "native"
    with (shared / "native.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "built").exists():
            shutil.rmtree(folder, ignore_errors=True)
            configure_and_build(folder, f"-DOpenVINO_DIR={openvino_folder() / 'cmake'}")
            (folder / "built").touch()
    return folder


@pytest.fixture(scope="session")
def native(native_build: Path) -> Native:
    """The library, loaded."""
    return Native(native_build / "libphysedge.so")
