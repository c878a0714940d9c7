"""A camera of this machine: by its number, by its device file, or as a GStreamer pipeline."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from physedge_runtime.errors import SourceError, UsageError
from physedge_runtime.frame import Colour, Frame
from physedge_runtime.sources.base import SignalLost, SourceInfo
from physedge_runtime.sources.camera_settings import CameraSettings, set_controls, set_mode
from physedge_runtime.sources.opencv import frame_period_ns, import_opencv, is_picture

if TYPE_CHECKING:
    import cv2

GSTREAMER = "gstreamer:"


class CameraSource:
    """Frames of a camera, through V4L2 or GStreamer.

    Args:
        device: Number of the camera, its device file (`/dev/video0`), or `gstreamer:` and a pipeline that ends in
            `appsink`; the pipeline should say `drop=true max-buffers=1`.
        settings: What is asked of a Video4Linux camera; what it was really set to is in the notes of `info`.
        clock: Monotonic nanoseconds.
    """

    def __init__(
        self,
        device: int | str,
        *,
        settings: CameraSettings | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._device = device
        self._clock = clock
        self._settings = settings or CameraSettings()
        self._notes: list[str] = []
        self._capture: cv2.VideoCapture | None = None
        self._period_ns: int | None = None
        self._next_id = 0
        self._was_open = False

    @property
    def info(self) -> SourceInfo:
        """Live; the period is what the driver states."""
        return SourceInfo(name=self._name, live=True, period_ns=self._period_ns, notes=tuple(self._notes))

    def ask_for(self, settings: CameraSettings) -> None:
        """Say what the camera is to be set to, before it is opened.

        Raises:
            UsageError: A GStreamer pipeline is set in its own text (`PE-SRC-041`).
        """
        if self._is_pipeline and not settings.is_empty:
            raise UsageError(
                "PE-SRC-041",
                found="size, rate, format or controls for a GStreamer pipeline",
                expected="them in the pipeline, as video/x-raw,width=1920,height=1080,framerate=60/1",
                next_step="write them there",
            )
        self._settings = settings

    @property
    def _name(self) -> str:
        if isinstance(self._device, int):
            return f"camera {self._device}"
        return "GStreamer pipeline" if self._is_pipeline else f"camera {self._device}"

    @property
    def _is_pipeline(self) -> bool:
        return isinstance(self._device, str) and self._device.startswith(GSTREAMER)

    def open(self) -> None:
        """Open the device with the shortest buffer it has.

        Raises:
            SourceError: There is no such camera (`PE-SRC-001`), or it went away (`PE-SRC-008`).
            UsageError: It has no such control, or not in this range (`PE-SRC-041`).
        """
        if self._capture is not None:
            return
        cv2 = import_opencv()
        if isinstance(self._device, str) and self._is_pipeline:
            capture = cv2.VideoCapture(self._device.removeprefix(GSTREAMER), cv2.CAP_GSTREAMER)
        else:
            capture = cv2.VideoCapture(self._device, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise self._lost("it did not come back") if self._was_open else self._absent()
        if not self._settings.is_empty:
            try:
                self._set(capture)
            except BaseException:
                capture.release()
                raise
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # a driver may refuse; the grabber's slot holds in any case
        self._capture, self._period_ns, self._was_open = capture, frame_period_ns(capture), True

    def _set(self, capture: cv2.VideoCapture) -> None:
        device = self._device
        path = Path(device) if isinstance(device, str) else Path(f"/dev/video{device}")
        for said in (set_mode(capture, self._settings), set_controls(path, self._settings)):
            if said and said not in self._notes:
                self._notes.append(said)

    def read(self) -> Frame | None:
        """The next picture, stamped when the driver handed it over.

        Raises:
            SignalLost: The camera stopped delivering (`PE-SRC-008`).
        """
        assert self._capture is not None
        if not self._capture.grab():
            raise self._lost("it delivers no more pictures")
        captured_ns = self._clock()
        decoded, pixels = self._capture.retrieve()
        if not decoded or not is_picture(pixels):
            return None
        frame = Frame(pixels=pixels, frame_id=self._next_id, captured_ns=captured_ns, colour=Colour.BGR)
        self._next_id += 1
        return frame

    def close(self) -> None:
        """Release the device."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _absent(self) -> SourceError:
        if self._is_pipeline:
            return SourceError(
                "PE-SRC-001",
                found="the GStreamer pipeline did not open",
                expected="a pipeline that ends in appsink, and an OpenCV built with GStreamer",
                next_step="try the pipeline with gst-launch-1.0; the OpenCV from PyPI has no GStreamer, a Jetson's has",
            )
        return SourceError(
            "PE-SRC-001",
            found=f"{self._name} is not there",
            expected="a camera that Linux shows as /dev/video*",
            next_step="list them with: physedge doctor; or stream a file with --source FILE",
        )

    def _lost(self, why: str) -> SignalLost:
        return SignalLost(
            "PE-SRC-008",
            found=f"{self._name} was lost, {why}",
            expected="a camera that goes on delivering",
            next_step="check its cable and its power",
        )
