"""Which bundle `run` takes where none is named."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from physedge.deploy.network import NetworkChoice, demo_network
from physedge.project import read_project
from physedge_runtime.errors import UsageError
from physedge_runtime.spec import read_spec

CACHE_VARIABLE = "PHYSEDGE_CACHE"


def default_bundle() -> tuple[Path, str]:
    """The bundle of the working directory, else the built-in demo's, and a sentence that says which.

    The demo's is made on first use, in full precision, and kept in the cache.

    Raises:
        UsageError: There is a physedge.toml, but its network was not exported yet (`PE-RUN-001`).
    """
    project = read_project()
    if project is not None:
        name = read_spec(project.spec).name if project.spec else project.model
        path = Path("build") / f"{name}.physedge"
        if not path.is_file():
            raise UsageError(
                "PE-RUN-001",
                found=f"{project.path.name} names {name}, but there is no {path}",
                expected="a bundle",
                next_step="run physedge export first, or name one with --bundle",
            )
        return path, f"running {path} ({project.path.name})"
    return demo_bundle(), f"running {demo_network().origin} (no --bundle, no physedge.toml here)"


def demo_bundle() -> Path:
    """The demo model's bundle in the cache; made if it is not there."""
    network = demo_network()
    path = cache_folder() / f"{network.spec.name}-{_key(network.weights_sha256)}.physedge"
    if not path.is_file():
        from physedge.deploy.export import ExportOptions, export

        export(ExportOptions(choice=NetworkChoice(), output=path, precision="fp32"), network=network)
    return path


def cache_folder() -> Path:
    """Where physedge keeps what it can make again: `PHYSEDGE_CACHE`, else the user's cache directory."""
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "physedge"


def _key(weights_sha256: str) -> str:
    from importlib.metadata import version

    return hashlib.sha256(f"{weights_sha256} {version('physedge')}".encode()).hexdigest()[:12]
