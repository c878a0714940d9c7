"""An engine that crashes on a graph crashes in a child process: the parent says so and goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import exhibits
import pytest

from physedge_runtime.bundle import read_bundle
from physedge_runtime.errors import IntegrityError
from physedge_runtime.isolated import open_in_child

CRASH = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
HANG = "import threading\nthreading.Event().wait()\n"


def with_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A package `onnxruntime` for the child alone: this process has imported the real one."""
    import onnxruntime

    assert onnxruntime.InferenceSession
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/onnxruntime.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))


@pytest.mark.parametrize(("text", "told"), [(CRASH, "signal 11"), (HANG, "did not come to an end")])
def test_an_engine_that_ends_badly_is_told_before_it_ends_the_stream(
    text: str, told: str, write_tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = read_bundle(write_tiny())
    with_engine(tmp_path, monkeypatch, text)
    with pytest.raises(IntegrityError, match=f"PE-ENGINE-004.*{told}") as caught:
        open_in_child(bundle, engine="onnxruntime", precision=None, threads=1, longest_s=2 if text is HANG else 60)
    assert caught.value.exit_status == 4


def test_what_opens_is_opened_and_what_is_refused_is_left_to_the_caller(
    write_tiny: Callable[..., Path], tmp_path: Path
) -> None:
    bundle = read_bundle(write_tiny())
    bundle.open(engine="onnxruntime", threads=1, isolate=True).close()
    altered = read_bundle(exhibits.golden_altered(tmp_path / "altered.physedge"))
    with pytest.raises(IntegrityError, match="PE-BUNDLE-020"):
        altered.open(engine="onnxruntime", threads=1, isolate=True)


def test_a_file_that_was_exchanged_is_not_opened(write_tiny: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tiny()
    bundle = read_bundle(path)
    path.write_bytes(exhibits.rebuilt(tmp_path / "other.physedge", release=7).read_bytes())
    with pytest.raises(IntegrityError, match="PE-BUNDLE-010"):
        open_in_child(bundle, engine="onnxruntime", precision=None, threads=1)
