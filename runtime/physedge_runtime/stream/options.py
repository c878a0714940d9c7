"""What a stream is asked for, and the choices that follow from the source."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from numpy.typing import NDArray

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.output_file import OutputFile
from physedge_runtime.sources.base import Deinterlacing, Source
from physedge_runtime.sources.deinterlace import Deinterlace, parse_deinterlace
from physedge_runtime.sources.paced import PacedSource
from physedge_runtime.sources.pushed import IteratorSource
from physedge_runtime.sources.table import open_source
from physedge_runtime.stream.clock import NS_PER_MS
from physedge_runtime.stream.health import HealthLimits
from physedge_runtime.stream.safety import LIVE_MAX_AGE_MS, SafetyLimits
from physedge_runtime.stream.slot import Drop

SourceLike = str | Path | Source | Iterable[Frame | NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOptions:
    """How to stream.

    Attributes:
        drop: Which frames are kept while the engine is busy; None for `latest` of a live source, `never` of a file.
        deadline_ms: From capture to answer; ten misses in a row end in the safe state. None for no deadline.
        max_age_ms: An answer older than this is withdrawn; None for 300 ms of a live source and no bound of a file,
            `math.inf` for no bound.
        frames: End after this many pictures.
        duration_s: End after this time.
        reconnect_s: A lost live source is tried again for this long before the stream ends.
        hang_ms: An engine that works on one frame for longer has hung.
        record: Everything the stream is told and decides goes into this file, for `replay`.
        inputs: Files and folders that are read, besides the bundle.
        name: Of the stream; the source's where none was given.
        keep_passing: After the safe state is entered, go on passing pictures without answers until closed.
        deinterlace: What is done with interlaced pictures of files and network cameras: `auto` or `off`.
    """

    drop: Drop | str | None = None
    deadline_ms: float | None = None
    max_age_ms: float | None = None
    frames: int | None = None
    duration_s: float | None = None
    reconnect_s: float = 30.0
    hang_ms: float = 5000.0
    record: OutputFile | None = None
    inputs: tuple[Path, ...] = ()
    name: str = ""
    keep_passing: bool = False
    deinterlace: Deinterlace | str = Deinterlace.AUTO

    def __post_init__(self) -> None:
        if self.drop is not None and self.drop not in tuple(Drop):
            raise UsageError(
                "PE-STREAM-002",
                found=f"the drop policy '{self.drop}'",
                expected="latest, oldest or never",
                next_step="correct --drop",
            )
        parse_deinterlace(self.deinterlace)
        bounds = {
            "deadline_ms": self.deadline_ms,
            "max_age_ms": self.max_age_ms,
            "frames": self.frames,
            "duration_s": self.duration_s,
            "hang_ms": self.hang_ms,
        }
        for name, value in bounds.items():
            if value is not None and not value > 0:  # written so that NaN fails
                raise UsageError(
                    "PE-STREAM-003",
                    found=f"{name} of {value}",
                    expected="a number above 0",
                    next_step=f"correct --{name.replace('_', '-')}",
                )

    def policy(self, *, live: bool) -> Drop:
        """Which frames are kept."""
        if self.drop is not None:
            return Drop(self.drop)
        return Drop.LATEST if live else Drop.NEVER

    def oldest_ms(self, *, live: bool) -> float | None:
        """The largest age of an answer on show; None for any."""
        if self.max_age_ms is None:
            return LIVE_MAX_AGE_MS if live else None
        return None if math.isinf(self.max_age_ms) else self.max_age_ms

    def safety(self, *, live: bool) -> SafetyLimits:
        """The bounds of what may be shown."""
        return SafetyLimits(
            max_age_ns=_ns(self.oldest_ms(live=live)),
            deadline_ns=_ns(self.deadline_ms),
            hang_ns=round(self.hang_ms * NS_PER_MS),
        )

    def health(self, *, live: bool) -> HealthLimits:
        """When a picture counts as what."""
        return HealthLimits() if live else HealthLimits.for_file()

    def sentence(self, *, live: bool) -> str:
        """What was chosen, in words."""
        kind = "live source" if live else "file"
        oldest_ms = self.oldest_ms(live=live)
        age = f"answers older than {oldest_ms:g} ms are withdrawn" if oldest_ms else "answers may have any age"
        deadline = f", answers later than {self.deadline_ms:g} ms count as missed" if self.deadline_ms else ""
        return f"{kind}: {self.policy(live=live).sentence}; {age}{deadline}"


def as_source(source: SourceLike, options: StreamOptions) -> Source:
    """The source that was named or handed in; a file under `drop="latest"` is played at its own speed."""
    if isinstance(source, str | Path):
        made = open_source(str(source))
    elif callable(getattr(source, "read", None)):
        made = cast("Source", source)
    else:
        made = IteratorSource(cast("Iterable[Frame | NDArray[Any]]", source))
    if isinstance(made, Deinterlacing):
        made.deinterlace_by(Deinterlace(options.deinterlace))
    if not made.info.live and options.drop is not None and Drop(options.drop) is not Drop.NEVER:
        return PacedSource(made)
    return made


def _ns(time_ms: float | None) -> int | None:
    return None if time_ms is None else round(time_ms * NS_PER_MS)
