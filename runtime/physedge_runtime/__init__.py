"""The device's runtime: bundles, engines, frames, streams.

    from physedge_runtime import load

    with load("pmrnet-polyp.physedge").open() as net:
        result = net.infer(frame)

Importing this package brings numpy along and nothing else; onnxruntime comes when an engine opens, pydantic when a
manifest is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from physedge_runtime.errors import PhysedgeError
from physedge_runtime.frame import Colour, Crop, Fit, Frame, FrameSpec, VoltageSpec
from physedge_runtime.results import (
    Classification,
    Reconstruction,
    Result,
    Segmentation,
    Signal,
    StageTimes,
    Trust,
    TrustState,
)
from physedge_runtime.verdict import Verdict

if TYPE_CHECKING:
    from physedge_runtime.bundle import Bundle
    from physedge_runtime.net import Net, load

__all__ = [
    "Bundle",
    "Classification",
    "Colour",
    "Crop",
    "Fit",
    "Frame",
    "FrameSpec",
    "Net",
    "PhysedgeError",
    "Reconstruction",
    "Result",
    "Segmentation",
    "Signal",
    "StageTimes",
    "Trust",
    "TrustState",
    "Verdict",
    "VoltageSpec",
    "load",
]

_LATER = {"Bundle": "bundle", "Net": "net", "load": "net"}


def __getattr__(name: str) -> Any:
    """Names that bring pydantic along are imported when they are first asked for."""
    if name in _LATER:
        import importlib

        return getattr(importlib.import_module(f"physedge_runtime.{_LATER[name]}"), name)
    raise AttributeError(f"module 'physedge_runtime' has no attribute {name!r}")
