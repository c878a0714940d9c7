"""Installing a bundle on a device: one good slot at any instant. `physedge_runtime.starting` starts what is installed.

Order of an installation: verify the bundle; write it whole beside the slots; verify it there and replay its golden
frames; only then let it take the slot that does not run, and the record name it. What fails before that changes
nothing. The release is on trial until live answers have proven it (`update_good`); until then the other slot is kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from physedge_runtime.bundle import Bundle, read_bundle, sync_folder, write_atomically
from physedge_runtime.device_config import DeviceConfig, device_config
from physedge_runtime.errors import IntegrityError, UsageError
from physedge_runtime.isolated import is_vouched_for
from physedge_runtime.keys import TrustLike, TrustStore, trust_store
from physedge_runtime.net import open_accepted
from physedge_runtime.slots import (
    SLOTS,
    Slot,
    SlotName,
    SlotState,
    locked,
    log,
    raise_floor,
    read_state,
    remove_leftovers,
    slot_path,
    write_state,
)
from physedge_runtime.update.clock import judging_day, note_day
from physedge_runtime.update.floor import FloorRecord, floor_path, read_floor
from physedge_runtime.update.mending import mended_floor

_NETWORK = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

Trust = TrustLike | TrustStore | None
Prepare = Callable[[Bundle], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """What an installation did.

    Attributes:
        bundle: As it was read back from its slot.
        slot: Where it lies.
        replaced: Release that ran before; None where nothing did.
        engine: Fingerprint of what replayed the golden frames.
        is_rollback: It is older than what ran here before, and somebody allowed that.
    """

    bundle: Bundle
    slot: SlotName
    replaced: int | None
    engine: str
    is_rollback: bool


def install_root(named: Path | None = None) -> Path:
    """Where bundles are installed: as named, as `device.toml` says, else the user's state directory.

    Raises:
        UsageError: The device has a configuration, and it does not allow another place (`PE-SIGN-016`).
    """
    config = device_config()
    if named is not None:
        weakened_by_root(config, named)
        return named
    if config.root is not None:
        return config.root
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "physedge"


def weakened_by_root(config: DeviceConfig, root: Path) -> tuple[str, ...]:
    """Whether a place is another one than the device's; see `DeviceConfig.weaken`."""
    if config.root is None or root.resolve() == config.root.resolve():
        return ()
    return config.weaken("root", f"--root {root}")


def believed(trust: Trust, root: Path) -> TrustStore:
    """Whom to believe where bundles are installed: expiry is judged by the newest day that was seen there."""
    store = trust_store(trust)
    return replace(store, today=max(judging_day(root), store.today or judging_day(root)))


