"""What a camera is asked for: size, rate, format and controls; and what it was really set to, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from physedge_runtime.errors import UsageError
from physedge_runtime.sources.v4l2 import CameraControl, Ioctl, V4l2Device, fourcc

if TYPE_CHECKING:
    import cv2

_AUTO = "auto"
_FASTEST_HZ = 1000.0
_ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"exposure": ("exposure_time_absolute", "exposure_absolute", "exposure"), "gain": ("gain",)}
)
# By hand first: a camera that exposes by itself takes the value and does not follow it. Names and values of UVC.
_BY_HAND: Mapping[str, tuple[tuple[str, ...], int, int]] = MappingProxyType(
    {"exposure": (("auto_exposure", "exposure_auto"), 1, 3), "gain": (("gain_automatic", "autogain"), 0, 1)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraSettings:
    """What is asked of a camera; nothing of it is the driver's choice.

    Attributes:
        size: (width, height) in pixels.
        rate_hz: Pictures a second.
        format: Four characters, for example `MJPG` or `YUYV`.
        controls: By name, in the driver's unit (0.1 ms for most cameras' `exposure`); None for automatic.
    """

    size: tuple[int, int] | None = None
    rate_hz: float | None = None
    format: str | None = None
    controls: Mapping[str, int | None] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def is_empty(self) -> bool:
        """Whether nothing is asked for."""
        return self.size is None and self.rate_hz is None and self.format is None and not self.controls


def parse_camera_settings(
    *, size: str | None, rate_hz: float | None, pixel_format: str | None, controls: Iterable[str]
) -> CameraSettings:
    """What stands behind `--size`, `--rate`, `--format` and `--control`.

    Raises:
        UsageError: Something of it is written otherwise (`PE-SRC-041`).
    """
    sides = re.fullmatch(r"([1-9][0-9]{1,4})x([1-9][0-9]{1,4})", size or "")
    if size is not None and sides is None:
        raise _wrong(f"the size '{size}'", "WIDTHxHEIGHT in pixels, as 1920x1080", "--size")
    if rate_hz is not None and not 0 < rate_hz <= _FASTEST_HZ:
        raise _wrong(f"a rate of {rate_hz:g}", "pictures a second, as 60", "--rate")
    if pixel_format is not None and re.fullmatch(r"[A-Za-z0-9]{3,4}", pixel_format) is None:
        raise _wrong(f"the format '{pixel_format}'", "four characters, as MJPG or YUYV", "--format")
    asked: dict[str, int | None] = {}
    for text in controls:
        name, _, value = text.partition("=")
        if not name or (value != _AUTO and re.fullmatch(r"-?[0-9]{1,9}", value) is None):
            raise _wrong(f"the control '{text}'", "NAME=NUMBER or NAME=auto, as exposure=120", "--control")
        asked[name.lower()] = None if value == _AUTO else int(value)
    return CameraSettings(
        size=None if sides is None else (int(sides[1]), int(sides[2])),
        rate_hz=rate_hz,
        format=None if pixel_format is None else pixel_format.upper().ljust(4),
        controls=asked,
    )


def set_mode(capture: cv2.VideoCapture, settings: CameraSettings) -> str:
    """Set format, size and rate of an open capture, in the order in which a driver needs them.

    Returns:
        What was really set, and what had been asked for where that is something else.
    """
    import cv2

    if settings.format is not None:
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*settings.format))
    if settings.size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.size[1])
    if settings.rate_hz is not None:
        capture.set(cv2.CAP_PROP_FPS, settings.rate_hz)
    width, height = (int(capture.get(one)) for one in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
    pixel_format, rate_hz = fourcc(int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF), capture.get(cv2.CAP_PROP_FPS)
    asked = []
    if settings.size is not None and settings.size != (width, height):
        asked.append(f"{settings.size[0]}x{settings.size[1]}")
    if settings.format is not None and settings.format.strip() != pixel_format:
        asked.append(settings.format.strip())
    if settings.rate_hz is not None and abs(settings.rate_hz - rate_hz) > 0.01 * settings.rate_hz:
        asked.append(f"{settings.rate_hz:g} a second")
    instead = f"; asked for was {', '.join(asked)}" if asked else ""
    return f"the camera is set to {width}x{height} {pixel_format} at {rate_hz:g} a second{instead}"


def set_controls(path: Path, settings: CameraSettings, *, ioctl: Ioctl | None = None) -> str:
    """Set the controls of a camera device, and read them back.

    Returns:
        What they are set to, in words; empty where none was asked for.

    Raises:
        UsageError: The camera has no such control, or not in this range (`PE-SRC-041`); it says which it has.
    """
    if not settings.controls:
        return ""
    told = []
    try:
        with V4l2Device(path, ioctl=ioctl) as device:
            known = {control.name: control for control in device.controls()}
            for name, value in settings.controls.items():
                told.append(_set_one(device, known, name, value))
    except OSError as error:
        raise _wrong(
            f"controls that {path} does not take ({error.strerror or error})", "a camera that can be set", "--control"
        ) from error
    return f"controls are set to {', '.join(told)}"


def _set_one(device: V4l2Device, known: Mapping[str, CameraControl], name: str, value: int | None) -> str:
    automatic, by_hand, by_itself = _BY_HAND.get(name, ((), 0, 0))
    switch = next((known[one] for one in automatic if one in known), None)
    if value is None:
        if switch is None:
            raise _wrong(f"{name}=auto", f"a control that can be automatic; the camera has {_list(known)}", "--control")
        device.set(switch, by_itself)
        return f"{name} auto ({switch.name} {device.get(switch)})"
    control = next((known[one] for one in _ALIASES.get(name, (name,)) if one in known), None)
    if control is None:
        raise _wrong(f"the control '{name}'", f"one that the camera has: {_list(known)}", "--control")
    if not control.lowest <= value <= control.highest:
        raise _wrong(f"{name}={value}", f"{control.lowest} to {control.highest}", "--control")
    if switch is not None:
        device.set(switch, by_hand)
    device.set(control, value)
    really = device.get(control)
    return f"{control.name} {really}{f' (asked for was {value})' if really != value else ''}"


def _list(known: Mapping[str, CameraControl]) -> str:
    return ", ".join(f"{one.name} {one.lowest} to {one.highest}" for one in known.values()) or "none"


def _wrong(found: str, expected: str, option: str) -> UsageError:
    return UsageError(
        "PE-SRC-041", found=found, expected=expected, next_step=f"correct {option}; physedge doctor lists cameras"
    )
