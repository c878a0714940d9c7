"""PyAV (FFmpeg), imported late and kept quiet; and one decoded frame of it as upright RGB with square pixels."""

from __future__ import annotations

import struct
from fractions import Fraction
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import missing_extra

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_LARGEST_ASPECT = 4
_NO_TURN = (1, 0, 0, 1)
_ONE = 1 << 16


def import_av() -> ModuleType:
    """The module `av`, silent: FFmpeg's messages would stand between our own lines and name URLs with passwords.

    Raises:
        EnvironmentFault: PyAV is not installed (`PE-ENV-001`).
    """
    try:
        import av
        import av.logging
    except ImportError as error:
        raise missing_extra("av", "camera") from error
    av.logging.set_level(None)
    return av


class Converter:
    """Brings decoded frames to uint8 RGB as they are meant to be seen.

    The YCbCr matrix and range are those that the stream states; a stream that states none is taken as BT.601 with
    limited range, as FFmpeg and OpenCV do. Pixels that are not square are made square by widening or heightening
    (never by narrowing, which would lose detail), then the display matrix of the stream turns and mirrors.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()

    def rgb(self, frame: VideoFrame, aspect: Fraction | None) -> NDArray[np.uint8]:
        """The picture, uint8 (height, width, 3).

        Args:
            frame: As the decoder gave it.
            aspect: Width over height of a pixel; None for square.
        """
        height, width = square_size(frame.height, frame.width, aspect)
        made = self._reformatter.reformat(frame, width, height, "rgb24", interpolation="BICUBIC", threads=1)
        plane = made.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height]
        pixels = rows[:, : 3 * width].reshape(height, width, 3)
        return np.ascontiguousarray(turned(pixels, _display_turn(frame)))


def square_size(height: int, width: int, aspect: Fraction | None) -> tuple[int, int]:
    """(height, width) of a picture whose pixels are made square; unchanged where the aspect cannot be meant.

    Example:
        >>> square_size(576, 720, Fraction(16, 15))
        (576, 768)
        >>> square_size(480, 720, Fraction(8, 9))
        (540, 720)
    """
    if not aspect or not Fraction(1, _LARGEST_ASPECT) <= aspect <= _LARGEST_ASPECT:
        return height, width
    return (height, round(width * aspect)) if aspect > 1 else (round(height / aspect), width)


def turned(pixels: NDArray[Any], turn: tuple[int, int, int, int]) -> NDArray[Any]:
    """A view of the pixels (height, width, ...) after x' = a x + c y, y' = b x + d y for turn (a, b, c, d) of signs."""
    a, b, c, d = turn
    if a and d:
        return pixels[:: 1 if d > 0 else -1, :: 1 if a > 0 else -1]
    transposed = pixels.swapaxes(0, 1)
    return transposed[:: 1 if b > 0 else -1, :: 1 if c > 0 else -1]


def _display_turn(frame: VideoFrame) -> tuple[int, int, int, int]:
    """The turn by quarters and mirrors that the stream's display matrix asks for."""
    try:
        data = frame.side_data["DISPLAYMATRIX"]  # type: ignore[typeddict-item]
    except KeyError:
        return _NO_TURN
    a, b, _, c, d = struct.unpack("<5i", bytes(data)[:20])
    straight, across = min(abs(a), abs(d)), min(abs(b), abs(c))
    if max(straight, across) < _ONE // 2 or straight == across:
        return _NO_TURN
    return (_sign(a), 0, 0, _sign(d)) if straight > across else (0, _sign(b), _sign(c), 0)


def _sign(value: int) -> int:
    return 1 if value > 0 else -1
