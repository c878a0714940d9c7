"""The newest day that this device has seen, `ROOT/clock.json`: a clock that goes back revives no expired key."""

from __future__ import annotations

import contextlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from physedge_runtime.update.records import Record, read_record, write_record


class ClockRecord(Record):
    """The newest day.

    Attributes:
        newest_day: UTC.
        schema_version: Of this form.
    """

    newest_day: date
    schema_version: Literal[1] = 1


def clock_path(root: Path) -> Path:
    """The file of the record."""
    return root / "clock.json"


def machine_day() -> date:
    """The day of the machine's clock, UTC."""
    return datetime.now(UTC).date()


def judging_day(root: Path) -> date:
    """The day by which expiry is judged: that of the clock, or the newest one that was seen, whichever is later.

    Raises:
        IntegrityError: The record is there and cannot be used (`PE-INSTALL-004`, `PE-SIGN-004`).
    """
    record = read_record(clock_path(root), ClockRecord)
    return machine_day() if record is None else max(record.newest_day, machine_day())


def note_day(root: Path) -> None:
    """Keep the day where it is newer than the one kept; a device that cannot write goes by its clock alone."""
    record, today = read_record(clock_path(root), ClockRecord), machine_day()
    if record is None or record.newest_day < today:
        with contextlib.suppress(OSError):
            write_record(clock_path(root), ClockRecord(newest_day=today))
