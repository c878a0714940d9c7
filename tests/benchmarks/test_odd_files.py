"""The table of odd files: what counts as an answer, a refusal, and the one thing that must not happen."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def odd_files() -> ModuleType:
    spec = importlib.util.spec_from_file_location("odd_files", ROOT / "benchmarks/odd_files.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pictures_are_counted_and_a_refusal_is_quoted_without_its_path(odd_files: ModuleType, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="the extra camera is not installed")
    cv2.imwritemulti(str(tmp_path / "a.tif"), [np.zeros((8, 10), np.uint8)] * 3)
    (tmp_path / "b.png").write_text("no picture")
    assert odd_files.outcome(tmp_path / "a.tif") == ("answered", "3 of 10x8")
    kind, words = odd_files.outcome(tmp_path / "b.png")
    assert kind == "refused"
    assert words.startswith("PE-SRC-005: the file cannot be read")


def test_anything_else_is_a_traceback(odd_files: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_text: str) -> None:
        raise KeyError("x")

    monkeypatch.setattr(odd_files, "open_source", broken)
    assert odd_files.outcome(tmp_path / "a.tif")[0] == "ended in a traceback"


def test_the_table_in_docs_shows_no_traceback() -> None:
    table = (ROOT / "docs/odd_files.md").read_text(encoding="utf-8")
    assert "| `ten-pages.gif` | 10 of 64x48 |" in table
    assert "traceback" not in table
