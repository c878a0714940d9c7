"""OpenCV, imported late and told to keep its own messages off the error stream."""

from __future__ import annotations

import os
from types import ModuleType
from typing import TYPE_CHECKING, Any

from physedge_runtime.errors import missing_extra

if TYPE_CHECKING:
    import cv2
    from numpy.typing import NDArray

_NANOSECONDS_PER_SECOND = 1_000_000_000
_FASTEST_HZ = 1000.0


def import_opencv() -> ModuleType:
    """The module `cv2`, silent.

    Its warnings and FFmpeg's would stand between our own lines, and name URLs with their passwords.

    Raises:
        EnvironmentFault: OpenCV is not installed (`PE-ENV-001`).
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # AV_LOG_QUIET; read when the first video is opened
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "1")  # seconds; 10 would hold up a stop for as long
    try:
        import cv2
    except ImportError as error:
        raise missing_extra("opencv-python-headless", "camera") from error
    if hasattr(cv2.utils, "logging"):  # not in every build: a distribution's obeys the variable alone
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2


def frame_period_ns(capture: cv2.VideoCapture) -> int | None:
    """The time from frame to frame that the capture states, nanoseconds; None where it states nonsense."""
    import cv2

    rate_hz = float(capture.get(cv2.CAP_PROP_FPS))
    if not 0 < rate_hz <= _FASTEST_HZ:
        return None
    return round(_NANOSECONDS_PER_SECOND / rate_hz)


def is_picture(pixels: NDArray[Any] | None) -> bool:
    """Whether a decoder delivered anything at all."""
    return pixels is not None and pixels.size > 0
