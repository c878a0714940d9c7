"""Interlaced frames to whole pictures by libavfilter's bwdif, one picture for each frame, its own lines kept.

A frame of an interlaced video holds two moments: odd lines of one, even lines of the other. `bwdif` keeps the lines of
the earlier moment and computes the others from them and from the frames before and after. So a picture comes out when
the next frame goes in: one frame later than without it.
"""

from __future__ import annotations

import enum
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from physedge_runtime.errors import UsageError

if TYPE_CHECKING:
    from av.filter.graph import Graph
    from av.video.frame import VideoFrame

_FILTER = "bwdif"
_OPTIONS = "mode=send_frame:parity=auto:deint=interlaced"
_NUMBERS = Fraction(1, 1000)


class Deinterlace(enum.StrEnum):
    """What is done with interlaced frames."""

    OFF = "off"  # they are handed out as they are, with combs where something moves
    AUTO = "auto"  # frames that the stream calls interlaced are deinterlaced


def parse_deinterlace(text: str) -> Deinterlace:
    """What is written behind `--deinterlace`.

    Raises:
        UsageError: It is neither `auto` nor `off` (`PE-STREAM-007`).
    """
    if text not in tuple(Deinterlace):
        raise UsageError(
            "PE-STREAM-007",
            found=f"the deinterlacing '{text}'",
            expected="auto or off",
            next_step="correct --deinterlace",
        )
    return Deinterlace(text)


class Deinterlacer:
    """A filter that holds one frame back. Frames that are not marked as interlaced pass it unchanged.

    Each frame goes in with a companion, whatever the caller wants to know again of it, and comes out with it.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._format: tuple[object, ...] = ()
        self._companions: dict[int, Any] = {}
        self._next = 0

    @property
    def is_used(self) -> bool:
        """Whether frames go through it: from the first interlaced one on."""
        return self._graph is not None

    @property
    def waiting(self) -> list[Any]:
        """Companions of the frames that are held back, in order; whoever changes one in place is heard."""
        return list(self._companions.values())

    def put(self, frame: VideoFrame, companion: Any) -> list[tuple[VideoFrame, Any]]:
        """Take a frame in; what comes out for it, in order."""
        form = (frame.format.name, frame.width, frame.height, int(frame.colorspace), int(frame.color_range))
        out = self.flush() if form != self._format else []
        if self._graph is None:
            self._graph, self._format = _graph(frame), form
        frame.pts, frame.time_base = self._next, _NUMBERS
        self._companions[self._next] = companion
        self._next += 1
        self._graph.vpush(frame)
        return out + self._pull()

    def flush(self) -> list[tuple[VideoFrame, Any]]:
        """What is still held back; afterwards it is as new."""
        if self._graph is None:
            return []
        self._graph.vpush(None)
        out = self._pull()
        self._graph, self._format = None, ()
        self._companions.clear()
        return out

    def _pull(self) -> list[tuple[VideoFrame, Any]]:
        from av.error import BlockingIOError as NothingYet
        from av.error import EOFError as Finished

        assert self._graph is not None
        out: list[tuple[VideoFrame, Any]] = []
        while True:
            try:
                frame = self._graph.vpull()
            except (NothingYet, Finished):
                return out
            assert frame.pts is not None
            assert frame.time_base is not None
            number = round(frame.pts * frame.time_base / _NUMBERS)
            out.append((frame, self._companions.pop(number)))


def _graph(frame: VideoFrame) -> Graph:
    from av.filter import Graph as NewGraph

    graph = NewGraph()
    graph.threads = 1
    start = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=_NUMBERS)
    graph.link_nodes(start, graph.add(_FILTER, _OPTIONS), graph.add("buffersink")).configure()
    return graph
