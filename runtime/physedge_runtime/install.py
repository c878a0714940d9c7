"""Installing a bundle on a device, and starting what is installed: one good slot at any instant.

Order of an installation: verify the bundle; write it whole to the slot that does not run; verify it there and replay
its golden frames; only then let the record name it. The first start proves it; where that fails, the other slot runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from physedge_runtime.bundle import Bundle, read_bundle, write_atomically
from physedge_runtime.device_config import device_config
from physedge_runtime.errors import BuildError, EnvironmentFault, IntegrityError, UsageError
from physedge_runtime.isolated import is_vouched_for
from physedge_runtime.keys import TrustLike, TrustStore
from physedge_runtime.net import Net
from physedge_runtime.slots import (
    SLOTS,
    Slot,
    SlotName,
    SlotState,
    locked,
    log,
    read_state,
    remove_leftovers,
    slot_path,
    write_state,
)

# A slot that was begun so often without once getting through (a crash, a hang, a watchdog's reset) is given up.
_MOST_TRIAL_STARTS = 3
_FAILED_STARTS = (IntegrityError, EnvironmentFault, BuildError, OSError)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What runs.

    Attributes:
        bundle: The bundle of the slot.
        net: Open, golden frames replayed; the caller closes it.
        slot: Where it lies.
        fell_back: Why the slot that should have run does not; empty where it does.
    """

    bundle: Bundle
    net: Net
    slot: SlotName
    fell_back: str = ""


def install_root(named: Path | None = None) -> Path:
    """Where bundles are installed: as named, as `device.toml` says, else the user's state directory."""
    if named is not None:
        return named
    configured = device_config().root
    if configured is not None:
        return configured
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "physedge"


