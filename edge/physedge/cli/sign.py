"""`physedge sign`: vouch for a bundle, or make a key to do so."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from physedge.cli.console import emit, say
from physedge.cli.options import JsonOption
from physedge_runtime.errors import UsageError

if TYPE_CHECKING:
    from physedge_runtime.signing import Signer


def sign(
    bundle: Annotated[Path | None, typer.Argument(help="NAME.physedge, signed in place.")] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="maker.pem; with --signer the public key maker.pub.")
    ] = None,
    signer: Annotated[
        str | None,
        typer.Option("--signer", help="A program that gets the message on stdin and answers the signature on stdout."),
    ] = None,
    new_key: Annotated[
        Path | None, typer.Option("--new-key", help="Make maker.pem (mode 600) and maker.pub instead.")
    ] = None,
    not_after: Annotated[
        datetime | None, typer.Option("--not-after", formats=["%Y-%m-%d"], help="Last day (UTC) it counts.")
    ] = None,
    release: Annotated[
        int | None, typer.Option("--release", min=0, help="Number that a device never goes back behind.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Sign a bundle (Ed25519 over its manifest, which holds the hash of every entry), or make a key pair."""
    from physedge_runtime.signing import sign_bundle

    if new_key is not None and bundle is None and key is None and signer is None:
        _make_key(new_key, json_output)
        return
    if bundle is None or key is None or new_key is not None:
        raise UsageError(
            "PE-SIGN-015",
            found="options that do not go together",
            expected="a bundle with --key, or --new-key alone",
            next_step="physedge sign --new-key maker.pem, then physedge sign BUNDLE --key maker.pem",
        )
    chosen = _signer(key, signer)
    signed = sign_bundle(bundle, chosen, not_after=not_after.date() if not_after else None, release=release)
    say(f"{bundle.name}: release {signed.manifest.release}, {signed.trust}", json_output=json_output)
    emit(
        {
            "schema_version": 1,
            "bundle": str(bundle),
            "sha256": signed.sha256,
            "manifest_sha256": signed.manifest_sha256,
            "release": signed.manifest.release,
            "key_id": chosen.key.key_id,
            "not_after": not_after.date().isoformat() if not_after else None,
        },
        json_output,
    )


def _signer(key: Path, command: str | None) -> Signer:
    from physedge_runtime.keys import read_public_key
    from physedge_runtime.signing import command_signer, file_signer

    return file_signer(key) if command is None else command_signer(command, read_public_key(key))


def _make_key(path: Path, json_output: bool) -> None:
    from physedge_runtime.keys import write_new_key

    public_path, made = write_new_key(path)
    say(
        f"{path} signs: keep it where only the maker reads it",
        f"{public_path} checks: it goes to the devices (--trust, or device.toml)",
        f"key {made.key_id}",
        json_output=json_output,
    )
    emit({"schema_version": 1, "private": str(path), "public": str(public_path), "key_id": made.key_id}, json_output)
