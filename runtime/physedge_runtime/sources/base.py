"""The contract of a source: opened, asked for one frame at a time, closed; a lost one may be opened again.

A source has no thread and holds no queue: the stream's grabber owns it and calls it from one thread. Every wait inside
is bounded by `READ_WAIT_S`, so that a stream that is told to stop does stop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from physedge_runtime.errors import SourceError
from physedge_runtime.frame import Frame, VoltageSpec
from physedge_runtime.sources.deinterlace import Deinterlace

READ_WAIT_S = 0.2

DAMAGE_KINDS = {
    "packets": ("packet", "unreadable"),
    "pictures": ("picture", "damaged"),
    "doubtful": ("picture", "doubtful after damage"),
}
"""Of `SourceInfo.damage`: what is counted, and what is wrong with it."""


class SourceEnded(Exception):
    """The source came to its orderly end: the last frame of a file, the end of an iterator. No error."""


class SignalLost(SourceError):
    """A live source went away and may come back; whoever reads it closes it and opens it again after a while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """What a source says about itself.

    Attributes:
        name: As a log may show it: no password, no patient's name.
        live: Whether time runs on without us. A live source's frames age; a file's wait.
        period_ns: Time from frame to frame where the source knows it, nanoseconds.
        frames: Number of frames to come where it is known beforehand.
        damage: Counts of what was found damaged so far: `packets` that could not be read or decoded, `pictures` that
            are damaged themselves, `doubtful` ones that were predicted from such; only kinds that occurred.
        notes: Sentences about what the source does to its pictures, in the order in which it was found out.
    """

    name: str
    live: bool
    period_ns: int | None = None
    frames: int | None = None
    damage: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """Where frames come from."""

    @property
    def info(self) -> SourceInfo:
        """What the source says about itself; the period is known at the latest once it is open."""
        ...

    def open(self) -> None:
        """Make it ready to be read; allowed again after `close`, and of no effect while it is open.

        Raises:
            SourceError: It is not there; `SignalLost` where trying again may help.
        """
        ...

    def read(self) -> Frame | None:
        """The next frame, stamped at capture; None where none came within `READ_WAIT_S`.

        Raises:
            SourceEnded: The source came to its orderly end.
            SourceError: It cannot be read any more; `SignalLost` where opening it again may help.
        """
        ...

    def close(self) -> None:
        """Give the device or file back; further calls do nothing."""
        ...


@runtime_checkable
class Deinterlacing(Protocol):
    """A source that may meet interlaced pictures."""

    def deinterlace_by(self, how: Deinterlace) -> None:
        """Say what is done with them, before it is opened."""
        ...


@runtime_checkable
class WithRegions(Protocol):
    """A source whose pictures may hold several regions."""

    def choose_region(self, region: str) -> None:
        """Say before it is opened what is looked at: `all` regions apart, the `first`, a number, or the `whole`.

        Raises:
            UsageError: It is written otherwise.
        """
        ...


@runtime_checkable
class Measuring(Protocol):
    """A source of measurements, which must know in what form the network takes them in."""

    def declare(self, spec: VoltageSpec | None) -> None:
        """Say what the network takes in, before the first frame; None: nobody knows.

        Raises:
            PhysedgeError: The source has nothing of this form.
        """
        ...


def damage_words(damage: Mapping[str, int]) -> str:
    """The counts of `SourceInfo.damage` in words.

    Example:
        >>> damage_words({"packets": 1, "doubtful": 3})
        '1 packet unreadable, 3 pictures doubtful after damage'
    """
    counts = [(damage.get(kind, 0), *words) for kind, words in DAMAGE_KINDS.items()]
    return ", ".join(f"{count} {noun}{'s' if count > 1 else ''} {what}" for count, noun, what in counts if count)
