"""The line that stands under every table: machine, versions, load."""

from __future__ import annotations

import importlib.metadata
import os
import platform

from physedge_runtime.device import this_device

_PACKAGES = ("physedge", "numpy", "onnxruntime", "openvino", "torch")


def machine_line() -> str:
    """Processor, cores, Python, versions and the load when the figures were taken."""
    versions = []
    for package in _PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    load = os.getloadavg()[0]
    return f"{this_device()}; Python {platform.python_version()}, {', '.join(versions)}; load {load:.1f}"
