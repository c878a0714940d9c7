"""Two slots for one network on a device, and the record of which of them runs.

    ROOT/NAME/a.physedge   ROOT/NAME/b.physedge      the slots
    ROOT/NAME/state.json                             the record, one small file, written atomically
    ROOT/NAME.floor                                  the release floor once more (`physedge_runtime.update.floor`)
    ROOT/NAME/install.log                            one line of JSON for everything that was done

Whatever happens, the record names a slot that was written completely before the record was. A slot that the record
does not name, or whose file has another hash than the record says, is empty.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from physedge_runtime.errors import UsageError
from physedge_runtime.manifest import Sha256
from physedge_runtime.update.floor import FloorRecord, agreed_floor, raised, read_floor, write_floor
from physedge_runtime.update.records import Record, read_record, write_record

SlotName = Literal["a", "b"]
SLOTS: tuple[SlotName, SlotName] = ("a", "b")

STATE = "state.json"
LOG = "install.log"
_LARGEST_LOG_BYTES = 1024**2


class Slot(Record):
    """What a slot holds: the hash of the file, and its release."""

    sha256: Sha256
    release: Annotated[int, Field(ge=0)]


class SlotState(Record):
    """Which slot runs, and how far back this device may go.

    Attributes:
        schema_version: Of this form.
        active: The slot that runs; None before the first installation.
        previous: The slot that runs where the active one fails; None where there is none.
        on_trial: The active slot has not yet been proven by live answers.
        starts: Of the active slot: while it is on trial, starts that were begun and have not proven it; after that,
            failures in a row.
        floor: The highest release that was proven here; it never falls, but by a signed reset.
        slots: What the slots hold.
    """

    schema_version: Literal[1] = 1
    active: SlotName | None = None
    previous: SlotName | None = None
    on_trial: bool = False
    starts: Annotated[int, Field(ge=0)] = 0
    floor: Annotated[int, Field(ge=0, lt=2**63)] = 0
    slots: dict[SlotName, Slot] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_what_it_holds(self) -> Self:
        if (self.active is None and (self.slots or self.previous or self.on_trial)) or (
            self.active is not None and self.active == self.previous
        ):
            raise ValueError("no slot is active, or twice the same")
        if not {name for name in (self.active, self.previous) if name is not None} <= set(self.slots):
            raise ValueError("a slot that is named holds nothing")
        return self

    @property
    def trial_release(self) -> int | None:
        """Release of the slot on trial; None where none is."""
        return self.slots[self.active].release if self.on_trial and self.active is not None else None

    @property
    def lowest_release(self) -> int:
        """What may still be installed: nothing older than what was proven, or is on trial."""
        return max(self.floor, self.trial_release or 0)

    def with_installed(self, name: SlotName, slot: Slot) -> SlotState:
        """The active slot is another one now, on trial."""
        return SlotState(
            active=name,
            previous=self.active if self.active != name else self.previous,
            on_trial=True,
            floor=self.floor,
            slots={**self.slots, name: slot},
        )

    def with_starts(self, starts: int) -> SlotState:
        """Another number of starts or failures."""
        return self.model_copy(update={"starts": starts})

    def proven(self, floor: int) -> SlotState:
        """The active slot has answered: there is no way back behind the floor."""
        return self.model_copy(update={"on_trial": False, "starts": 0, "floor": floor})

    def fallen_back(self) -> SlotState:
        """The previous slot is the active one again, proven or not as before; the failed one is empty."""
        assert self.previous is not None
        kept = self.slots[self.previous]
        return SlotState(
            active=self.previous,
            on_trial=kept.release > self.floor,
            floor=self.floor,
            slots={self.previous: kept},
        )


def slot_path(folder: Path, name: SlotName) -> Path:
    """The file of a slot."""
    return folder / f"{name}.physedge"


def read_state(folder: Path) -> SlotState:
    """The record of a folder; an empty one where nothing was installed yet.

    Raises:
        IntegrityError: Others may change it (`PE-SIGN-004`), it does not say what it must (`PE-INSTALL-004`), or the
            second place of the release floor disagrees (`PE-INSTALL-008`).
    """
    state, kept = read_record(folder / STATE, SlotState), read_floor(folder)
    if state is None:
        agreed_floor(folder, None, None, kept)
        return SlotState()
    return state.model_copy(update={"floor": agreed_floor(folder, state.floor, state.trial_release, kept)})


def write_state(folder: Path, state: SlotState, kept: FloorRecord | None = None) -> None:
    """Write the record; a reader sees the old one or the new one, also after a power cut.

    Args:
        folder: Of the slots.
        state: What is to be recorded.
        kept: The second place of the floor where that changes, too; it is written first.
    """
    if kept is not None or not floor_is_kept(folder):
        write_floor(folder, kept or FloorRecord(floor=state.floor))
    write_record(folder / STATE, state)


def floor_is_kept(folder: Path) -> bool:
    """Whether the second place is there."""
    return read_floor(folder) is not None


def raise_floor(folder: Path, state: SlotState) -> SlotState:
    """Record that the active slot is proven."""
    release = state.trial_release
    assert release is not None
    kept = raised(read_floor(folder) or FloorRecord(), release)
    proven = state.proven(kept.floor)
    write_state(folder, proven, kept)
    return proven


def remove_leftovers(folder: Path) -> None:
    """Remove what an interrupted write left behind."""
    for path in folder.glob(".*.physedge.*"):
        path.unlink(missing_ok=True)
    for path in (
        *folder.glob(f".{STATE}.*"),
        *folder.parent.glob(f".{folder.name}.floor.*"),
        *folder.parent.glob(".clock.json.*"),
    ):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process from installing or starting here meanwhile; the lock dies with its process.

    Raises:
        UsageError: The folder cannot be made or written to, or another process is at it (`PE-INSTALL-002`).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _held(folder):
            yield
    except OSError as error:
        raise _not_free(folder, error.strerror or str(error)) from error


@contextlib.contextmanager
def locked_if_writable(folder: Path) -> Iterator[bool]:
    """The same for a start: where nothing can be written, no lock is needed either. Yields whether it was taken.

    Raises:
        UsageError: Another process is at it (`PE-INSTALL-002`).
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_held(folder))
            is_mine = True
        except OSError:
            is_mine = False
        yield is_mine


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _not_free(folder, "another process is at work there") from error
        yield
    finally:
        os.close(handle)


def log(folder: Path, event: str, **details: str | int | None) -> None:
    """Append one line to the log, all the way to the disk; a full log is renamed to `install.log.1`."""
    path = folder / LOG
    if path.exists() and path.stat().st_size > _LARGEST_LOG_BYTES:
        path.replace(path.with_name(f"{LOG}.1"))
    utc = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    line = json.dumps({"utc": utc, "event": event, **details}, ensure_ascii=False) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    with os.fdopen(handle, "wb") as stream:
        stream.write(line.encode("utf-8"))
        stream.flush()
        os.fsync(stream.fileno())


def _not_free(folder: Path, why: str) -> UsageError:
    return UsageError(
        "PE-INSTALL-002",
        found=f"{folder} cannot be worked on ({why})",
        expected="a folder that may be written to, and nobody else at it",
        next_step="name another one with --root, or wait",
    )
