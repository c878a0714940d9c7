"""OpenVINO and NNCF contact nobody and leave nothing in the home directory."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = textwrap.dedent(
    """
    import sys

    def watch(event, arguments):
        if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
            print("CONTACT", event, arguments[-1], flush=True)

    sys.addaudithook(watch)
    from physedge_runtime.telemetry import silence_openvino

    silence_openvino()
    import importlib
    importlib.import_module(sys.argv[1])
    print("imported")
    """
)


@pytest.mark.parametrize("package", ["openvino", "nncf"])
def test_no_report_is_sent_and_no_identifier_written(package: str, tmp_path: Path) -> None:
    pytest.importorskip(package)
    environment = {**os.environ, "HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, package],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert result.stdout.split() == ["imported"]
    assert list(tmp_path.iterdir()) == []