def install(
    path: Path,
    root: Path,
    *,
    trust: Trust = None,
    slot: SlotName | None = None,
    engine: str = "auto",
    threads: int | None = None,
    allow_rollback: bool = False,
    max_step: int | None = None,
    mend: bool = False,
    prepare: Prepare | None = None,
    isolate: bool = False,
) -> Installed:
    """Install a bundle in the slot that does not run, prove it there, and switch.

    Args:
        path: The bundle.
        root: Where bundles are installed; the network's name is a folder in it.
        trust: As for `read_bundle`.
        slot: The one to use; the free one where None.
        engine: As for `Bundle.open`.
        threads: As for `Bundle.open`.
        allow_rollback: Install although it is older than what ran here; written to the log.
        max_step: By how much its release may be above the one that ran here; the device's own limit holds, too.
        mend: Begin the record anew where it was lost or disagrees; the highest release floor that is known is kept.
        prepare: Called with the bundle as it lies beside its slot, before it is opened; for example to build its
            engine.
        isolate: Open what no trusted key signed in a child process first; see `Bundle.open`.

    Raises:
        IntegrityError: It does not hold, is not vouched for, its golden frames do not come out, it is older than what
            ran here (`PE-INSTALL-001`) or too far above it (`PE-INSTALL-009`), or the record does not hold
            (`PE-INSTALL-004`, `PE-INSTALL-008`). What ran before still runs.
        GateFailed: It was not accepted (`PE-BUNDLE-012`).
        UsageError: The slot is in use (`PE-INSTALL-003`), the folder cannot be used (`PE-INSTALL-002`), or the device
            does not allow an option (`PE-SIGN-016`).
    """
    config = device_config()
    weakened_by_root(config, root)
    if allow_rollback:
        config.weaken("rollback", "--allow-rollback")
    store = believed(trust, root)
    bundle = read_bundle(path, trust=store)
    folder = root / bundle.manifest.spec.name
    with locked(folder):
        note_day(root)
        remove_leftovers(folder)
        anew = mended_floor(folder) if mend else None
        kept = read_state(folder) if anew is None else SlotState(floor=anew.floor)
        _refuse_withdrawn(bundle, anew or read_floor(folder), kept.floor)
        is_rollback = _check_release(folder, bundle, kept, allow_rollback)
        _check_step(bundle, kept, [step for step in (max_step, config.max_step) if step is not None])
        # While the active slot is on trial, the proven one must not be the one that is overwritten.
        state = kept.fallen_back() if kept.on_trial and kept.previous is not None else kept
        chosen = _choose_slot(state, slot)
        incoming = folder / f".{chosen}.physedge.incoming"
        try:
            write_atomically(incoming, path.read_bytes())
            placed = _read_back(incoming, bundle, store)
            if prepare is not None:
                prepare(placed)
            careful = isolate and not is_vouched_for(placed)
            # Opening replays the golden frames.
            with open_accepted(placed, engine=engine, threads=threads, isolate=careful) as net:
                fingerprint = net.engine
            incoming.replace(slot_path(folder, chosen))
        except BaseException:
            incoming.unlink(missing_ok=True)
            raise
        sync_folder(folder)
        placed = replace(placed, path=slot_path(folder, chosen))
        replaced = kept.slots[kept.active].release if kept.active is not None else None
        write_state(
            folder,
            state.with_installed(chosen, Slot(sha256=placed.sha256, release=placed.manifest.release)),
            anew,
        )
        if anew is not None:
            log(folder, "record begun anew", floor=anew.floor)
        log(folder, "installed", slot=chosen, release=placed.manifest.release, sha256=placed.sha256, by=placed.trust)
    return Installed(bundle=placed, slot=chosen, replaced=replaced, engine=fingerprint, is_rollback=is_rollback)


def update_good(root: Path, name: str, *, sha256: str | None = None) -> int:
    """Record that what is on trial has proven itself by live answers: from now on nothing older than it runs here.

    For a firmware that has its own idea of a proof; `physedge run --installed` calls it after 50 live answers within
    10 seconds or more. Does nothing where the active slot is proven already.

    Args:
        root: Where bundles are installed.
        name: Of the network.
        sha256: Of the bundle's file that has answered; the active slot's is not asked for where None.

    Returns:
        The release floor.

    Raises:
        IntegrityError: Another bundle is on trial than has answered (`PE-INSTALL-012`), or the record does not hold.
        UsageError: Nothing is installed (`PE-INSTALL-005`), or the record cannot be written (`PE-INSTALL-002`).
    """
    folder = installed_folder(root, name)
    with locked(folder):
        state = read_state(folder)
        if state.active is None:
            raise nothing_installed(folder)
        if sha256 is not None and state.slots[state.active].sha256 != sha256:
            raise IntegrityError(
                "PE-INSTALL-012",
                found=f"another file has answered than lies in slot {state.active} of {name}",
                expected="the bundle of the active slot",
                next_step="start it, and let it answer first",
            )
        if state.on_trial:
            release = state.trial_release
            state = raise_floor(folder, state)
            note_day(root)
            log(folder, "proved", slot=state.active, release=release, floor=state.floor)
    return state.floor


def update_ended(root: Path, name: str, *, sha256: str) -> None:
    """Record that a start on trial ended in good order before it could prove anything: it does not count against it.

    Args:
        root: Where bundles are installed.
        name: Of the network.
        sha256: Of the bundle's file that was running.
    """
    folder = installed_folder(root, name)
    with locked(folder):
        state = read_state(folder)
        is_same = state.active is not None and state.slots[state.active].sha256 == sha256
        if is_same and state.on_trial and state.starts > 0:
            write_state(folder, state.with_starts(state.starts - 1))


def refuse_below_floor(bundle: Bundle) -> None:
    """On a device with a configuration, refuse a bundle that is older than what was proven there.

    Raises:
        IntegrityError: It is older (`PE-INSTALL-001`), or the record does not hold (`PE-INSTALL-004`, `008`).
    """
    root = device_config().root
    if root is not None:
        refuse_rollback(bundle, root, allow_rollback=False)


