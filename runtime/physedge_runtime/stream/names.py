"""Names of streams: no two of one host are the same, so that nobody reads one patient's line as another's.

A name that people gave is kept or refused; one that was made from the source gets a number where it is taken. Which
names are taken on this host is told by locks, which the system gives back when a process ends, however it ends.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from physedge_runtime.errors import UsageError
from physedge_runtime.file_guard import lock_alone
from physedge_runtime.text import one_line

_LONGEST = 64
_MOST = 1000
# No separator of MQTT's topics or of paths, no mark-up, nothing that is not seen.
_NAME = re.compile(r"[\w][\w .()\-]*")


class StreamNames(AbstractContextManager["StreamNames"]):
    """The names of a run's streams, held until it ends.

    Args:
        given: As people wrote them, one a source; none: they are made from the sources.
        sources: What the sources are called in a log.

    Raises:
        UsageError: Not as many names as sources (`PE-NAME-001`), something that is no name (`PE-NAME-002`), or one that
            another stream of this run or host has (`PE-NAME-003`).
    """

    def __init__(self, given: Sequence[str], sources: Sequence[str]) -> None:
        self.are_given = bool(given)
        self._handles: list[int] = []
        _check(given, sources)
        names: list[str] = []
        try:
            for wanted in given or sources:
                names.append(self._claim(_cleaned(wanted), names))
        except BaseException:
            self.close()
            raise
        self.names = tuple(names)

    def close(self) -> None:
        """Give the names back; further calls do nothing."""
        while self._handles:
            os.close(self._handles.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _claim(self, wanted: str, taken: Sequence[str]) -> str:
        mine = {name.casefold() for name in taken}
        for name in _candidates(wanted):
            if name.casefold() not in mine and self._lock(name):
                return name
            if self.are_given:
                break
        raise UsageError(
            "PE-NAME-003",
            found=f"the stream name '{wanted}' of another stream of this host",
            expected="names that tell streams apart",
            next_step="choose another --name",
        )

    def _lock(self, name: str) -> bool:
        folder = _folder()
        if folder is None:
            return True
        path = folder / hashlib.sha256(name.casefold().encode()).hexdigest()[:32]
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return True
        if lock_alone(handle):
            self._handles.append(handle)
            return True
        os.close(handle)
        return False


def topic_part(name: str) -> str:
    """The name as one level of an MQTT topic: what stands for a level or for any level there becomes a dash."""
    return re.sub(r"[/+#?]", "-", name)


def _check(given: Sequence[str], sources: Sequence[str]) -> None:
    if given and len(given) != len(sources):
        raise UsageError(
            "PE-NAME-001",
            found=f"{len(given)} names for {len(sources)} sources",
            expected="a --name for each source, in their order, or none",
            next_step="repeat --name as often as --source",
        )
    for name in given:
        if not _NAME.fullmatch(name) or len(name) > _LONGEST:
            raise UsageError(
                "PE-NAME-002",
                found=f"a stream called '{one_line(name)[:80]}'",
                expected="1 to 64 letters, digits, spaces and . _ - ( ), a letter or digit first",
                next_step="correct --name",
            )


def _cleaned(name: str) -> str:
    return one_line(name)[:_LONGEST].strip() or "stream"


def _candidates(wanted: str) -> Iterator[str]:
    yield wanted
    for number in range(2, _MOST):
        yield f"{wanted} ({number})"


def _folder() -> Path | None:
    """Where the locks of this user lie; None where there is no such place."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(base) / f"physedge-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        is_ours = not folder.is_symlink() and folder.stat().st_uid == os.getuid()
    except OSError:
        return None
    return folder if is_ours else None
