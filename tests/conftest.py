"""What every test may ask for: the development data, and a tiny bundle made without torch."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from debian import skip_or_fail
from tiny_network import tiny_contents

from physedge_runtime.bundle import Bundle, read_bundle, write_bundle
from physedge_runtime.engines.engine_cache import CACHE_VARIABLE

ROOT = Path(__file__).parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Write into the JUnit file which requirement a test shows; `physedge report` reads it there."""
    for item in items:
        for marker in item.iter_markers("requirement"):
            item.user_properties.append(("requirement", str(marker.args[0])))


@pytest.fixture(scope="session")
def development_data() -> Path:
    """The folder of the real development data; tests that need it are skipped by name where it is missing."""
    folder = Path(os.environ.get("PHYSEDGE_DATA", ROOT.parent / "shared/data"))
    if not folder.is_dir():
        skip_or_fail("the development data is not here (PHYSEDGE_DATA)")
    return folder


@pytest.fixture(autouse=True)
def own_engine_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test compiles stays out of this user's cache; it is kept from test to test, as on a device."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.getbasetemp() / "engine-cache"))


@pytest.fixture
def write_tiny(tmp_path: Path) -> Callable[..., Path]:
    """Writes the tiny bundle, with changes to its manifest or entries."""

    def write(name: str = "tiny", *, contents: dict[str, bytes] | None = None, **changes: object) -> Path:
        manifest, entries = tiny_contents()
        path = tmp_path / f"{name}.physedge"
        write_bundle(path, manifest.model_copy(update=changes), {**entries, **(contents or {})})
        return path

    return write


@pytest.fixture
def tiny_bundle(write_tiny: Callable[..., Path]) -> Bundle:
    """The tiny bundle, read."""
    return read_bundle(write_tiny())