def refuse_rollback(bundle: Bundle, root: Path, *, allow_rollback: bool) -> None:
    """Refuse a bundle that is run from a file and is older than what ran on this device.

    Raises:
        IntegrityError: It is older (`PE-INSTALL-001`).
    """
    folder = root / bundle.manifest.spec.name
    floor = read_state(folder).floor
    if bundle.manifest.release < floor and not allow_rollback:
        raise _older(bundle, floor)


def _check_release(folder: Path, bundle: Bundle, state: SlotState, allow_rollback: bool) -> bool:
    release, lowest = bundle.manifest.release, state.lowest_release
    if release >= lowest:
        return False
    if not allow_rollback:
        raise _older(bundle, lowest)
    log(folder, "rollback allowed", release=release, lowest_release=lowest, sha256=bundle.sha256, by=bundle.trust)
    return True


def _refuse_withdrawn(bundle: Bundle, kept: FloorRecord | None, floor: int) -> None:
    release = bundle.manifest.release
    if kept is not None and release in kept.withdrawn:
        raise IntegrityError(
            "PE-INSTALL-001",
            found=f"{bundle.path.name} is release {release}, which a signed reset has withdrawn",
            expected=f"a release from {floor} on that was numbered rightly",
            next_step="ask its maker for another one",
        )


def _older(bundle: Bundle, lowest: int) -> IntegrityError:
    return IntegrityError(
        "PE-INSTALL-001",
        found=f"{bundle.path.name} is release {bundle.manifest.release}",
        expected=f"release {lowest} or newer, since that has run here",
        next_step="install a newer release; --allow-rollback goes back all the same, and is logged",
    )


def _check_step(bundle: Bundle, state: SlotState, steps: list[int]) -> None:
    """A release that is numbered wrongly, as by a date, would lock every later one out."""
    release = bundle.manifest.release
    if steps and state.active is not None and release > state.lowest_release + min(steps):
        raise IntegrityError(
            "PE-INSTALL-009",
            found=f"{bundle.path.name} is release {release}, and {state.lowest_release} runs here",
            expected=f"at most {min(steps)} more",
            next_step="ask its maker whether the number is right; the limit is --max-step, or max_step in device.toml",
        )


def _choose_slot(state: SlotState, asked: SlotName | None) -> SlotName:
    free: list[SlotName] = [name for name in SLOTS if name != state.active]
    if asked is None:
        return free[0]
    if asked not in free:
        raise UsageError(
            "PE-INSTALL-003",
            found=f"slot {asked}",
            expected=f"slot {free[0]}, since {asked} is the one that runs",
            next_step="leave --slot out",
        )
    return asked


def _read_back(path: Path, source: Bundle, trust: Trust) -> Bundle:
    placed = read_bundle(path, trust=trust)
    if placed.sha256 != source.sha256:
        raise other_file(path.name.strip(".").partition(".")[0])
    return placed


def other_file(slot: str, why: str = "another file") -> IntegrityError:
    """The error for a slot whose file is not the one that was installed."""
    return IntegrityError(
        "PE-INSTALL-007",
        found=f"slot {slot} does not hold the file that was installed ({why})",
        expected="the file that the record names",
        next_step="install it again",
    )


def installed_folder(root: Path, name: str | None) -> Path:
    """The folder of an installed network.

    Args:
        root: Where bundles are installed.
        name: Of the network, never a path; may be left out where one is installed.

    Raises:
        UsageError: Nothing of this name, or more than one network is installed (`PE-INSTALL-005`).
    """
    if name is not None:
        if not _NETWORK.fullmatch(name):
            raise UsageError(
                "PE-INSTALL-005",
                found=f"the name {name!r}",
                expected="the name of a network: small letters, digits, - and _",
                next_step="name one that physedge install put here; another place is named by --root",
            )
        if not (root / name).is_dir() and not floor_path(root / name).exists():
            raise nothing_installed(root / name)
        return root / name
    found = sorted(
        {path.parent.name for path in root.glob("*/state.json")} | {path.stem for path in root.glob("*.floor")}
    )
    if len(found) != 1:
        raise nothing_installed(root, ", ".join(found))
    return root / found[0]


def nothing_installed(folder: Path, found: str = "") -> UsageError:
    """The error for a folder in which nothing is installed, or more than one network."""
    return UsageError(
        "PE-INSTALL-005",
        found=f"in {folder}: {found or 'nothing installed'}",
        expected="one network" if found else "an installed bundle",
        next_step="name one of them" if found else "physedge install BUNDLE",
    )
