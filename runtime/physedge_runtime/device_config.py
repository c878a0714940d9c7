"""`device.toml`: what a device demands of every bundle, whoever starts it and with whatever options.

    [trust]
    keys = ["maker.pub", {file = "maker-2027.pub", not_after = 2029-12-31}]
    revoked = "revoked.txt"

    [install]
    root = "/var/lib/physedge"
    max_step = 100

    [allow]
    options = ["fall-back"]

It lies in `/etc/physedge`; only where nothing lies there, `PHYSEDGE_DEVICE` may name another one. Paths in it are
relative to its folder. A configuration that is there in any form and cannot be used opens nothing.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeVar

from physedge_runtime.errors import IntegrityError, UsageError
from physedge_runtime.guarded_files import TooLargeError, read_guarded
from physedge_runtime.keys import ANYBODY, TrustedKey, TrustStore, read_public_key, read_revocations

DEVICE_VARIABLE = "PHYSEDGE_DEVICE"
DEVICE_FILE = Path("/etc/physedge/device.toml")
DEVICE_ROOT = Path("/var/lib/physedge")
"""Where a device with a configuration installs unless it says so itself; never where an environment variable says."""

OPTIONS = frozenset({"device", "fall-back", "max-step", "rejected", "rollback", "root", "trust"})
"""What `[allow] options` may name: each weakens what the configuration demands."""

_SECTIONS = {
    "trust": {"keys", "revoked"},
    "install": {"root", "max_step"},
    "allow": {"options"},
}
_LARGEST_FILE_BYTES = 1024**2
_LARGEST_STEP = 2**53

Content = TypeVar("Content")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceConfig:
    """What a device demands.

    Attributes:
        path: The file; None where the device has none.
        trust: Whom it believes; anybody where it has no keys.
        root: Where bundles are installed; None where the device has no configuration.
        max_step: By how much a release may be above the one that has run here; None for any.
        allowed: Options that may weaken this.
        weakened: What has weakened it already.
    """

    path: Path | None = None
    trust: TrustStore = ANYBODY
    root: Path | None = None
    max_step: int | None = None
    allowed: frozenset[str] = frozenset()
    weakened: tuple[str, ...] = ()

    def weaken(self, option: str, how: str) -> tuple[str, ...]:
        """Ask whether an option may weaken what is demanded here.

        Args:
            option: One of `OPTIONS`.
            how: What was typed or set, for the message and for the head of every result.

        Returns:
            (how,); nothing where the device has no configuration that could be weakened.

        Raises:
            UsageError: It may not (`PE-SIGN-016`).
        """
        if self.path is None:
            return ()
        if option not in self.allowed:
            raise UsageError(
                "PE-SIGN-016",
                found=f"{how}, which weakens what {self.path} demands",
                expected=f'"{option}" among the options of its section [allow]',
                next_step="leave it out, or ask whoever administers this device",
            )
        return (how,)


def device_config() -> DeviceConfig:
    """The configuration of this machine; one that demands nothing where there is none.

    Raises:
        IntegrityError: It is there and cannot be used (`PE-SIGN-014`, `PE-SIGN-013`), or others may change it, a key,
            a list, or the way to one of them (`PE-SIGN-004`).
        UsageError: `PHYSEDGE_DEVICE` names another one, and this one does not allow that (`PE-SIGN-016`).
    """
    named = os.environ.get(DEVICE_VARIABLE)
    if not is_there(DEVICE_FILE):
        return read_device_config(Path(named)) if named else DeviceConfig()
    config = read_device_config(DEVICE_FILE)
    if not named or Path(named) == DEVICE_FILE:
        return config
    weakened = config.weaken("device", f"{DEVICE_VARIABLE}={named}")
    other = read_device_config(Path(named))
    return DeviceConfig(
        path=other.path,
        trust=TrustStore(
            keys=other.trust.keys,
            revoked_keys=config.trust.revoked_keys | other.trust.revoked_keys,
            revoked_bundles=config.trust.revoked_bundles | other.trust.revoked_bundles,
            weakened=weakened,
        ),
        root=other.root,
        max_step=other.max_step,
        allowed=other.allowed,
        weakened=weakened,
    )


def is_there(path: Path) -> bool:
    """Whether something has this name: a file, a folder, a link to nowhere, or what may not be looked at."""
    try:
        path.lstat()
    except FileNotFoundError:
        return path.parent.is_symlink() and not path.parent.exists()
    except OSError:
        return True
    return True


def read_device_config(path: Path) -> DeviceConfig:
    """Read a configuration; see `device_config`."""
    try:
        content = tomllib.loads(read_guarded(path, _LARGEST_FILE_BYTES).decode())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unusable(path, str(error)) from error
    except TooLargeError as error:
        raise _unusable(path, f"more than {_LARGEST_FILE_BYTES} bytes") from error
    for section, values in content.items():
        if section not in _SECTIONS or not isinstance(values, dict) or not set(values) <= _SECTIONS[section]:
            raise _unusable(path, f"the section or a key of [{section}] is unknown")
    install = content.get("install", {})
    root, step = install.get("root"), install.get("max_step")
    if root is not None and not isinstance(root, str):
        raise _unusable(path, "install.root is not a text")
    if step is not None and not (type(step) is int and 1 <= step <= _LARGEST_STEP):
        raise _unusable(path, f"install.max_step is not a number from 1 to {_LARGEST_STEP}")
    return DeviceConfig(
        path=path,
        trust=_trust(path, content.get("trust", {})),
        root=path.parent / root if root is not None else DEVICE_ROOT,
        max_step=step,
        allowed=_allowed(path, content.get("allow", {})),
    )


def _allowed(path: Path, section: dict[str, Any]) -> frozenset[str]:
    options = section.get("options", [])
    if not isinstance(options, list) or not all(isinstance(name, str) and name in OPTIONS for name in options):
        raise _unusable(path, f"allow.options is not a list of {', '.join(sorted(OPTIONS))}")
    return frozenset(options)


def _trust(path: Path, section: dict[str, Any]) -> TrustStore:
    keys = section.get("keys", [])
    if not isinstance(keys, list):
        raise _unusable(path, "trust.keys is not a list")
    revoked_keys, revoked_bundles = frozenset[str](), frozenset[str]()
    if "revoked" in section:
        if not isinstance(section["revoked"], str):
            raise _unusable(path, "trust.revoked is not a text")
        listed = path.parent / section["revoked"]
        revoked_keys, revoked_bundles = _named(path, lambda: read_revocations(listed))
    return TrustStore(
        keys=tuple(_key(path, entry) for entry in keys), revoked_keys=revoked_keys, revoked_bundles=revoked_bundles
    )


def _key(path: Path, entry: object) -> TrustedKey:
    match entry:
        case str(file):
            return _named(path, lambda: read_public_key(path.parent / file))
        # A date with a time is a date to Python, and to no comparison with one.
        case {"file": str(file), "not_after": date() as not_after, **rest} if not rest and not isinstance(
            not_after, datetime
        ):
            return _named(path, lambda: read_public_key(path.parent / file, not_after=not_after))
        case _:
            raise _unusable(path, "an entry of trust.keys is neither a file nor {file = ..., not_after = DATE}")


def _named(path: Path, read: Callable[[], Content]) -> Content:
    """A file that the configuration names and that cannot be used makes the configuration unusable."""
    try:
        return read()
    except UsageError as error:
        raise _unusable(path, error.found) from error


def _unusable(path: Path, detail: str) -> IntegrityError:
    return IntegrityError(
        "PE-SIGN-014",
        found=f"the device's configuration {path} cannot be used ({detail})",
        expected="[trust] keys, revoked; [install] root, max_step; [allow] options, as docs/security.md describes them",
        next_step="correct it; until then no bundle opens here",
    )
