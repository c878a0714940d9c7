"""Builds libphysedge once for all test processes.

PHYSEDGE_NATIVE_BUILD          a build that is there already
PHYSEDGE_NATIVE_SANITIZE       sanitizers for it, for example address,undefined (`make native-sanitize`)
PHYSEDGE_ONNXRUNTIME_INCLUDE   the folder of onnxruntime_c_api.h, which the wheel lacks; else Debian's is looked for
"""

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
SANITIZERS = os.environ.get("PHYSEDGE_NATIVE_SANITIZE", "")
# For programs with sanitizers: OpenVINO's threads are loaded in a way that none takes, unless they are told.
_KNOWN_LEAKS = f"suppressions={ROOT / 'tests/native/leaks.supp'}:print_suppressions=0"
SANITIZED = {"TBB_ENABLE_SANITIZERS": "1", "LSAN_OPTIONS": _KNOWN_LEAKS} if SANITIZERS else {}
ENGINES = ("openvino", "onnxruntime", "fake")
HEADERS = {
    "nlohmann/json.hpp": "nlohmann-json3-dev",
    "sodium.h": "libsodium-dev",
    "toml++/toml.h": "libtomlplusplus-dev",
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


def onnxruntime_root(folder: Path) -> Path | None:
    """A release of ONNX Runtime in `folder`: its header, and the wheel's library; None where there is no header."""
    named = os.environ.get("PHYSEDGE_ONNXRUNTIME_INCLUDE")
    include = Path(named or "/usr/include/onnxruntime")
    if not (include / "onnxruntime_c_api.h").is_file():
        assert named is None, f"no onnxruntime_c_api.h in {include}"
        return None
    found = importlib.util.find_spec("onnxruntime")
    if found is None or found.origin is None:
        return None
    (library,) = (Path(found.origin).parent / "capi").glob("libonnxruntime.so.*")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "lib").mkdir(parents=True)
    (folder / "include").symlink_to(include.resolve())
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / "lib" / name).symlink_to(library)
    return folder


# Half the time of a full optimisation; the resize, whose bytes are compared, keeps its own.
# A sanitizer that is loaded in front of Python is not for compilers.
_BUILD_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
_QUICK = "-DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNDEBUG"


def configure_and_build(folder: Path, *options: str, kind: str = "Release", targets: tuple[str, ...] = ()) -> None:
    """Run CMake; a failure shows the end of what it said."""
    wanted = [part for target in targets for part in ("--target", target)]
    for command in (
        ["cmake", "-S", str(SOURCE), "-B", str(folder), f"-DCMAKE_BUILD_TYPE={kind}", _QUICK, *options],
        ["cmake", "--build", str(folder), "--parallel", "2", *wanted],
    ):
        done = subprocess.run(command, capture_output=True, text=True, env=_BUILD_ENVIRONMENT)
        assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def stale_tables() -> list[str]:
    """Sources that are written from the Python runtime and are not what it says any more."""
    script = SOURCE / "make_tables.py"
    found = importlib.util.spec_from_file_location("make_tables", script)
    assert found is not None
    assert found.loader is not None
    tables = importlib.util.module_from_spec(found)
    found.loader.exec_module(tables)
    return [name for name, text in tables.FILES.items() if (tables.SOURCES / name).read_text("utf-8") != text()]


def compiled(program: Path, sources: list[Path], build: Path, *options: str) -> Path:
    """A C program against the built library, warnings as errors."""
    flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", f"-I{SOURCE / 'include'}", "-D_GNU_SOURCE"]
    libraries = [f"-L{build}", "-lphysedge", f"-Wl,-rpath,{build}", f"-Wl,-rpath-link,{openvino_folder() / 'libs'}"]
    command = ["gcc", *flags, *options, *map(str, sources), "-o", str(program), *libraries]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return program


@pytest.fixture(scope="session")
def native_build(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder with the built library and programs."""
    if named := os.environ.get("PHYSEDGE_NATIVE_BUILD"):
        return Path(named)
    # Else a hundred tests would say so, each in words of its own.
    assert not stale_tables(), "the manifest's classes have changed: python runtime/native/make_tables.py"
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
            options = [f"-DOpenVINO_DIR={openvino_folder() / 'cmake'}", f"-DPHYSEDGE_SANITIZE={SANITIZERS}"]
            if (root := onnxruntime_root(shared / "onnxruntime")) is not None:
                options += ["-DPHYSEDGE_ONNXRUNTIME=ON", f"-DONNXRUNTIME_ROOT={root}"]
            configure_and_build(folder, *options)
            (folder / "built").touch()
    return folder


@pytest.fixture(scope="session")
def native(native_build: Path) -> Native:
    """The library, loaded."""
    return Native(native_build / "libphysedge.so")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, native: Native) -> str:
    """Every engine in turn; one that was not compiled in is skipped by name."""
    name: str = request.param
    if name not in native.engines:
        pytest.skip(f"the engine {name} is not compiled in (no onnxruntime_c_api.h was found)")
    return name


@pytest.fixture(params=[name for name in ENGINES if name != "fake"])
def real_engine(request: pytest.FixtureRequest, native: Native) -> str:
    """Every engine that runs a graph."""
    name: str = request.param
    if name not in native.engines:
        pytest.skip(f"the engine {name} is not compiled in (no onnxruntime_c_api.h was found)")
    return name
