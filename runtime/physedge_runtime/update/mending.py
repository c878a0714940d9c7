"""Beginning a lost record anew without forgetting the release floor."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from physedge_runtime.errors import IntegrityError
from physedge_runtime.slots import LOG, STATE, SlotState
from physedge_runtime.update.floor import FloorRecord, read_floor
from physedge_runtime.update.records import read_record


def mended_floor(folder: Path) -> FloorRecord:
    """The second place as it should be: the highest floor that the record, the second place or the log still tells."""
    kept, floor = FloorRecord(), _logged_floor(folder)
    with contextlib.suppress(IntegrityError):
        kept = read_floor(folder) or kept
    with contextlib.suppress(IntegrityError):
        state = read_record(folder / STATE, SlotState)
        if state is not None and state.floor not in kept.withdrawn:
            floor = max(floor, state.floor)
    return kept.model_copy(update={"floor": max(kept.floor, floor)})


def _logged_floor(folder: Path) -> int:
    """The floor of the last line of the log that tells one."""
    for path in (folder / LOG, folder / f"{LOG}.1"):
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in reversed(lines):
            with contextlib.suppress(ValueError, AttributeError):
                floor = json.loads(line).get("floor")
                if type(floor) is int and floor >= 0:
                    return floor
    return 0
