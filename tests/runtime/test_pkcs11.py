"""Signing with a key inside a PKCS #11 token, by the example program and SoftHSM."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from debian import program

from physedge_runtime.bundle import read_bundle
from physedge_runtime.errors import BuildError
from physedge_runtime.keys import read_public_key
from physedge_runtime.signing import command_signer, sign_bundle

pytest.importorskip("pkcs11")
SIGNER = Path(__file__).parents[2] / "examples/pkcs11_signer/pkcs11_signer.py"
MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "314159"


def ask(what: str) -> bytes:
    return subprocess.run(
        [sys.executable, str(SIGNER), "maker", "signing", what], capture_output=True, check=True
    ).stdout


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = program("softhsm2-util", "softhsm2")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    monkeypatch.setenv("PKCS11_MODULE", str(MODULE))
    monkeypatch.setenv("PKCS11_PIN", PIN)
    made = [str(tool), "--init-token", "--free", "--label", "maker", "--pin", PIN, "--so-pin", PIN]
    subprocess.run(made, check=True, capture_output=True)


@pytest.mark.usefixtures("token")
def test_a_key_in_a_token_signs(
    write_tiny: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    public = tmp_path / "maker.pub"
    public.write_bytes(ask("new"))
    assert ask("public") == public.read_bytes()
    path = write_tiny()
    command = shlex.join([sys.executable, str(SIGNER), "maker", "signing", "sign"])
    signed = sign_bundle(path, command_signer(command, read_public_key(public)), release=1)
    assert signed.manifest.release == 1
    assert read_bundle(path, trust=public).trust.startswith("signed by maker")

    before = path.read_bytes()
    monkeypatch.setenv("PKCS11_PIN", "000000")
    with pytest.raises(BuildError, match=r"PE-SIGN-012.*left as it was"):
        sign_bundle(path, command_signer(command, read_public_key(public)), release=2)
    assert path.read_bytes() == before
