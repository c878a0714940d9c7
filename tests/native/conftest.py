"""The build of libphysedge, for every test in this folder; a build may take its time on a machine that is busy."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite("native_contract")

from native_build import engine, native, native_build, real_engine  # noqa: E402
from update_device import folder, release, root, trial, two  # noqa: E402

__all__ = ["engine", "folder", "native", "native_build", "real_engine", "release", "root", "trial", "two"]

_TIMEOUT_S = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(_TIMEOUT_S))
