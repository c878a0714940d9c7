"""The examples of streams run as they stand."""

from __future__ import annotations

import configparser
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from physedge_runtime.sinks.table import SINKS
from physedge_runtime.sources import SOURCES

ROOT = Path(__file__).parents[2]


def test_the_firmware_loop_runs_and_ends(write_tiny: Callable[..., Path]) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "examples/firmware_loop/firmware_loop.py"),
            *("--bundle", str(write_tiny()), "--frames", "40", "--engine", "onnxruntime"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "40 frames pushed" in done.stdout
    assert "pictures in" in done.stdout
    assert "ended: probe ended" in done.stdout


def test_every_source_and_sink_is_on_the_page() -> None:
    page = (ROOT / "docs/streaming.md").read_text(encoding="utf-8")
    cells = {line.split("|")[1].strip().strip("`") for line in page.splitlines() if line.startswith("| `")}
    written = {kind.written for kind in SOURCES} | {kind.written for kind in SINKS.values()}
    assert written - {"/dev/video0"} <= cells


def test_the_unit_of_systemd_is_watched_and_names_options_that_exist() -> None:
    unit = configparser.ConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "examples/systemd/physedge.service")
    service = unit["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) >= 1
    options = {word for word in service["ExecStart"].split() if word.startswith("--")}
    source = (ROOT / "edge/physedge/cli/run.py").read_text(encoding="utf-8")
    assert all(f'"{option}"' in source for option in options), options
