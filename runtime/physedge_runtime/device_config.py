"""`device.toml`: what a device demands of every bundle, whoever starts it and with whatever options.

    [trust]
    keys = ["maker.pub", {file = "maker-2027.pub", not_after = 2029-12-31}]
    revoked = "revoked.txt"

    [install]
    root = "/var/lib/physedge"

It lies in `/etc/physedge`, or where `PHYSEDGE_DEVICE` says. Paths in it are relative to its folder.
"""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from physedge_runtime.errors import UsageError
from physedge_runtime.keys import (
    ANYBODY,
    TrustedKey,
    TrustStore,
    read_public_key,
    read_revocations,
    refuse_writable_by_others,
)

DEVICE_VARIABLE = "PHYSEDGE_DEVICE"
DEVICE_FILE = Path("/etc/physedge/device.toml")
_KEYS = {"trust": {"keys", "revoked"}, "install": {"root"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """What a device demands.

    Attributes:
        path: The file; None where the device has none.
        trust: Whom it believes; anybody where it has no keys.
        root: Where bundles are installed.
    """

    path: Path | None = None
    trust: TrustStore = ANYBODY
    root: Path | None = None


def device_config() -> DeviceConfig:
    """The configuration of this machine; one that demands nothing where there is none.

    Raises:
        UsageError: It cannot be read or has unknown keys (`PE-SIGN-014`).
        IntegrityError: Others may change it (`PE-SIGN-004`).
    """
    named = os.environ.get(DEVICE_VARIABLE)
    path = Path(named) if named else DEVICE_FILE
    if not named and not path.is_file():
        return DeviceConfig()
    try:
        refuse_writable_by_others(path, check_owner=True)
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unusable(path, str(error)) from error
    for section, values in content.items():
        if section not in _KEYS or not isinstance(values, dict) or not set(values) <= _KEYS[section]:
            raise _unusable(path, f"the section or a key of [{section}] is unknown")
    root = content.get("install", {}).get("root")
    if root is not None and not isinstance(root, str):
        raise _unusable(path, "install.root is no text")
    return DeviceConfig(
        path=path,
        trust=_trust(path, content.get("trust", {})),
        root=path.parent / root if root is not None else None,
    )


def _trust(path: Path, section: dict[str, Any]) -> TrustStore:
    keys = section.get("keys", [])
    if not isinstance(keys, list):
        raise _unusable(path, "trust.keys is no list")
    revoked_keys, revoked_bundles = frozenset[str](), frozenset[str]()
    if "revoked" in section:
        if not isinstance(section["revoked"], str):
            raise _unusable(path, "trust.revoked is no text")
        revoked_keys, revoked_bundles = read_revocations(path.parent / section["revoked"])
    return TrustStore(
        keys=tuple(_key(path, entry) for entry in keys), revoked_keys=revoked_keys, revoked_bundles=revoked_bundles
    )


def _key(path: Path, entry: object) -> TrustedKey:
    match entry:
        case str(file):
            return read_public_key(path.parent / file)
        case {"file": str(file), "not_after": date() as not_after, **rest} if not rest:
            return read_public_key(path.parent / file, not_after=not_after)
        case _:
            raise _unusable(path, "an entry of trust.keys is neither a file nor {file = ..., not_after = DATE}")


def _unusable(path: Path, detail: str) -> UsageError:
    return UsageError(
        "PE-SIGN-014",
        found=f"the device's configuration {path} cannot be used ({detail})",
        expected="[trust] keys, revoked; [install] root, as docs/security.md describes them",
        next_step="correct it; until then no bundle opens here",
    )
