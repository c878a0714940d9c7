"""The device's runtime: bundles, engines, frames, streams.

    from physedge_runtime import load

    with load("pmrnet-polyp.physedge").open() as net:
        result = net.infer(frame)

Importing this package brings nothing along: numpy comes with the first name that needs it, pydantic when a manifest is
read, onnxruntime when an engine opens.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physedge_runtime.bundle import Bundle
    from physedge_runtime.errors import PhysedgeError
    from physedge_runtime.frame import Colour, Crop, Fit, Frame, FrameSpec, VoltageSpec
    from physedge_runtime.net import Net, load
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

_HOMES = {
    "bundle": ("Bundle",),
    "errors": ("PhysedgeError",),
    "frame": ("Colour", "Crop", "Fit", "Frame", "FrameSpec", "VoltageSpec"),
    "net": ("Net", "load"),
    "results": (
        "Classification",
        "Reconstruction",
        "Result",
        "Segmentation",
        "Signal",
        "StageTimes",
        "Trust",
        "TrustState",
    ),
    "verdict": ("Verdict",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A name is imported when it is first asked for: the command line's help does not wait for numpy."""
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"physedge_runtime.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'physedge_runtime' has no attribute {name!r}")
