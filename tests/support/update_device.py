"""A device with releases of one network on it, for the tests of updates; the fixtures are those of a conftest."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from physedge_runtime.install import install, update_good
from physedge_runtime.starting import Started, start

Write = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "device"


@pytest.fixture
def folder(root: Path) -> Path:
    return root / "tiny"


@pytest.fixture
def release(write_tiny: Write) -> Callable[[int], Path]:
    return lambda number: write_tiny(f"r{number}", release=number)


@pytest.fixture
def two(root: Path, release: Callable[[int], Path]) -> Path:
    """Releases 1 and 2, both proven; 2 runs from slot b."""
    for number in (1, 2):
        install(release(number), root)
        running(root)
        update_good(root, "tiny")
    return root


@pytest.fixture
def trial(root: Path, release: Callable[[int], Path]) -> Path:
    """Release 1 proven in slot a, release 2 on trial in slot b."""
    install(release(1), root)
    update_good(root, "tiny")
    install(release(2), root)
    return root


def running(root: Path, **options: object) -> tuple[int, str, str]:
    started = start(root, **options)  # type: ignore[arg-type]
    with started.net:
        return started.bundle.manifest.release, started.slot, started.fell_back


def opened(root: Path) -> Started:
    started = start(root)
    started.net.close()
    return started


def events(root: Path) -> list[str]:
    return [json.loads(line)["event"] for line in (root / "tiny/install.log").read_text("utf-8").splitlines()]


def everything(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != "install.log"
    }
