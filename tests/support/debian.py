"""Real parts from Debian packages: used where they are, skipped by name elsewhere, demanded in CI."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest


def skip_or_fail(reason: str) -> None:
    """Skip the test by name; fail instead where no such skip is allowed."""
    if os.environ.get("PHYSEDGE_NO_SKIPS"):
        pytest.fail(reason)
    pytest.skip(reason)


def program(name: str, package: str) -> Path:
    """The path of a program of a Debian package."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        skip_or_fail(f"the Debian package {package} is not installed")
    assert found is not None
    return Path(found)
