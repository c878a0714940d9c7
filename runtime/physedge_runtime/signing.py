"""Signing a bundle in place: with a key file, or by a program that keeps the key elsewhere."""

from __future__ import annotations

import base64
import binascii
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from physedge_runtime.bundle import MANIFEST, SIGNATURE, Bundle, canonical_zip, read_bundle, write_atomically
from physedge_runtime.errors import BuildError, UsageError
from physedge_runtime.keys import ANYBODY, TrustedKey, TrustStore, read_private_key
from physedge_runtime.signature import SIGNATURE_BYTES, Signature, check_signature, signed_message

_SIGNER_TIMEOUT_S = 120.0
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A public key and what signs for it.

    Attributes:
        key: The public key; the signature is checked with it before anything is written.
        sign: From the message to the 64 bytes of the signature.
    """

    key: TrustedKey
    sign: Callable[[bytes], bytes]


def file_signer(path: Path) -> Signer:
    """Sign with a private key in a file.

    Raises:
        UsageError: The file is no such key, or is open to others (`PE-SIGN-001` to `PE-SIGN-003`).
    """
    private = read_private_key(path)
    public = private.public_key().public_bytes_raw()
    return Signer(key=TrustedKey(name=path.stem, public=public), sign=private.sign)


def command_signer(command: str, key: TrustedKey) -> Signer:
    """Sign by a program: PKCS #11, a security module, a signing service.

    The program gets the message on its standard input and answers an Ed25519 signature on its standard output: 64 raw
    bytes, or the same in base64 or hexadecimal. It is started without a shell.

    Args:
        command: The program and its arguments, written as for a shell.
        key: The public key that belongs to it.
    """
    return Signer(key=key, sign=lambda message: _ask(command, message))


def sign_bundle(path: Path, signer: Signer, *, not_after: date | None = None, release: int | None = None) -> Bundle:
    """Sign a bundle in place, atomically; a signature that is there is replaced, nothing else changes.

    Args:
        path: The bundle; every byte is checked first.
        signer: Whose signature it gets.
        not_after: Last day (UTC) on which the signature counts; None for ever.
        release: Number that the manifest gets; as it is where None.

    Returns:
        The bundle as it is now, verified.

    Raises:
        UsageError: The release is negative (`PE-SIGN-015`).
        IntegrityError: The bundle does not hold.
        BuildError: The signer failed, or its answer does not fit the key (`PE-SIGN-012`).
    """
    bundle = read_bundle(path, trust=ANYBODY)
    manifest = _manifest(bundle, release)
    message = signed_message(manifest, signer.key.key_id, not_after)
    entry = Signature(
        key_id=signer.key.key_id, not_after=not_after, signature=signer.sign(message).ljust(SIGNATURE_BYTES, b"\0")
    ).to_bytes()
    trust = TrustStore(keys=(signer.key,))
    try:
        check_signature(manifest, entry, trust, origin=path.name, today=not_after)
    except Exception as error:
        raise _failed(f"what was signed does not fit the key {signer.key.name}", "the key's own signature") from error
    write_atomically(path, canonical_zip({**bundle.contents, MANIFEST: manifest, SIGNATURE: entry}))
    return read_bundle(path, trust=trust if not_after is None or not_after >= date.today() else ANYBODY)


def _manifest(bundle: Bundle, release: int | None) -> bytes:
    if release is None:
        return bundle.read(MANIFEST)
    if release < 0:
        raise UsageError(
            "PE-SIGN-015", found=f"release {release}", expected="0 or more", next_step="choose another --release"
        )
    return bundle.manifest.model_copy(update={"release": release}).canonical_bytes()


def _ask(command: str, message: bytes) -> bytes:
    try:
        answer = subprocess.run(
            shlex.split(command), input=message, capture_output=True, timeout=_SIGNER_TIMEOUT_S, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise _failed(f"the signer could not be run ({error})", "a program") from error
    if answer.returncode != 0:
        lines = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        said = lines[-1].strip()[:_SHOWN_CHARACTERS] if lines else "it said nothing"
        raise _failed(f"the signer ended with status {answer.returncode} ({said})", "status 0")
    return _decode(answer.stdout)


def _decode(answer: bytes) -> bytes:
    if len(answer) == SIGNATURE_BYTES:
        return answer
    text = answer.strip()
    for decode in (bytes.fromhex, lambda said: base64.b64decode(said, validate=True)):
        try:
            signature = decode(text.decode("ascii"))
        except (UnicodeDecodeError, ValueError, binascii.Error):
            continue
        if len(signature) == SIGNATURE_BYTES:
            return signature
    raise _failed(f"the signer answered {len(answer)} bytes", "64 raw bytes, or these in base64 or hexadecimal")


def _failed(found: str, expected: str) -> BuildError:
    return BuildError(
        "PE-SIGN-012", found=found, expected=expected, next_step="the bundle was left as it was; check --signer"
    )