def install(
    path: Path,
    root: Path,
    *,
    trust: Trust = None,
    slot: SlotName | None = None,
    engine: str = "auto",
    threads: int | None = None,
    allow_rollback: bool = False,
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
        prepare: Called with the bundle as it lies in its slot, before it is opened; for example to build its engine.
        isolate: Open what no trusted key signed in a child process first; see `Bundle.open`.

    Raises:
        IntegrityError: It does not hold, is not vouched for, its golden frames do not come out, or it is older than
            what ran here (`PE-INSTALL-001`). What ran before still runs.
        GateFailed: It was not accepted (`PE-BUNDLE-012`).
        UsageError: The slot is in use (`PE-INSTALL-003`), or the folder cannot be used (`PE-INSTALL-002`).
    """
    bundle = read_bundle(path, trust=trust)
    folder = root / bundle.manifest.spec.name
    with locked(folder):
        remove_leftovers(folder)
        state = _without_trial(folder, read_state(folder))
        is_rollback = _check_release(folder, bundle, state, allow_rollback)
        chosen = _choose_slot(state, slot)
        write_atomically(slot_path(folder, chosen), path.read_bytes())
        try:
            placed = _read_back(slot_path(folder, chosen), bundle, trust)
            if prepare is not None:
                prepare(placed)
            careful = isolate and not is_vouched_for(placed)
            with placed.open(engine=engine, threads=threads, isolate=careful) as net:  # replays the golden frames
                fingerprint = net.engine
        except BaseException:
            slot_path(folder, chosen).unlink(missing_ok=True)
            raise
        replaced = state.slots[state.active].release if state.active is not None else None
        write_state(folder, state.with_installed(chosen, Slot(sha256=placed.sha256, release=placed.manifest.release)))
        log(folder, "installed", slot=chosen, release=placed.manifest.release, sha256=placed.sha256, by=placed.trust)
    return Installed(bundle=placed, slot=chosen, replaced=replaced, engine=fingerprint, is_rollback=is_rollback)


def start(
    root: Path,
    name: str | None = None,
    *,
    trust: Trust = None,
    engine: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    only_as_exported: bool = False,
    prepare: Prepare | None = None,
) -> Started:
    """Open what is installed; where it does not start, the slot that ran before.

    Args:
        root: Where bundles are installed.
        name: Of the network; may be left out where one is installed.
        trust: As for `read_bundle`.
        engine: As for `Bundle.open`.
        precision: As for `Bundle.open`.
        threads: As for `Bundle.open`.
        only_as_exported: As for `Bundle.open`; a slot that is refused so does not start.
        prepare: As for `install`.

    Raises:
        UsageError: Nothing, or more than one network is installed (`PE-INSTALL-005`), or an option cannot be used.
        IntegrityError: No slot starts.
        EnvironmentFault: No slot starts.
    """
    folder = _installed_folder(root, name)
    with locked(folder):
        state, fell_back = read_state(folder), ""
        while True:
            if state.active is None:
                raise _nothing_installed(folder)
            try:
                state = _begin(folder, state)
                bundle = _read_slot(folder, state, trust)
                if prepare is not None:
                    prepare(bundle)
                net = bundle.open(
                    engine=engine, precision=precision, threads=threads, only_as_exported=only_as_exported
                )
                break
            except _FAILED_STARTS as error:
                if state.previous is None:
                    raise
                fell_back = str(error)
                failed, state = state, state.fallen_back()
                write_state(folder, state)
                log(folder, "fell back", failed=failed.active, slot=state.active, reason=fell_back)
        if state.on_trial:
            write_state(folder, state.with_start_done(bundle.manifest.release))
            log(folder, "proved", slot=state.active, release=bundle.manifest.release)
        assert state.active is not None
    return Started(bundle=bundle, net=net, slot=state.active, fell_back=fell_back)


def refuse_rollback(bundle: Bundle, root: Path, *, allow_rollback: bool) -> None:
    """Refuse a bundle that is run from a file and is older than what ran on this device.

    Raises:
        IntegrityError: It is older (`PE-INSTALL-001`).
    """
    folder = root / bundle.manifest.spec.name
    if folder.is_dir():
        _check_release(folder, bundle, read_state(folder), allow_rollback)


def _check_release(folder: Path, bundle: Bundle, state: SlotState, allow_rollback: bool) -> bool:
    release, lowest = bundle.manifest.release, state.lowest_release
    if release >= lowest:
        return False
    if not allow_rollback:
        raise IntegrityError(
            "PE-INSTALL-001",
            found=f"{bundle.path.name} is release {release}",
            expected=f"release {lowest} or newer, since that has run here",
            next_step="install a newer release; --allow-rollback goes back all the same, and is logged",
        )
    log(folder, "rollback allowed", release=release, lowest_release=lowest, sha256=bundle.sha256, by=bundle.trust)
    return True


def _without_trial(folder: Path, state: SlotState) -> SlotState:
    """While the active slot is unproven, the proven one must not be the one that is overwritten."""
    if not (state.on_trial and state.previous is not None):
        return state
    reverted = state.fallen_back()
    write_state(folder, reverted)
    log(folder, "superseded before its first start", slot=state.active)
    return reverted


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
        raise _other_file(path.name.partition(".")[0])
    return placed


def _begin(folder: Path, state: SlotState) -> SlotState:
    if not state.on_trial:
        return state
    if state.starts >= _MOST_TRIAL_STARTS and state.previous is not None:
        raise IntegrityError(
            "PE-INSTALL-006",
            found=f"slot {state.active} was started {state.starts} times and never got through",
            expected="a first start within these",
            next_step="see install.log; the slot that ran before is taken",
        )
    begun = state.with_start_begun()
    write_state(folder, begun)
    return begun


def _read_slot(folder: Path, state: SlotState, trust: Trust) -> Bundle:
    slot = state.active
    assert slot is not None
    try:
        bundle = read_bundle(slot_path(folder, slot), trust=trust)
    except UsageError as error:
        if error.identifier != "PE-BUNDLE-001":
            raise
        raise _other_file(slot) from error
    if bundle.sha256 != state.slots[slot].sha256:
        raise _other_file(slot)
    return bundle


def _other_file(slot: str) -> IntegrityError:
    return IntegrityError(
        "PE-INSTALL-007",
        found=f"slot {slot} does not hold the file that was installed",
        expected="the file that the record names",
        next_step="install it again",
    )


def _installed_folder(root: Path, name: str | None) -> Path:
    if name is not None:
        if not (root / name).is_dir():
            raise _nothing_installed(root / name)
        return root / name
    found = sorted(path.parent for path in root.glob("*/state.json"))
    if len(found) != 1:
        raise _nothing_installed(root, ", ".join(folder.name for folder in found))
    return found[0]


def _nothing_installed(folder: Path, found: str = "") -> UsageError:
    return UsageError(
        "PE-INSTALL-005",
        found=f"in {folder}: {found or 'nothing installed'}",
        expected="one network" if found else "an installed bundle",
        next_step="name one of them" if found else "physedge install BUNDLE",
    )
