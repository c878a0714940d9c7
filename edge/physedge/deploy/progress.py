"""How a station tells what it does and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Advance = Callable[[], object]
Progress = Callable[[str, int | None], AbstractContextManager[Advance]]
"""Called with a description and a number of steps; its context gives a function to call after each."""


def no_progress(_description: str, _total: int | None) -> AbstractContextManager[Advance]:
    """Show nothing."""
    return nullcontext(lambda: None)
