"""Streams: a pure core that decides, and a thin shell with the threads."""

from __future__ import annotations

from physedge_runtime.stream.slot import Drop
from physedge_runtime.stream.streamed import DropCause, EventKind, StreamedFrame, StreamEvent, StreamInfo, Withdrawal

__all__ = ["Drop", "DropCause", "EventKind", "StreamEvent", "StreamInfo", "StreamedFrame", "Withdrawal"]
