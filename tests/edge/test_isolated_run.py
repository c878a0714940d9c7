"""`run` opens what nobody signed in a child process first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from physedge.deploy.opening import OpenRequest, open_chosen
from physedge_runtime.errors import IntegrityError
from physedge_runtime.keys import write_new_key
from physedge_runtime.signing import file_signer, sign_bundle

CRASH = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"


def test_what_nobody_signed_is_opened_in_a_child_process_first(
    write_tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    assert onnxruntime.InferenceSession  # this process has the real one
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages/onnxruntime.py").write_text(CRASH)
    monkeypatch.syspath_prepend(str(tmp_path / "packages"))
    path = write_tiny()
    with pytest.raises(IntegrityError, match="PE-ENGINE-004"):
        open_chosen(OpenRequest(bundle=path, engine="onnxruntime"))
    open_chosen(OpenRequest(bundle=path, engine="onnxruntime", isolate=False)).net.close()
    public, _ = write_new_key(tmp_path / "maker.pem")
    sign_bundle(path, file_signer(tmp_path / "maker.pem"))
    open_chosen(OpenRequest(bundle=path, engine="onnxruntime", trust=[public])).net.close()
