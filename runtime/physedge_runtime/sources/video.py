"""The pictures of a video by FFmpeg's libraries (PyAV): files, bytes in memory, and live streams.

For whoever has a whole video, as the encapsulated H.264, HEVC or MPEG-2 of a DICOM file:

    from physedge_runtime.sources.video import decoded_pictures

    for picture in decoded_pictures(encoded):      # bytes or a path; container or bare elementary stream
        picture.pixels, picture.time_ns            # uint8 (height, width, 3) RGB; nanoseconds or None

A packet that cannot be decoded is counted and passed over. What the decoder concealed is marked, and so is every
picture up to the next key frame: it is predicted from what was damaged.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import Damage
from physedge_runtime.sources.deinterlace import Deinterlace, Deinterlacer
from physedge_runtime.sources.ffmpeg import Converter, square_size
from physedge_runtime.sources.packets import NotDecodable, PacketSource

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_NS_PER_S = 1_000_000_000


@dataclass(slots=True, kw_only=True)
class Picture:
    """One picture of a video.

    Attributes:
        pixels: uint8 (height, width, 3), RGB, upright, with square pixels.
        number: In order of presentation, from 0; a packet that gave no picture leaves a gap.
        time_ns: Presentation time as the stream states it, nanoseconds; None where it states none.
        position_ns: The same from the first picture on; None where it is not known.
        captured_ns: The clock when the decoder handed it out.
        damage: What is wrong with it.
    """

    pixels: NDArray[np.uint8]
    number: int
    time_ns: int | None
    position_ns: int | None
    captured_ns: int
    damage: Damage


@dataclass(slots=True)
class _About:
    """What is known of a frame before it becomes a picture."""

    number: int
    time_ns: int | None
    captured_ns: int
    damage: Damage


class VideoDecoder:
    """Reads a video picture by picture, from one thread.

    Args:
        content: A path or URL, the bytes of a video, or a binary file object that is open for reading.
        deinterlace: Whether interlaced frames are made whole pictures.
        live: A stream that goes on by itself: every error of the connection ends it, and no picture is awaited.
        timeout_s: Seconds to open and seconds of silence, of a live stream.
        options: For FFmpeg's demuxer.
        clock: Monotonic nanoseconds.

    Attributes:
        damage: Counts of `packets` that were damaged or missing, of `pictures` that are damaged themselves, and of
            `doubtful` pictures that were predicted from such.
        notes: Sentences about what is done to the pictures, in the order in which it was found out.
        truncated: Why the video seems to be incomplete, known at its end; empty where it does not.

    Raises:
        NotDecodable: It holds no video that FFmpeg reads.
        EnvironmentFault: PyAV is not installed (`PE-ENV-001`).
    """

    def __init__(
        self,
        content: Path | str | bytes | BinaryIO,
        *,
        deinterlace: Deinterlace | str = Deinterlace.AUTO,
        live: bool = False,
        timeout_s: tuple[float, float] | None = None,
        options: dict[str, str] | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.damage: Counter[str] = Counter()
        self.notes: list[str] = []
        self.truncated = ""
        self._deinterlace, self._live, self._clock = Deinterlace(deinterlace), live, clock
        self._source = PacketSource(content, timeout_s, options, live=live)
        self._stream = self._source.stream
        self._converter, self._deinterlacer = Converter(), Deinterlacer()
        self._ready: deque[Picture] = deque()
        self._ended = False
        self._next_number = 0
        self._first_ns: int | None = None
        self._is_doubtful = self._ends_damaged = self._has_key = False
        self._lost_at: int | None = None

    @property
    def period_ns(self) -> int | None:
        """From picture to picture as the container states it, nanoseconds; None where it states nonsense."""
        return self._source.period_ns

    @property
    def pictures(self) -> int | None:
        """Number of pictures as the container states it."""
        return self._stream.frames or None

    def read(self) -> Picture | None:
        """The next picture; None where a live stream's next packet did not complete one.

        Raises:
            EOFError: The video has ended.
            ConnectionError: The live stream broke off or fell silent.
        """
        while not self._ready:
            if self._ended:
                raise EOFError
            self._step()
            if self._live and not self._ready:
                return None
        return self._ready.popleft()

    def close(self) -> None:
        """Give files and connections back."""
        self._source.close()

    # How it is done.

    def _step(self) -> None:
        """Take one packet."""
        try:
            packet = self._source.packet()
        except ConnectionError:
            if self._live:
                raise
            self._lose(None)
            return
        if packet is None:
            self._end()
            return
        for _ in range(self._source.skipped):
            self._lose(None if packet.pts is None else packet.pts - 1)
            self._next_number += 1
        self._decode(packet)

    def _decode(self, packet: Packet[VideoStream] | None) -> None:
        from av.error import FFmpegError

        if packet is not None:
            self._has_key = self._has_key or packet.is_keyframe
            if not self._has_key:
                return  # joined between two key frames: decoders make pictures of nothing here, and nothing is damaged
            self._ends_damaged = packet.is_corrupt
            if packet.is_corrupt:
                self._lose(packet.pts)
        try:
            frames = self._stream.codec_context.decode(packet)
        except FFmpegError:
            frames = []
            if packet is None:
                return
            if not packet.is_corrupt:
                self._lose(packet.pts)
            self._next_number += 1  # a picture is missing here
            self._ends_damaged = True
        for frame in frames:
            self._take(frame)

    def _lose(self, pts: int | None) -> None:
        self.damage["packets"] += 1
        self._is_doubtful = True
        if pts is not None:
            self._lost_at = pts if self._lost_at is None else max(pts, self._lost_at)

    def _take(self, frame: VideoFrame) -> None:
        """One frame from the decoder: judge it, and pass it on to the filter or at once."""
        base = self._stream.time_base  # a frame that is flushed out has none of its own
        time_ns = None if frame.pts is None or not base else round(frame.pts * base * _NS_PER_S)
        about = _About(self._next_number, time_ns, self._clock(), self._judge(frame))
        self._next_number += 1
        interlaced = frame.interlaced_frame
        if interlaced:
            what = "deinterlaced (bwdif)" if self._deinterlace is Deinterlace.AUTO else "left as it is"
            self._note(f"interlaced video, {what}")
        if self._deinterlacer.is_used or (interlaced and self._deinterlace is Deinterlace.AUTO):
            if about.damage is not Damage.NONE:
                for held in self._deinterlacer.waiting:  # its missing lines are computed from this frame
                    held.damage = held.damage or Damage.BEFORE
            for done, of in self._deinterlacer.put(frame, about):
                self._emit(done, of)
        else:
            self._emit(frame, about)

    def _emit(self, frame: VideoFrame, about: _About) -> None:
        """One frame, whole: count its damage, and make a picture of it."""
        from av.error import FFmpegError

        try:
            self._ready.append(self._picture(frame, about))
        except (FFmpegError, ValueError):  # a pixel format that cannot be converted
            self._lose(None)
            return
        if about.damage is not Damage.NONE:
            self.damage["pictures" if about.damage is Damage.PICTURE else "doubtful"] += 1

    def _judge(self, frame: VideoFrame) -> Damage:
        if frame.is_corrupt:
            self._is_doubtful = self._ends_damaged = True
            return Damage.PICTURE
        if frame.key_frame:
            if self._lost_at is None or frame.pts is None or frame.pts > self._lost_at:
                self._is_doubtful, self._lost_at = False, None
            return Damage.NONE
        return Damage.BEFORE if self._is_doubtful else Damage.NONE

    def _picture(self, frame: VideoFrame, about: _About) -> Picture:
        aspect = self._stream.sample_aspect_ratio
        height, width = square_size(frame.height, frame.width, aspect)
        if (height, width) != (frame.height, frame.width) and aspect:
            self._note(
                f"pixels of {aspect.numerator}:{aspect.denominator} are made square, "
                f"{frame.width}x{frame.height} to {width}x{height}"
            )
        if self._first_ns is None:
            self._first_ns = about.time_ns
        from_start = None if about.time_ns is None or self._first_ns is None else about.time_ns - self._first_ns
        return Picture(
            pixels=self._converter.rgb(frame, aspect),
            number=about.number,
            time_ns=about.time_ns,
            position_ns=from_start if from_start is not None and from_start >= 0 else None,
            captured_ns=about.captured_ns,
            damage=about.damage,
        )

    def _end(self) -> None:
        self._ended = True
        self._decode(None)
        for done, of in self._deinterlacer.flush():
            self._emit(done, of)
        if not self._live:
            self.truncated = self._source.truncated
            if not self.truncated and self._ends_damaged:
                self.truncated = "its last picture is incomplete, as in a file that was cut off"

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def decoded_pictures(
    content: Path | str | bytes | BinaryIO, *, deinterlace: Deinterlace | str = Deinterlace.AUTO
) -> Iterator[Picture]:
    """Every picture of a whole video, in order of presentation; see the top of this file.

    Whoever must tell about damage looks at each picture's `damage`, or uses `VideoDecoder` and its counts.

    Args:
        content: The bytes of a video (a container, or a bare H.264, HEVC or MPEG-2 stream), a path, or an open file.
        deinterlace: Whether interlaced frames are made whole pictures.

    Raises:
        NotDecodable: It holds no video, or not a single picture that can be decoded.
        EnvironmentFault: PyAV is not installed (`PE-ENV-001`).
    """
    decoder = VideoDecoder(content, deinterlace=deinterlace)
    found = False
    try:
        while True:
            try:
                picture = decoder.read()
            except EOFError:
                break
            if picture is not None:
                found = True
                yield picture
    finally:
        decoder.close()
    if not found:
        raise NotDecodable("it has no picture that can be decoded")
