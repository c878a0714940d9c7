"""The table of engines: a new one is one file and one line here."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass

from physedge_runtime.engines.base import Engine, EngineRequest
from physedge_runtime.errors import UsageError, missing_extra


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """Where an engine's class lies, and the package and extra it needs (empty for none)."""

    module: str
    class_name: str
    packages: tuple[str, ...] = ()
    extra: str = ""

    @property
    def is_installed(self) -> bool:
        """Whether one of its packages can be imported; nothing is imported to find out."""
        return not self.packages or any(importlib.util.find_spec(package) for package in self.packages)


_HERE = "physedge_runtime.engines"
ENGINES: dict[str, EngineEntry] = {
    "onnxruntime": EngineEntry(f"{_HERE}.onnxruntime", "OnnxRuntimeEngine", ("onnxruntime",), "export"),
    "openvino": EngineEntry(f"{_HERE}.openvino", "OpenVinoEngine", ("openvino",), "openvino"),
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
