"""Small records on a device: one line of canonical JSON, written atomically, read with distrust."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from physedge_runtime.bundle import write_atomically
from physedge_runtime.errors import IntegrityError
from physedge_runtime.guarded_files import TooLargeError, read_guarded
from physedge_runtime.manifest import canonical_json

_LARGEST_BYTES = 64 * 1024


class Record(BaseModel):
    """A record that knows all its members."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Kind = TypeVar("Kind", bound=Record)


def read_record(path: Path, kind: type[Kind]) -> Kind | None:
    """The record of a file; None where nothing has this name.

    Raises:
        IntegrityError: Others may change it (`PE-SIGN-004`), or it is there and does not say what it must
            (`PE-INSTALL-004`): a device that forgot how far back it may go must not go on as if it were new.
    """
    try:
        if path.is_symlink():
            raise ValueError("a link")
        data = read_guarded(path, _LARGEST_BYTES)
        record = kind.model_validate_json(data)
        if canonical_json(record.model_dump(mode="json")) != data:
            raise ValueError("not in canonical form")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, TooLargeError, ValidationError, ValueError) as error:
        why = str(error).splitlines()[0] if str(error) else "too long"
        raise IntegrityError(
            "PE-INSTALL-004",
            found=f"the record {path} cannot be used ({why})",
            expected="the record that physedge install wrote",
            next_step="find out what happened to it; docs/security.md says how it is begun anew, as by install --mend",
        ) from error
    return record


def write_record(path: Path, record: Record) -> None:
    """Write a record; a reader sees the old one or the new one, also after a power cut."""
    write_atomically(path, canonical_json(record.model_dump(mode="json")))
