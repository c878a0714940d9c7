"""Two slots for one network on a device, and the record of which of them runs.

    ROOT/NAME/a.physedge   ROOT/NAME/b.physedge      the slots
    ROOT/NAME/state.json                             the record, one small file, written atomically
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
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from physedge_runtime.bundle import write_atomically
from physedge_runtime.errors import IntegrityError, UsageError
from physedge_runtime.guarded_files import refuse_changeable
from physedge_runtime.manifest import Sha256, canonical_json

SlotName = Literal["a", "b"]
SLOTS: tuple[SlotName, SlotName] = ("a", "b")

_STATE = "state.json"
_LOG = "install.log"
_LARGEST_LOG_BYTES = 1024**2


class Slot(BaseModel):
    """What a slot holds: the hash of the file, and its release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: Sha256
    release: Annotated[int, Field(ge=0)]


class SlotState(BaseModel):
    """Which slot runs, and how far back this device may go.

    Attributes:
        schema_version: Of this form.
        active: The slot that runs; None before the first installation.
        previous: The slot that runs where the active one fails; None where there is none.
        on_trial: The active slot has not yet started once.
        starts: Starts of the active slot that were begun while it is on trial.
        floor: The highest release that has started here; it never falls.
        slots: What the slots hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    active: SlotName | None = None
    previous: SlotName | None = None
    on_trial: bool = False
    starts: Annotated[int, Field(ge=0)] = 0
    floor: Annotated[int, Field(ge=0)] = 0
    slots: dict[SlotName, Slot] = Field(default_factory=dict)

    @property
    def lowest_release(self) -> int:
        """What may still be installed: nothing older than what has started, or was chosen to."""
        chosen = self.slots.get(self.active) if self.active is not None else None
        return max(self.floor, chosen.release if chosen is not None else 0)

    def with_installed(self, name: SlotName, slot: Slot) -> SlotState:
        """The active slot is another one now, on trial."""
        return SlotState(
            active=name,
            previous=self.active if self.active != name else self.previous,
            on_trial=True,
            floor=self.floor,
            slots={**self.slots, name: slot},
        )

    def with_start_begun(self) -> SlotState:
        """One more start on trial."""
        return self.model_copy(update={"starts": self.starts + 1})

    def with_start_done(self, release: int) -> SlotState:
        """The active slot has started: there is no way back behind its release."""
        return self.model_copy(update={"on_trial": False, "starts": 0, "floor": max(self.floor, release)})

    def fallen_back(self) -> SlotState:
        """The previous slot is the active one again; the failed one is empty."""
        assert self.previous is not None
        return SlotState(
            active=self.previous,
            floor=self.floor,
            slots={name: slot for name, slot in self.slots.items() if name == self.previous},
        )


def slot_path(folder: Path, name: SlotName) -> Path:
    """The file of a slot."""
    return folder / f"{name}.physedge"


def read_state(folder: Path) -> SlotState:
    """The record of a folder; an empty one where nothing was installed yet.

    Raises:
        IntegrityError: Others may change it (`PE-SIGN-004`), or it does not say what it must (`PE-INSTALL-004`): a
            device that forgot how far back it may go must not go on as if it were new.
    """
    path = folder / _STATE
    if not path.exists():
        return SlotState()
    refuse_changeable(path)
    try:
        data = path.read_bytes()
        state = SlotState.model_validate_json(data)
        if canonical_json(state.model_dump(mode="json")) != data:
            raise ValueError("not in canonical form")
    except (OSError, ValidationError, ValueError) as error:
        raise IntegrityError(
            "PE-INSTALL-004",
            found=f"the record {path} cannot be used ({str(error).splitlines()[0]})",
            expected="the record that physedge install wrote",
            next_step="find out what happened to it; to begin anew, remove the folder and install again",
        ) from error
    return state


def write_state(folder: Path, state: SlotState) -> None:
    """Write the record; a reader sees the old one or the new one, also after a power cut."""
    write_atomically(folder / _STATE, canonical_json(state.model_dump(mode="json")))


def remove_leftovers(folder: Path) -> None:
    """Remove what an interrupted write left behind."""
    for path in folder.glob(".*.physedge.*"):
        path.unlink(missing_ok=True)
    for path in folder.glob(f".{_STATE}.*"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep every other process from installing or starting here meanwhile; the lock dies with its process.

    Raises:
        UsageError: The folder cannot be made or written to, or another process is at it (`PE-INSTALL-002`).
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise _not_free(folder, error.strerror or str(error)) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _not_free(folder, "another process is at work there") from error
        yield
    finally:
        os.close(handle)


def log(folder: Path, event: str, **details: str | int | None) -> None:
    """Append one line to the log, all the way to the disk; a full log is renamed to `install.log.1`."""
    path = folder / _LOG
    if path.exists() and path.stat().st_size > _LARGEST_LOG_BYTES:
        path.replace(path.with_name(f"{_LOG}.1"))
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
