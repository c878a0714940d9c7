"""Put what a device needs into one folder that may be moved: program, library, engine, and a bundle if one is named.

    python runtime/native/collect_folder.py BUILD FOLDER [--bundle NAME.physedge]

Nothing in it needs Python, an environment variable or a library of the system but libc, libm and libgcc's family.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

OPENVINO = (
    "libopenvino.so.*",
    "libopenvino_c.so.*",
    "libopenvino_intel_cpu_plugin.so",
    "libopenvino_ir_frontend.so.*",
    "libopenvino_onnx_frontend.so.*",
    "libtbb.so.*",
)
# From the system's packages; libstdc++ too, since a firmware image may carry an older one. ONNX Runtime is one library.
LINKED = ("libsodium", "libz", "libstdc++", "libgcc_s", "libonnxruntime")


def collect(build: Path, openvino: Path | None, folder: Path, bundle: Path | None = None) -> Path:
    """Fill the folder and say where it is.

    Args:
        build: Where CMake built the library.
        openvino: Folder of OpenVINO's wheel; None for a library without that engine.
        folder: Made here; it must not be there yet.
        bundle: Copied into it.
    """
    subprocess.run(
        ["cmake", "--install", str(build), "--prefix", str(folder), "--strip"], check=True, capture_output=True
    )
    libraries = folder / "lib"
    needed = subprocess.run(["ldd", str(build / "libphysedge.so")], check=True, capture_output=True, text=True).stdout
    for name, path in re.findall(r"^\s*(\S+) => (\S+)", needed, re.MULTILINE):
        if any(name.startswith(f"{wanted}.so") for wanted in LINKED):
            shutil.copy(path, libraries / name)
    if openvino is not None and "libopenvino_c" in needed:
        for pattern in OPENVINO:
            for path in (openvino / "libs").glob(pattern):
                shutil.copy(path, libraries / path.name)
    if bundle is not None:
        shutil.copy(bundle, folder / bundle.name)
    return folder


def size_bytes(folder: Path) -> int:
    """Of all files in it."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def main() -> None:
    """Read the command line, collect, print the sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bundle", type=Path)
    arguments = parser.parse_args()
    found = importlib.util.find_spec("openvino")
    openvino = Path(found.origin).parent if found is not None and found.origin is not None else None
    folder = collect(arguments.build, openvino, arguments.folder, arguments.bundle)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            print(f"{path.stat().st_size:12,} {path.relative_to(folder)}")
    print(f"{size_bytes(folder):12,} bytes in all")


if __name__ == "__main__":
    main()
