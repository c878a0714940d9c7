"""A signed reset of the release floor: the way out after a release that was numbered wrongly, as 20261130.

It is one line of canonical JSON, read by its exact form,

    {"algorithm":"ed25519","floor":N,"from":N,"key_id":HEX64,"network":NAME,"not_after":null|DAY,"schema_version":1,
    "signature":HEX128}

and is good for one network, for one floor that it lowers, and once on each device. What is signed is a fixed first
line and this line without the signature.
"""

from __future__ import annotations

import hashlib
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from physedge_runtime.bundle import write_atomically
from physedge_runtime.errors import IntegrityError, UsageError
from physedge_runtime.install import Trust, believed, installed_folder
from physedge_runtime.manifest import canonical_json
from physedge_runtime.signature import Signature, check_signed
from physedge_runtime.slots import locked, log, read_state, write_state
from physedge_runtime.update.clock import note_day
from physedge_runtime.update.floor import FloorRecord, read_floor

if TYPE_CHECKING:
    from physedge_runtime.signing import Signer

_FIRST_LINE = b"physedge floor reset 1\n"
_NUMBER = rb"(0|[1-9][0-9]{0,17})"
_FORM = re.compile(
    rb'\{"algorithm":"ed25519","floor":' + _NUMBER + rb',"from":' + _NUMBER + rb',"key_id":"([0-9a-f]{64})",'
    rb'"network":"([a-z0-9][a-z0-9_-]{0,63})","not_after":(?:null|"([0-9]{4}-[0-9]{2}-[0-9]{2})"),"schema_version":1,'
    rb'"signature":"([0-9a-f]{128})"\}\n'
)


def write_reset(
    path: Path, signer: Signer, *, network: str, wrong: int, floor: int, not_after: date | None = None
) -> None:
    """Sign a reset.

    Args:
        path: The file that is written.
        signer: Whose signature it gets.
        network: Name of the network.
        wrong: The floor that devices have, the release that was numbered wrongly.
        floor: The floor that they are to have.
        not_after: Last day (UTC) on which it counts; None for ever.

    Raises:
        UsageError: The floor would not fall (`PE-SIGN-015`).
    """
    if not 0 <= floor < wrong:
        raise UsageError(
            "PE-SIGN-015",
            found=f"a reset from release {wrong} to {floor}",
            expected="a lower floor, 0 or more",
            next_step="a floor rises by itself with a newer release",
        )
    head = _head(network, wrong, floor, signer.key.key_id, not_after)
    signature = signer.sign(_FIRST_LINE + canonical_json(head))
    write_atomically(path, canonical_json({**head, "signature": signature.hex()}))


def apply_reset(path: Path, root: Path, *, trust: Trust = None) -> tuple[str, int]:
    """Lower the release floor of an installed network, as its maker says.

    Args:
        path: The signed reset.
        root: Where bundles are installed.
        trust: As for `read_bundle`; without a trusted key no reset counts.

    Returns:
        The network's name, and its floor now.

    Raises:
        IntegrityError: It is not a reset, nobody trusted has signed it, it is not for the floor of this device, or it
            was applied already (`PE-INSTALL-011`, `PE-SIGN-007` to `PE-SIGN-010`).
        UsageError: It cannot be read (`PE-INSTALL-011` has status 4 for its content; `PE-BUNDLE-001` for the file).
    """
    store = believed(trust, root)
    data = _read(path)
    found = _FORM.fullmatch(data)
    if found is None or not store.keys:
        raise _refused(
            f"{path.name} is not a signed reset" if found is None else "no key is trusted on this device",
            "a file that physedge sign --reset wrote" if found is None else "a key by --trust or device.toml",
        )
    floor, wrong, network = int(found[1]), int(found[2]), found[4].decode()
    try:
        not_after = date.fromisoformat(found[5].decode()) if found[5] else None
    except ValueError as error:
        raise _refused(f"{path.name} is not a signed reset", "a day of the calendar") from error
    entry = Signature(key_id=found[3].decode(), not_after=not_after, signature=bytes.fromhex(found[6].decode()))
    message = _FIRST_LINE + canonical_json(_head(network, wrong, floor, entry.key_id, not_after))
    by = check_signed(message, entry, store, origin=path.name, today=store.today)
    folder, identity = installed_folder(root, network), hashlib.sha256(data).hexdigest()
    with locked(folder):
        state, kept = read_state(folder), read_floor(folder) or FloorRecord()
        if state.floor != wrong or identity in kept.resets:
            raise _refused(
                f"{path.name} lowers release {wrong}, and {network} has the floor {state.floor}"
                if state.floor != wrong
                else f"{path.name} was applied here before",
                "a reset of the floor that this device has, which was not applied yet",
            )
        lowered = kept.model_copy(
            update={"floor": floor, "resets": (*kept.resets, identity), "withdrawn": (*kept.withdrawn, wrong)}
        )
        write_state(folder, state.model_copy(update={"floor": floor}), lowered)
        note_day(root)
        log(folder, "floor reset", withdrawn=wrong, floor=floor, by=by)
    return network, floor


def _head(network: str, wrong: int, floor: int, key_id: str, not_after: date | None) -> dict[str, object]:
    return {
        "algorithm": "ed25519",
        "floor": floor,
        "from": wrong,
        "key_id": key_id,
        "network": network,
        "not_after": not_after.isoformat() if not_after is not None else None,
        "schema_version": 1,
    }


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(64 * 1024)
    except OSError as error:
        raise _refused(
            f"{path} cannot be read ({error.strerror})", "a file that physedge sign --reset wrote"
        ) from error


def _refused(found: str, expected: str) -> IntegrityError:
    return IntegrityError(
        "PE-INSTALL-011", found=found, expected=expected, next_step="ask its maker for one; nothing was changed"
    )
