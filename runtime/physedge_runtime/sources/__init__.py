"""Where frames come from. A new source is one file and one line in `table`."""

from __future__ import annotations

from physedge_runtime.sources.base import SignalLost, Source, SourceEnded, SourceInfo
from physedge_runtime.sources.pushed import IteratorSource, PushSource
from physedge_runtime.sources.table import SOURCES, open_source

__all__ = [
    "SOURCES",
    "IteratorSource",
    "PushSource",
    "SignalLost",
    "Source",
    "SourceEnded",
    "SourceInfo",
    "open_source",
]
