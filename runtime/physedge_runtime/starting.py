"""Starting what is installed, and what to do where it does not start.

What the failure is about decides what becomes of it:

    an option, a key, the clock, a package     nothing is recorded; a proven slot is not left
    a file that is not the one installed       the other slot takes its place for good
    anything else                              counted; after three in a row the other slot takes its place for good

While a new release is on trial, its spare slot runs whenever it does not. A spare slot below the release floor, as the
one that was there before a release was proven, runs only where nothing forbids it: a device with a configuration has
to allow `fall-back`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from physedge_runtime.bundle import Bundle, read_bundle
from physedge_runtime.device_config import DeviceConfig, device_config
from physedge_runtime.errors import BuildError, EnvironmentFault, IntegrityError, PhysedgeError, UsageError
from physedge_runtime.install import (
    Prepare,
    Trust,
    believed,
    installed_folder,
    nothing_installed,
    other_file,
    weakened_by_root,
)
from physedge_runtime.keys import TrustStore
from physedge_runtime.net import Net, open_accepted
from physedge_runtime.slots import SlotName, SlotState, locked_if_writable, log, read_state, slot_path, write_state
from physedge_runtime.update.clock import note_day

_MOST_STARTS = 3
"""A slot that was begun on trial, or failed, so often in a row is given up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What runs.

    Attributes:
        bundle: The bundle of the slot.
        net: Open, golden frames replayed; the caller closes it.
        slot: Where it lies.
        fell_back: Why the slot that should have run does not; empty where it does.
        on_trial: Whether it has yet to be proven by live answers (`physedge_runtime.install.update_good`).
    """

    bundle: Bundle
    net: Net
    slot: SlotName
    fell_back: str = ""
    on_trial: bool = False


class _DamagedError(IntegrityError):
    """The slot's file is gone or another one: no later start will find it whole."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """How a slot is to be opened."""

    folder: Path
    store: TrustStore
    config: DeviceConfig
    engine: str
    precision: str | None
    threads: int | None
    only_as_exported: bool
    prepare: Prepare | None
    weakened: tuple[str, ...]

    @property
    def is_usual(self) -> bool:
        """No option asks for another engine or graph than the bundle's own choice."""
        return self.engine == "auto" and self.precision is None and not self.only_as_exported


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
        prepare: As for `physedge_runtime.install.install`.

    Raises:
        UsageError: Nothing, or more than one network is installed (`PE-INSTALL-005`), or an option cannot be used.
        IntegrityError: No slot starts, or the record does not hold (`PE-INSTALL-004`, `PE-INSTALL-008`).
        EnvironmentFault: No slot starts.
    """
    config = device_config()
    weakened = weakened_by_root(config, root)
    folder = installed_folder(root, name)
    wish = _Wish(
        folder=folder,
        store=believed(trust, root),
        config=config,
        engine=engine,
        precision=precision,
        threads=threads,
        only_as_exported=only_as_exported,
        prepare=prepare,
        weakened=weakened,
    )
    with locked_if_writable(folder) as may_write:
        if may_write:
            note_day(root)
        return _start_active(wish, read_state(folder), may_write)


def _start_active(wish: _Wish, state: SlotState, may_write: bool) -> Started:
    active, before = state.active, state
    if active is None:
        raise nothing_installed(wish.folder)
    if state.on_trial:
        if state.previous is not None and state.starts >= _MOST_STARTS:
            return _start_spare(wish, state, _never_through(state), may_write, for_good=True)
        state = state.with_starts(state.starts + 1)
        is_counted = may_write and _recorded(wish.folder, state)
        if state.previous is not None and not is_counted:
            # What cannot be counted could fail for ever: it is not tried where a proven one is there.
            return _start_spare(wish, before, _cannot_be_counted(wish.folder, state), may_write, for_good=False)
    try:
        started = _open(wish, state, active)
    except (PhysedgeError, OSError) as error:
        return _after_failure(wish, before, error, may_write)
    if not state.on_trial and state.starts and may_write:
        _recorded(wish.folder, state.with_starts(0))
    return started


def _after_failure(wish: _Wish, before: SlotState, error: PhysedgeError | OSError, may_write: bool) -> Started:
    """The active slot did not start: what is recorded of it, and whether the spare one runs."""
    if _is_refusal(error, wish):
        if before.on_trial and may_write:
            _recorded(wish.folder, before)  # the start that was counted is none
        if isinstance(error, UsageError) or not before.on_trial or before.previous is None:
            raise error
        return _start_spare(wish, before, error, may_write, for_good=False)
    failed = before.with_starts(before.starts + 1)
    if may_write:
        _recorded(wish.folder, failed)
    if before.previous is None:
        raise error
    for_good = isinstance(error, _DamagedError) or failed.starts >= _MOST_STARTS
    return _start_spare(wish, failed, error, may_write, for_good=for_good)


def _is_refusal(error: PhysedgeError | OSError, wish: _Wish) -> bool:
    """Whether it says nothing about the slot, but about keys, the day, what was asked for, or packages."""
    if isinstance(error, _DamagedError | OSError):
        return False
    if isinstance(error, UsageError | EnvironmentFault | BuildError) or error.identifier.startswith("PE-SIGN-"):
        return True
    return not wish.is_usual and error.identifier != "PE-INSTALL-007"


def _start_spare(
    wish: _Wish, state: SlotState, reason: PhysedgeError | OSError, may_write: bool, *, for_good: bool
) -> Started:
    """Run the slot that ran before, for this start or for good; where it may not or does not, the reason is raised."""
    assert state.active is not None
    assert state.previous is not None
    release, spare = state.slots[state.previous].release, state.previous
    weakened: tuple[str, ...] = ()
    if release < state.floor:
        how = f"fall-back to release {release}, below {state.floor}"
        try:
            weakened = wish.config.weaken("fall-back", how) or (how,)
        except UsageError:
            _note(wish.folder, may_write, "stays", slot=state.active, reason=str(reason))
            raise reason from None
    try:
        started = _open(replace(wish, weakened=(*wish.weakened, *weakened)), state, spare)
    except (PhysedgeError, OSError) as error:
        raise reason from error
    if may_write and for_good:
        _recorded(wish.folder, state.fallen_back())
    event = "fell back" if for_good else "fell back for this start"
    _note(wish.folder, may_write, event, failed=state.active, slot=spare, reason=str(reason))
    return replace(started, fell_back=str(reason))


def _open(wish: _Wish, state: SlotState, slot: SlotName) -> Started:
    bundle = _read_slot(wish, state, slot)
    if wish.prepare is not None:
        wish.prepare(bundle)
    release, weakened = bundle.manifest.release, wish.weakened
    if release < state.floor and slot == state.active:  # --allow-rollback was given when it was installed
        weakened = (*weakened, f"release {release}, below {state.floor}")
    net = open_accepted(
        bundle,
        engine=wish.engine,
        precision=wish.precision,
        threads=wish.threads,
        only_as_exported=wish.only_as_exported,
        weakened=weakened,
    )
    return Started(bundle=bundle, net=net, slot=slot, on_trial=state.on_trial and slot == state.active)


def _read_slot(wish: _Wish, state: SlotState, slot: SlotName) -> Bundle:
    """The bundle of a slot; first of all it has to be the file that was installed."""
    path = slot_path(wish.folder, slot)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError as error:
        raise _damaged(slot, "no file") from error
    if found != state.slots[slot].sha256:
        raise _damaged(slot, "another file")
    bundle = read_bundle(path, trust=wish.store)
    if bundle.sha256 != found:
        raise other_file(slot, "it changed while it was read")
    return bundle


def _damaged(slot: SlotName, why: str) -> _DamagedError:
    told = other_file(slot, why)
    return _DamagedError(told.identifier, found=told.found, expected=told.expected, next_step=told.next_step)


def _recorded(folder: Path, state: SlotState) -> bool:
    """Write the record; whether that was possible: a full or failing disk must not keep a good slot from starting."""
    try:
        write_state(folder, state)
    except OSError:
        return False
    return True


def _note(folder: Path, may_write: bool, event: str, **details: str | int | None) -> None:
    if may_write:
        try:
            log(folder, event, **details)
        except OSError:
            return


def _never_through(state: SlotState) -> IntegrityError:
    return IntegrityError(
        "PE-INSTALL-006",
        found=f"slot {state.active} was started {state.starts} times and never proved itself by live answers",
        expected="a proof within these",
        next_step="see install.log; the slot that ran before is taken",
    )


def _cannot_be_counted(folder: Path, state: SlotState) -> EnvironmentFault:
    return EnvironmentFault(
        "PE-INSTALL-010",
        found=f"slot {state.active} is on trial, and its start cannot be recorded in {folder}",
        expected="room on the disk, and an account that may write there, for the first starts of a release",
        next_step="make room, or start it once as the account that installs; the slot that ran before is taken",
    )
