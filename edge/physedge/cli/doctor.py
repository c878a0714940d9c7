"""`physedge doctor`: what this machine can do, and what to install for the rest."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import emit, say
from physedge.cli.extras import PARTS, Part
from physedge_runtime.device import this_device
from physedge_runtime.errors import install_command
from physedge_runtime.text import one_line

if TYPE_CHECKING:
    from physedge_runtime.sources.v4l2 import CameraMode


def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show this machine, the engines that run here, and the extras that are missing."""
    from rich.table import Table

    from physedge_runtime.engines import ENGINES
    from physedge_runtime.sources.v4l2 import list_cameras

    device = this_device()
    versions = {part.package: _version(part) for part in PARTS}
    engines = {name: entry.is_installed for name, entry in ENGINES.items()}
    say(
        f"physedge {importlib.metadata.version('physedge')}, Python {platform.python_version()}, {device.system}",
        f"{device}, {device.memory_bytes / 2**30:.1f} GiB memory",
        _int8_sentence(device.has_int8_dot_product),
        "engines here: " + ", ".join(name for name, here in engines.items() if here),
        *_camera_lines(cameras := list_cameras()),
        json_output=json_output,
    )
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("for", "package", "installed", "to install"):
        table.add_column(title)
    for part in PARTS:
        version = versions[part.package]
        table.add_row(part.purpose, part.package, version or "no", "" if version else install_command(part.extra))
    say(table, json_output=json_output)
    emit(
        {
            "schema_version": 1,
            "physedge": importlib.metadata.version("physedge"),
            "python": platform.python_version(),
            "processor": device.processor,
            "architecture": device.architecture,
            "instruction_sets": list(device.instruction_sets),
            "cores": device.cores,
            "memory_bytes": device.memory_bytes,
            "system": device.system,
            "engines": engines,
            "cameras": [
                {"number": number, "name": name, "modes": [asdict(mode) for mode in modes]}
                for number, name, modes in cameras
            ],
            "packages": versions,
        },
        json_output,
    )


def _camera_lines(cameras: Sequence[tuple[int, str, Sequence[CameraMode]]]) -> list[str]:
    if not cameras:
        return ["cameras here: none that Video4Linux shows"]
    lines = []
    for number, name, modes in cameras:
        lines.append(f"camera {number}: {one_line(name)}, set with --camera {number} --size --rate --format")
        lines += [f"    {mode}" for mode in modes]
    return lines


def _int8_sentence(has_dot_product: bool) -> str:
    if has_dot_product:
        return "INT8: products accumulate in 32 bits on this processor"
    return "INT8: 16-bit accumulators on this processor; 8-bit weights would saturate, so physedge ships 7-bit ones"


def _version(part: Part) -> str | None:
    if importlib.util.find_spec(part.module) is None:
        return None
    try:
        return importlib.metadata.version(part.package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
