"""Which TensorRT is here: 10, 11 or RTX, found by what is installed; what it can do is asked of it, never assumed.

tensorrt                  TensorRT 10 and 11: data centres, workstations, Jetson
tensorrt_rtx              TensorRT-RTX: RTX desktops
tensorrt_rtx_bindings     the same, where only the bindings' wheel is installed
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from physedge_runtime.errors import EnvironmentFault

_NAMES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings")
_REFUSED_NAMES = 20

Import = Callable[[str], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRtLibrary:
    """One installed library.

    Attributes:
        kind: `tensorrt` or `tensorrt_rtx`.
        version: As the library says it, for example `10.3.0`.
        module: Its Python face.
    """

    kind: str
    version: str
    module: Any = field(repr=False, compare=False)

    @property
    def is_rtx(self) -> bool:
        """Whether engines may be built ahead of time, for a GPU that is not here."""
        return self.kind == "tensorrt_rtx"

    def __str__(self) -> str:
        return f"{'TensorRT-RTX' if self.is_rtx else 'TensorRT'} {self.version}"

    def member(self, enumeration: str, name: str) -> Any | None:
        """A member of one of the library's enumerations; None where this version does not have it."""
        return getattr(getattr(self.module, enumeration, None), name, None)

    def faults_of(self, runtime: Any, engine: bytes) -> tuple[str, ...]:
        """What the library's own reader has against an engine, as it names it; empty where it cannot be asked.

        Args:
            runtime: The library's `Runtime`.
            engine: Serialised. Its header alone is read: this finds another GPU, driver or version, not tampering.
        """
        kinds = getattr(self.module, "EngineInvalidityDiagnostics", None)
        if kinds is None or not hasattr(runtime, "get_engine_validity"):
            return ()
        _, bits = runtime.get_engine_validity(engine)
        return tuple(name for name, kind in kinds.__members__.items() if int(bits) & int(kind))

    def network_flags(self) -> int:
        """Bits for a network whose types stand in the graph: asked for in 10, the only kind in 11."""
        flag = self.member("NetworkDefinitionCreationFlag", "STRONGLY_TYPED")
        return 0 if flag is None else 1 << int(flag)


def find_library(kind: str | None = None, *, importer: Import = importlib.import_module) -> TensorRtLibrary:
    """The installed library.

    Args:
        kind: `tensorrt` or `tensorrt_rtx`; the first that is installed where None.
        importer: Gives a module by its name; for tests.

    Raises:
        EnvironmentFault: None is installed, or it does not load (`PE-TRT-001`).
    """
    broken: list[str] = []
    for name in _NAMES:
        found_kind = "tensorrt" if name == "tensorrt" else "tensorrt_rtx"
        if kind not in (None, found_kind):
            continue
        try:
            module = importer(name)
            return TensorRtLibrary(kind=found_kind, version=str(module.__version__), module=module)
        except ModuleNotFoundError:
            continue
        except Exception as error:  # a library that is installed and does not load fails in many ways
            broken.append(f"{name} does not load ({_first_line(error)})")
    raise EnvironmentFault(
        "PE-TRT-001",
        found="; ".join(broken) or f"no {kind or 'TensorRT'} is installed",
        expected="tensorrt 10 or newer, or tensorrt_rtx",
        next_step="install physedge[tensorrt] on a PC with an RTX GPU; on a Jetson, use the tensorrt of its JetPack",
    )


class Messages:
    """What a library said while it worked: its errors are the only reason it gives for an empty answer."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def logger(self, library: TensorRtLibrary) -> Any:
        """A logger of the library's own kind that writes here, and nothing to the terminal."""
        messages = self
        severity: Any = getattr(getattr(library.module, "ILogger", None), "Severity", None)
        if severity is None:
            return library.module.Logger(library.module.Logger.ERROR)

        class Collecting(library.module.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                library.module.ILogger.__init__(self)

            def log(self, level: Any, text: str) -> None:
                if level in (severity.ERROR, severity.INTERNAL_ERROR):
                    messages.errors.append(text)
                elif level == severity.WARNING:
                    messages.warnings.append(text)

        return Collecting()

    @property
    def reason(self) -> str:
        """The first error that is not the noise of a missing GPU."""
        for text in self.errors:
            if "CUDA driver version is insufficient" not in text:
                return _first_line(text)
        return _first_line(self.errors[0]) if self.errors else "the library gave no reason"


def _first_line(error: object) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
