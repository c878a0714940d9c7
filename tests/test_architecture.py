"""The arrows between the four packages, and what the ground brings along."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "physedge_runtime": ROOT / "runtime/physedge_runtime",
    "physedge_calibrate": ROOT / "calibrate/physedge_calibrate",
    "physedge_export": ROOT / "export/physedge_export",
    "physedge": ROOT / "edge/physedge",
}
MAY_KNOW = {
    "physedge_runtime": {"physedge_runtime"},
    "physedge_calibrate": {"physedge_calibrate", "physedge_runtime"},
    "physedge_export": {"physedge_export", "physedge_runtime"},
    "physedge": set(PACKAGES),
}
NOT_IN_RUNTIME = {"torch", "typer", "lightning", "monai", "nncf"}
LONGEST_FILE_LINES = 600


def imported_roots(path: Path) -> set[str]:
    roots: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            roots.add(node.module.partition(".")[0])
    return roots


@pytest.mark.parametrize("package", PACKAGES)
def test_arrows_point_down(package: str) -> None:
    for path in PACKAGES[package].rglob("*.py"):
        ours = imported_roots(path) & set(PACKAGES)
        assert ours <= MAY_KNOW[package], f"{path} imports {sorted(ours - MAY_KNOW[package])}"


def test_the_ground_knows_nothing_of_training_at_any_depth() -> None:
    for path in PACKAGES["physedge_runtime"].rglob("*.py"):
        assert not imported_roots(path) & NOT_IN_RUNTIME, path


def test_no_file_is_too_long() -> None:
    for folder in (*PACKAGES.values(), ROOT / "tests", ROOT / "benchmarks"):
        for path in folder.rglob("*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            assert lines <= LONGEST_FILE_LINES, f"{path} has {lines} lines"


def run_fresh(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_a_fresh_import_of_the_runtime_brings_numpy_only() -> None:
    unwanted = ["torch", "typer", "av", "cv2", "openvino", "tensorrt", "onnxruntime", "pydantic", "rich", "scipy"]
    unwanted.append("physedge")
    code = f"import sys, physedge_runtime; print(sorted(m for m in {unwanted} if m in sys.modules))"
    assert run_fresh(code) == "[]"


def test_the_help_of_the_command_line_brings_nothing_heavy() -> None:
    unwanted = [
        "torch",
        "av",
        "cv2",
        "openvino",
        "tensorrt",
        "onnxruntime",
        "onnx",
        "lightning",
        "scipy",
        "matplotlib",
        "numpy",
        "pydantic",
    ]
    code = (
        "import sys; from physedge.cli.app import build_app; build_app(); "
        f"print(sorted(m for m in {unwanted} if m in sys.modules))"
    )
    assert run_fresh(code) == "[]"


def test_every_module_of_the_runtime_imports_without_an_optional_package() -> None:
    code = """
import importlib, pkgutil, sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {'av', 'cv2', 'openvino', 'tensorrt', 'torch', 'pydicom', 'pyigtl', 'paho',
                                      'scipy', 'onnx', 'highdicom', 'starlette', 'uvicorn', 'prometheus_client', 'PIL',
                                      'ray', 'cuda'}:
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import physedge_runtime
for module in pkgutil.walk_packages(physedge_runtime.__path__, 'physedge_runtime.'):
    importlib.import_module(module.name)
print('all')
"""
    assert run_fresh(code) == "all"


@pytest.mark.parametrize("package", ["physedge_runtime"])
def test_the_public_face_is_what_it_says(package: str) -> None:
    module = __import__(package)
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert list(module.__all__) == sorted(module.__all__)
