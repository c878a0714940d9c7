"""What a network takes in: the declared form of a frame, and a frame on its way.

Everything up to the uint8 picture of the declared size happens here, once, for training and device alike; everything
after it
(cast, scale, layout, normalisation) is inside the graph.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import UsageError

_SMALLEST_SIDE_PX = 8
_LARGEST_SIDE_PX = 4096
MOST_VOLTAGES = 2**16
LARGEST_RADIUS_M = 100.0
SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.01, 10.0
"""Of a pixel that can be meant: from microscopy's largest to the coarsest scanner's."""


class _Said:
    """A range as the C++ reader learns of it; here `__post_init__` holds it, in words of its own.

    Pydantic, which reads manifests, finds it by its hooks: frames are used where pydantic is not installed.
    """

    def __init__(self, **range_: float) -> None:
        self._range = range_

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> Any:
        return {**handler(core_schema), **self._range}


class _Longest:
    """The most characters of a text in a manifest; pydantic holds it."""

    def __init__(self, characters: int) -> None:
        self._characters = characters

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return {**handler(source), "max_length": self._characters}


class Colour(enum.StrEnum):
    """Channels of a picture, in the order in which they lie in memory."""

    RGB = "rgb"
    BGR = "bgr"
    GREY = "grey"

    @property
    def channels(self) -> int:
        """Number of channels: 1 for grey, else 3."""
        return 1 if self is Colour.GREY else 3


class Damage(enum.StrEnum):
    """What is wrong with a picture as its decoder tells it."""

    NONE = ""
    PICTURE = "picture"  # parts of it could not be decoded and were made up
    BEFORE = "before"  # decoded without an error, but predicted from a picture that was damaged


class Fit(enum.StrEnum):
    """How a picture of another shape is brought to the declared one."""

    STRETCH = "stretch"  # both sides scaled on their own; the whole frame is seen
    LETTERBOX = "letterbox"  # one scale for both sides, centred, the rest black


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """The part of the frame that is looked at, as fractions of its sides.

    Attributes:
        left: 0 to 1, of the width.
        top: 0 to 1, of the height.
        width: 0 to 1, of the width; `left + width` at most 1.
        height: 0 to 1, of the height; `top + height` at most 1.
    """

    left: float
    top: float
    width: float
    height: float

    def __post_init__(self) -> None:
        horizontal = 0 <= self.left and 0 < self.width and self.left + self.width <= 1
        vertical = 0 <= self.top and 0 < self.height and self.top + self.height <= 1
        if not (horizontal and vertical):
            raise UsageError(
                "PE-SPEC-003",
                found=f"the crop {self}",
                expected="fractions of the frame, left + width and top + height at most 1",
                next_step="correct [frame.crop] in the specification",
            )

    def pixels(self, height_px: int, width_px: int) -> tuple[int, int, int, int]:
        """Top, bottom, left, right in whole pixels of a frame; never empty."""
        top = min(round(self.top * height_px), height_px - 1)
        left = min(round(self.left * width_px), width_px - 1)
        bottom = max(top + 1, round((self.top + self.height) * height_px))
        right = max(left + 1, round((self.left + self.width) * width_px))
        return top, bottom, left, right


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSpec:
    """The declared form of the picture that the graph takes in: uint8 (batch, height, width, channel).

    Attributes:
        height: Pixels.
        width: Pixels.
        colour: Channel order of the graph's input, whatever order the source delivers.
        fit: How another shape is brought to this one.
        crop: The part of the frame that is looked at; None for all of it.
    """

    height: Annotated[int, _Said(minimum=_SMALLEST_SIDE_PX, maximum=_LARGEST_SIDE_PX)]
    width: Annotated[int, _Said(minimum=_SMALLEST_SIDE_PX, maximum=_LARGEST_SIDE_PX)]
    colour: Colour = Colour.RGB
    fit: Fit = Fit.STRETCH
    crop: Crop | None = None

    def __post_init__(self) -> None:
        for name, side in (("height", self.height), ("width", self.width)):
            if not _SMALLEST_SIDE_PX <= side <= _LARGEST_SIDE_PX:
                raise UsageError(
                    "PE-SPEC-001",
                    found=f"a frame {name} of {side}",
                    expected=f"{_SMALLEST_SIDE_PX} to {_LARGEST_SIDE_PX} pixels",
                    next_step=f"correct {name} in [frame] of the specification",
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channel) of one prepared picture."""
        return self.height, self.width, self.colour.channels


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltageSpec:
    """The declared form of one frame of measured voltages, in volts, and of the body that they were measured on.

    Attributes:
        count: Voltages a frame.
        electrodes: Electrodes around the body.
        protocol: Name of the injection and measurement patterns, for example `adjacent` (`voltage_protocol`).
        reference: The network takes in float32 (batch, 2, count): the frame of the body at rest, then the frame of
            now; without it (batch, count).
        radius_m: Radius of the body in metres.
        cover: Fraction of the boundary that electrodes cover.
        clockwise: Electrodes are numbered clockwise, seen from above; the first stands at the top.
    """

    count: Annotated[int, _Said(minimum=1, maximum=MOST_VOLTAGES)]
    electrodes: Annotated[int, _Said(minimum=2, maximum=MOST_VOLTAGES)]
    protocol: Annotated[str, _Longest(64)]
    reference: bool = False
    radius_m: Annotated[float, _Said(exclusiveMinimum=0, maximum=LARGEST_RADIUS_M)] = 0.14
    cover: Annotated[float, _Said(exclusiveMinimum=0, exclusiveMaximum=1)] = 0.5
    clockwise: bool = False

    def __post_init__(self) -> None:
        if not (1 <= self.count <= MOST_VOLTAGES and 2 <= self.electrodes <= MOST_VOLTAGES):
            raise UsageError(
                "PE-SPEC-002",
                found=f"{self.count} voltages from {self.electrodes} electrodes",
                expected=f"1 to {MOST_VOLTAGES} voltages and 2 to {MOST_VOLTAGES} electrodes",
                next_step="correct [voltages] in the specification",
            )
        if not (0 < self.radius_m <= LARGEST_RADIUS_M and 0 < self.cover < 1):
            raise UsageError(
                "PE-SPEC-002",
                found=f"a body of {self.radius_m:g} m that electrodes cover by {self.cover:g}",
                expected=f"a radius above 0, at most {LARGEST_RADIUS_M:g}, and a cover between 0 and 1",
                next_step="correct [voltages] in the specification",
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """(voltage,) of one frame, or (2, voltage) with its reference."""
        return (2, self.count) if self.reference else (self.count,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame on its way from a source to a result.

    Attributes:
        pixels: uint8 (height, width, 3) or (height, width), any size; or float32 (voltage,) in volts, or
            (2, voltage) with the reference first. Read only by agreement: whoever holds a frame may keep it, nobody
            writes into it.
        frame_id: Sequence number given at capture, rising by one a captured frame; a gap is a loss.
        captured_ns: Monotonic clock at capture, nanoseconds.
        colour: Channel order of `pixels`.
        source_stamp_ns: The source's own time of the frame, nanoseconds, if it has one; kept, never used to order
            frames.
        position_ns: Of the frame in its clip, nanoseconds from the first picture on; None where there is no clip.
        damage: What is wrong with the picture, as far as its decoder knows.
        frozen_by_operator: True where the source itself says that somebody pressed freeze.
        spacing_mm: Height and width of a pixel in millimetres, where the source knows them.
        spacing_note: Why a spacing that the source did state is not in `spacing_mm`.
        part: Which part of the picture this is and what is not looked at, where it is not all of it, as a sink may
            show it: `region 1 of 2`.
        name: Where the frame came from, as sinks may show it (file name, never a patient's).
        metadata: What else the source says, for sinks that carry it over.
    """

    pixels: NDArray[Any]
    frame_id: int = 0
    captured_ns: int = 0
    colour: Colour = Colour.RGB
    source_stamp_ns: int | None = None
    position_ns: int | None = None
    damage: Damage = Damage.NONE
    frozen_by_operator: bool = False
    spacing_mm: tuple[float, float] | None = None
    spacing_note: str = ""
    part: str = ""
    name: str = ""
    metadata: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


def spacing_fault(spacing_mm: tuple[float, float]) -> str:
    """Why a pixel spacing (height, width) cannot be meant; empty where it can."""
    if all(math.isfinite(side) and SMALLEST_SPACING_MM <= side <= LARGEST_SPACING_MM for side in spacing_mm):
        return ""
    return f"a pixel spacing of {spacing_mm[0]:g} x {spacing_mm[1]:g} mm cannot be meant"


def check_frame(frame: Frame) -> None:
    """Refuse what is no picture at all; called once a frame, before any work.

    Raises:
        UsageError: dtype is not uint8, or the shape is neither (height, width) nor (height, width, 3), or it is empty.
    """
    pixels = frame.pixels
    picture = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (1, 3))
    if pixels.dtype != np.uint8 or not picture or 0 in pixels.shape:
        raise UsageError(
            "PE-FRAME-001",
            found=f"a frame of {pixels.dtype} {tuple(pixels.shape)}",
            expected="uint8 (height, width, 3) or (height, width)",
            next_step="convert the picture before it is handed in",
        )
