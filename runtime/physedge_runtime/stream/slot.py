"""Which frame next: the newest, the oldest, or each one."""

from __future__ import annotations

import enum
from collections import Counter, deque
from typing import Generic, TypeVar

from physedge_runtime.stream.streamed import DropCause

Item = TypeVar("Item")

QUEUE_CAPACITY = 8
READ_AHEAD = 2


class Drop(enum.StrEnum):
    """What happens to frames that come while the engine is busy; each name says which frames are kept."""

    LATEST = "latest"
    OLDEST = "oldest"
    NEVER = "never"

    @property
    def sentence(self) -> str:
        """The choice in words, as it is printed at the start of a stream."""
        return _SENTENCES[self]


_SENTENCES = {
    Drop.LATEST: "the newest frame is answered, older ones that wait are dropped and counted",
    Drop.OLDEST: f"frames are answered in order; when {QUEUE_CAPACITY} wait, new ones are dropped and counted",
    Drop.NEVER: "every frame is answered in order, the source waits",
}


class FrameSlot(Generic[Item]):
    """Where frames wait for the engine: one place for the newest, or a bounded queue.

    Attributes:
        drops: Frames left out, by cause.
    """

    def __init__(self, policy: Drop) -> None:
        self.policy = policy
        self.drops: Counter[DropCause] = Counter()
        self._waiting: deque[Item] = deque()
        self._capacity = {Drop.LATEST: 1, Drop.OLDEST: QUEUE_CAPACITY, Drop.NEVER: READ_AHEAD}[policy]

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_room(self) -> bool:
        """Whether a frame can be put in without one being dropped; under `NEVER` the grabber waits for it."""
        return len(self._waiting) < self._capacity

    def put(self, item: Item) -> None:
        """Take a frame in; another, or this one, is dropped where there is no room.

        Raises:
            ValueError: No room under `NEVER`: the caller did not wait.
        """
        if not self.has_room:
            if self.policy is Drop.NEVER:
                raise ValueError("no room for a frame that may not be dropped")
            if self.policy is Drop.OLDEST:
                self.drops[DropCause.QUEUE_FULL] += 1
                return
            self._waiting.clear()
            self.drops[DropCause.SUPERSEDED] += 1
        self._waiting.append(item)

    def take(self) -> Item | None:
        """The next frame for the engine; None where none waits."""
        return self._waiting.popleft() if self._waiting else None

    def clear(self) -> None:
        """Drop what waits: a newer picture has gone out without an answer."""
        self.drops[DropCause.SUPERSEDED] += len(self._waiting)
        self._waiting.clear()
