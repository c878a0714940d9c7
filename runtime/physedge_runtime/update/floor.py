"""The release floor in its second place, `ROOT/NAME.floor`, beside the folder of the slots.

One of the two records may be lost, emptied or put back from an older copy; then they disagree, and what cannot be
explained by a cut between two writes is refused. A rise is written here first, then in `state.json`; so is a reset.
`runtime/native/src/floor.cpp` reads both by the same rules.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from physedge_runtime.errors import IntegrityError
from physedge_runtime.manifest import Sha256
from physedge_runtime.update.records import Record, read_record, write_record


class FloorRecord(Record):
    """How far back this device may go.

    Attributes:
        floor: The highest release that was proven here.
        resets: Sha256 of the signed resets that were applied: none counts twice.
        schema_version: Of this form.
        withdrawn: Releases that a reset has taken back: they were numbered wrongly, and raise the floor no more.
    """

    floor: Annotated[int, Field(ge=0, lt=2**63)] = 0
    resets: tuple[Sha256, ...] = ()
    schema_version: Literal[1] = 1
    withdrawn: tuple[Annotated[int, Field(ge=0, lt=2**63)], ...] = ()


def floor_path(folder: Path) -> Path:
    """The file of the second place.

    Args:
        folder: Of the network's slots.
    """
    return folder.parent / f"{folder.name}.floor"


def read_floor(folder: Path) -> FloorRecord | None:
    """The record of the second place; None where there is none."""
    return read_record(floor_path(folder), FloorRecord)


def write_floor(folder: Path, record: FloorRecord) -> None:
    """Write the record of the second place."""
    write_record(floor_path(folder), record)


def raised(kept: FloorRecord, release: int) -> FloorRecord:
    """The floor after a release was proven."""
    if release in kept.withdrawn or release <= kept.floor:
        return kept
    return kept.model_copy(update={"floor": release})


def agreed_floor(folder: Path, floor: int | None, on_trial: int | None, kept: FloorRecord | None) -> int:
    """The floor that both places agree on.

    Args:
        folder: Of the network's slots, for the message.
        floor: That `state.json` says; None where there is none.
        on_trial: Release of the slot on trial; None where none is.
        kept: The second place; None where there is none.

    Raises:
        IntegrityError: They disagree (`PE-INSTALL-008`).
    """
    if floor is None and (kept is None or kept.floor == 0):
        return 0
    if kept is not None and floor is not None:
        is_cut_rise = kept.floor > floor and kept.floor == on_trial
        is_cut_reset = kept.floor < floor and floor in kept.withdrawn
        if kept.floor == floor or is_cut_rise or is_cut_reset:
            return kept.floor
    second = _says(None if kept is None else kept.floor)
    raise IntegrityError(
        "PE-INSTALL-008",
        found=f"{folder / 'state.json'} {_says(floor)}, {floor_path(folder).name} {second}",
        expected="one release floor in both",
        next_step="find out what happened to them; a release that is not older than either mends it: "
        "physedge install BUNDLE --mend",
    )


def _says(floor: int | None) -> str:
    return "is not there" if floor is None else f"says release {floor}"
