"""The encoded pictures of a container, packet by packet, on past what cannot be read; and whether it was cut off."""

from __future__ import annotations

import io
from bisect import bisect_right
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from physedge_runtime.sources.ffmpeg import import_av

if TYPE_CHECKING:
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

_NS_PER_S = 1_000_000_000
_US_PER_S = 1_000_000
_FASTEST_HZ = 1000
_MOST_FAILURES = 100
_SLACK_S = Fraction(1, 5)
_SLACK_PERIODS = 2
_LOCAL = "file,crypto,data"
"""What a file may refer to: a play list must not reach into the network."""

_TRANSPORT_PACKETS = (188, 192, 204)


_MOST_PIXELS = 1 << 26
"""A head of a few bytes may state any size; a picture of 8192 x 8192 takes 200 MB."""

_SILENT = frozenset({"mjpeg"})
"""Decoders that hand out what they could not decode as if it were whole, unless they are told to give up."""


class NotDecodable(Exception):
    """What was handed in holds no video that can be read; the text says why, without a name."""


class PacketSource:
    """The packets of the best video stream of a container.

    Args:
        content: A path or URL, the bytes of a video, or a binary file object that is open for reading; also one of a
            connection, as the answer of `http.client`, whose own timeout then bounds the silence.
        timeout_s: Seconds to open and seconds of silence; None for as long as it takes.
        options: For FFmpeg's demuxer.
        live: Packets of other streams than the video are not waited for.

    Attributes:
        stream: The video stream.
        skipped: Packets that the file's index lists between the last packet and the one before, and that did not come.

    Raises:
        NotDecodable: It holds no video that FFmpeg reads.
        EnvironmentFault: PyAV is not installed (`PE-ENV-001`).
    """

    def __init__(
        self,
        content: Path | str | bytes | BinaryIO,
        timeout_s: tuple[float, float] | None = None,
        options: dict[str, str] | None = None,
        *,
        live: bool = False,
    ) -> None:
        av = import_av()
        where: object = io.BytesIO(content) if isinstance(content, bytes) else content
        if live and hasattr(where, "read1"):
            where = _AsItComes(cast("io.BufferedReader", where))
        self._own_file: IO[bytes] | None = None
        if isinstance(where, Path):
            where = f"file:{where}" if _is_utf8(where) else where.open("rb")  # a name with a colon is no scheme
            self._own_file = None if isinstance(where, str) else cast("IO[bytes]", where)
        allowed = {} if live else {"protocol_whitelist": _LOCAL}
        try:
            self._container = av.open(
                where, options={**allowed, **(options or {})}, timeout=timeout_s, metadata_errors="ignore"
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise NotDecodable(_reason(error)) from None
        best: Stream | None = self._container.streams.best("video")
        is_cover = best is not None and av.stream.Disposition.attached_pic in best.disposition
        if best is None or is_cover or best.codec_context is None:
            self._container.close()
            raise NotDecodable("it holds no video")
        self.stream = cast("VideoStream", best)
        self.stream.thread_type = "SLICE"  # threads by frame would hold frames back, and swallow errors at the end
        strict = {"err_detect": "explode"} if self.stream.codec_context.name in _SILENT else {}
        self.stream.codec_context.options = {"max_pixels": str(_MOST_PIXELS), **strict}
        self._demuxed: tuple[Stream, ...] = tuple(self._container.streams)  # the longest says how far a file goes
        if live:
            self._demuxed = (best,)
            for other in self._container.streams:
                if other is not best:
                    other.discard = av.stream.Discard.all  # sound that goes on must not hide that pictures do not
        self._packets = self._container.demux(self._demuxed)
        self._failures = self._count = self._passed_over = self.skipped = 0
        is_listed = self._container.format.name == "avi"  # its demuxer looks for the next chunk without a word
        self._places = sorted(entry.pos for entry in self.stream.index_entries) if is_listed else []
        self._end_s: Fraction | None = None

    @property
    def period_ns(self) -> int | None:
        """From picture to picture as the container states it, nanoseconds; None where it states nonsense."""
        rate_hz = self.stream.average_rate or self.stream.guessed_rate
        return None if not rate_hz or not 0 < rate_hz <= _FASTEST_HZ else round(_NS_PER_S / rate_hz)

    def packet(self) -> Packet[VideoStream] | None:
        """The next packet of the video; None at the end, and where reading has failed too often to go on.

        Raises:
            ConnectionError: One could not be read; the next call goes on behind it.
        """
        from av.error import FFmpegError

        while self._failures < _MOST_FAILURES:
            try:
                packet = next(self._packets, None)
            except (FFmpegError, OSError) as error:  # OSError: of a file object that was handed in
                self._failures += 1
                # A generator that has raised is finished, the file is not.
                self._packets = self._container.demux(self._demuxed)
                raise ConnectionError(_reason(error)) from None
            if packet is None:
                return None
            self._failures = 0
            self._note_end(packet)
            if packet.stream_index != self.stream.index:
                continue
            self._count_in(packet)
            if packet.size:  # an empty one is an AVI's repetition or the demuxer's mark of the end; it flushes decoders
                return cast("Packet[VideoStream]", packet)
        return None

    def _count_in(self, packet: Packet[Stream]) -> None:
        self.skipped = 0
        if packet.dts is None and not packet.size:  # the demuxer's own mark of the end
            return
        if self._places and packet.pos is not None:
            number = bisect_right(self._places, packet.pos) - 1
            if self._count == 0 and number != 0:
                self._places = []  # an index that counts from elsewhere
            else:
                self.skipped = max(0, number - self._count - self._passed_over)
                self._passed_over += self.skipped
        self._count += 1

    @property
    def truncated(self) -> str:
        """After the end: why the video seems to be incomplete; empty where it does not.

        A QuickTime or MP4 file states its pictures, an AVI file lists them, Matroska, FLV and others state their
        duration. A stream without a head cannot be told from a shorter one, but where the cut went through a packet.
        """
        container = self._container
        stated = {"mov,mp4": self.stream.frames, "avi": len(self.stream.index_entries)}
        pictures = next((count for name, count in stated.items() if container.format.name.startswith(name)), 0)
        if self._count < pictures:
            return f"it states {pictures} pictures and holds {self._count}"
        if self._end_s is not None and container.duration is not None:
            stated_s = Fraction(container.duration, _US_PER_S)
            end_s = self._end_s - Fraction(container.start_time or 0, _US_PER_S)
            slack_s = max(_SLACK_S, _SLACK_PERIODS * Fraction(self.period_ns or 0, _NS_PER_S))
            if end_s < stated_s - slack_s:
                return f"it ends after {float(end_s):.2f} of the {float(stated_s):.2f} s that it states"
        is_transport = container.format.name == "mpegts" and container.size > 0
        if is_transport and all(container.size % packet for packet in _TRANSPORT_PACKETS):
            return "it ends in the middle of a transport packet"
        return ""

    def close(self) -> None:
        """Give the file or connection back."""
        self._container.close()
        if self._own_file is not None:
            self._own_file.close()

    def _note_end(self, packet: Packet[Stream]) -> None:
        if packet.pts is not None and packet.time_base:
            end_s = (packet.pts + (packet.duration or 0)) * packet.time_base
            self._end_s = end_s if self._end_s is None else max(end_s, self._end_s)


def _is_utf8(path: Path) -> bool:
    """Whether FFmpeg can be told the name."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


class _AsItComes:
    """A buffered connection that gives what is there, instead of waiting until as much is there as was asked for."""

    def __init__(self, buffered: io.BufferedReader) -> None:
        self._buffered = buffered

    def read(self, size: int) -> bytes:
        return self._buffered.read1(size)


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or type(error).__name__).splitlines()[0]
