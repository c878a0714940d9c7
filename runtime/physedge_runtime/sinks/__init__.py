"""Where results go. A new sink is one file and one line in `table`."""

from __future__ import annotations

from physedge_runtime.sinks.base import CollectingSink, Sink

__all__ = ["CollectingSink", "Sink"]
