"""`physedge sign`: vouch for a bundle, or make a key to do so."""

from __future__ import annotations

from datetime import date, datetime
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
    reset: Annotated[
        Path | None, typer.Option("--reset", help="Write a reset of the release floor instead, for --network.")
    ] = None,
    network: Annotated[str | None, typer.Option("--network", help="Of a reset: the network's name.")] = None,
    wrong: Annotated[
        int | None, typer.Option("--wrong", min=1, help="Of a reset: the wrong release; --release is the new floor.")
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Sign a bundle (Ed25519 over its manifest, which holds the hash of every entry), or make a key pair or a reset."""
    from physedge_runtime.signing import sign_bundle

    last_day = not_after.date() if not_after else None
    if reset is not None and bundle is None and key and network and wrong is not None and release is not None:
        _sign_reset(reset, _signer(key, signer), network, wrong, release, last_day, json_output)
        return
    if new_key is not None and bundle is None and key is None and signer is None:
        _make_key(new_key, json_output)
        return
    if bundle is None or key is None or any(value is not None for value in (new_key, reset, network, wrong)):
        raise UsageError(
            "PE-SIGN-015",
            found="options that do not go together",
            expected="a bundle with --key, or --new-key alone, or --reset with --key, --network, --wrong and --release",
            next_step="physedge sign --new-key maker.pem, then physedge sign BUNDLE --key maker.pem",
        )
    chosen = _signer(key, signer)
    signed = sign_bundle(bundle, chosen, not_after=last_day, release=release)
    say(f"{bundle.name}: release {signed.manifest.release}, {signed.trust}", json_output=json_output)
    emit(
        {
            "schema_version": 1,
            "bundle": str(bundle),
            "sha256": signed.sha256,
            "manifest_sha256": signed.manifest_sha256,
            "release": signed.manifest.release,
            "key_id": chosen.key.key_id,
            "not_after": last_day.isoformat() if last_day else None,
        },
        json_output,
    )


def _sign_reset(
    path: Path, signer: Signer, network: str, wrong: int, floor: int, not_after: date | None, json_output: bool
) -> None:
    from physedge_runtime.update.reset import write_reset

    write_reset(path, signer, network=network, wrong=wrong, floor=floor, not_after=not_after)
    say(
        f"{path} lowers the floor of {network} from release {wrong} to {floor}, once on each device",
        "there: physedge install --reset",
        json_output=json_output,
    )
    emit({"schema_version": 1, "reset": str(path), "network": network, "wrong": wrong, "floor": floor}, json_output)


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
