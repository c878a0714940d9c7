"""The table of engines: a new one is one file and one line here."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from physedge_runtime.engines.base import Engine, EngineRequest
from physedge_runtime.errors import UsageError, missing_extra


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """Where an engine's class lies, and what it needs (empty for nothing): packages, an extra, a device."""

    module: str
    class_name: str
    packages: tuple[str, ...] = ()
    extra: str = ""
    device_files: tuple[str, ...] = ()

    @property
    def is_installed(self) -> bool:
        """Whether one of its packages can be imported; nothing is imported to find out."""
        return not self.packages or any(importlib.util.find_spec(package) for package in self.packages)

    @property
    def is_usable(self) -> bool:
        """Whether it is installed and its device is here; nothing is opened to find out."""
        return self.is_installed and (not self.device_files or any(Path(name).exists() for name in self.device_files))


_HERE = "physedge_runtime.engines"
ENGINES: dict[str, EngineEntry] = {
    "onnxruntime": EngineEntry(f"{_HERE}.onnxruntime", "OnnxRuntimeEngine", ("onnxruntime",), "export"),
    "openvino": EngineEntry(f"{_HERE}.openvino", "OpenVinoEngine", ("openvino",), "openvino"),
    "tensorrt": EngineEntry(
        f"{_HERE}.tensorrt",
        "TensorRtEngine",
        ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings"),
        "tensorrt",
        device_files=("/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvmap", "/dev/dxg"),  # PC, Jetson (two), WSL
    ),
    "fake": EngineEntry(f"{_HERE}.fake", "FakeEngine"),
}


def open_engine(name: str, request: EngineRequest) -> Engine:
    """An opened engine.

    Raises:
        UsageError: No engine has this name (`PE-ENGINE-001`).
        EnvironmentFault: Its package is not installed (`PE-ENV-001`), or it refuses the graph (`PE-ENGINE-002`).
    """
    entry = find_engine(name)
    if not entry.is_installed:
        raise missing_extra(entry.packages[0], entry.extra)
    engine_class: type[Engine] = getattr(importlib.import_module(entry.module), entry.class_name)
    return engine_class(request).open()


def find_engine(name: str) -> EngineEntry:
    """The line of the table.

    Raises:
        UsageError: No engine has this name (`PE-ENGINE-001`).
    """
    try:
        return ENGINES[name]
    except KeyError:
        raise UsageError(
            "PE-ENGINE-001",
            found=f"the engine {name!r}",
            expected=f"auto, {', '.join(ENGINES)}",
            next_step="name one of these with --engine",
        ) from None
