"""An impedance image in the body's own coordinates: disk, electrodes with their numbers, lengths and values.

Seen from above, the first electrode at the top; where a device numbers clockwise the image is mirrored to match.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import VoltageSpec
from physedge_runtime.results import Reconstruction

if TYPE_CHECKING:
    from types import ModuleType

Picture = NDArray[np.uint8]

SIDE_PX = 480
_CENTRE_PX, _RADIUS_PX = (228, 216), 178
_BACKGROUND, _LINE, _TEXT, _ELECTRODE = 24, (170, 170, 170), (225, 225, 225), (66, 228, 240)
_SUSPECT = (0, 94, 255)
ELECTRODE = "electrode"
"""Name of the trust signal with a value for each electrode."""
# Red, white and blue (blue first, as OpenCV draws): more conductive is red.
_HIGH, _ZERO, _LOW = (60.0, 60.0, 200.0), (245.0, 245.0, 245.0), (190.0, 110.0, 40.0)
_SCALE_LEFT_PX, _SCALE_WIDTH_PX, _SCALE_TOP_PX, _SCALE_HEIGHT_PX = 446, 12, 96, 240


def physical_image(image: NDArray[np.float32], spec: VoltageSpec) -> NDArray[np.float32]:
    """The image as the body is seen from above: (height, width), row 0 at the top.

    Args:
        image: In the canonical coordinates of a network, electrodes counter-clockwise from the top.
        spec: Of the voltages.
    """
    return image[:, ::-1] if spec.clockwise else image


def electrode_centres(spec: VoltageSpec) -> NDArray[np.float64]:
    """(electrode, 2): x to the right and y up, metres from the middle of the body."""
    step = (-1 if spec.clockwise else 1) * 2 * np.pi / spec.electrodes
    angle = np.pi / 2 + step * np.arange(spec.electrodes)
    centres: NDArray[np.float64] = spec.radius_m * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return centres


def draw_tank(cv2: ModuleType, result: Reconstruction | None, spec: VoltageSpec) -> Picture:
    """The picture: uint8 (480, 480, 3), blue first; the empty body where there is no result."""
    canvas = np.full((SIDE_PX, SIDE_PX, 3), _BACKGROUND, np.uint8)
    if result is not None:
        largest = max(float(np.abs(result.image).max()), 1e-6)
        _draw_image(cv2, canvas, physical_image(result.image, spec), largest)
        _draw_scale(cv2, canvas, largest, result.unit)
    cv2.circle(canvas, _CENTRE_PX, _RADIUS_PX, _LINE, 1, cv2.LINE_AA)
    _draw_electrodes(cv2, canvas, spec, suspect=0 if result is None else result.trust.places.get(ELECTRODE, 0))
    _draw_length(cv2, canvas, spec)
    return canvas


def _draw_image(cv2: ModuleType, canvas: Picture, image: NDArray[np.float32], largest: float) -> None:
    side = 2 * _RADIUS_PX
    large = cv2.resize(np.ascontiguousarray(image), (side, side), interpolation=cv2.INTER_LINEAR)
    at = np.arange(side) - _RADIUS_PX + 0.5
    inside = np.hypot(at[:, None], at) <= _RADIUS_PX
    left, top = _CENTRE_PX[0] - _RADIUS_PX, _CENTRE_PX[1] - _RADIUS_PX
    canvas[top : top + side, left : left + side][inside] = colours(large[inside] / largest)


def colours(values: NDArray[np.floating]) -> Picture:
    """uint8 (..., 3) of values from -1 to 1, blue first: blue, white at 0, red."""
    share = np.clip(np.abs(values), 0, 1)[..., np.newaxis]
    end = np.where(values[..., np.newaxis] > 0, _HIGH, _LOW)
    return np.asarray(_ZERO + share * (end - np.array(_ZERO)), np.uint8)


def _draw_electrodes(cv2: ModuleType, canvas: Picture, spec: VoltageSpec, *, suspect: int) -> None:
    """All electrodes with their numbers; the suspect one crossed out, its number whatever the others do."""
    half_deg = 180.0 * spec.cover / spec.electrodes
    for number, (x, y) in enumerate(electrode_centres(spec), start=1):
        is_suspect = number == suspect
        colour = _SUSPECT if is_suspect else _ELECTRODE
        angle = float(np.rad2deg(np.arctan2(-y, x)))  # OpenCV's angles run clockwise
        axes = (_RADIUS_PX + 4, _RADIUS_PX + 4)
        width_px = 8 if is_suspect else 4
        cv2.ellipse(canvas, _CENTRE_PX, axes, 0, angle - half_deg, angle + half_deg, colour, width_px, cv2.LINE_AA)
        if is_suspect:
            _draw_cross(cv2, canvas, _beside(spec, x, y, 4))
        if spec.electrodes > 16 and number % 2 == 0 and not is_suspect:
            continue
        text = str(number)
        right, down = _beside(spec, x, y, 24 if is_suspect else 20)
        size, thickness = (0.6, 2) if is_suspect else (0.4, 1)
        text_px = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)[0]
        place = (right - text_px[0] // 2, down + text_px[1] // 2)
        cv2.putText(
            canvas,
            text,
            place,
            cv2.FONT_HERSHEY_SIMPLEX,
            size,
            colour if is_suspect else _TEXT,
            thickness,
            cv2.LINE_AA,
        )


def _beside(spec: VoltageSpec, x: float, y: float, outward_px: int) -> tuple[int, int]:
    """Column and row of a place outside the body, next to metres on its border."""
    reach = (_RADIUS_PX + outward_px) / spec.radius_m
    return round(_CENTRE_PX[0] + reach * x), round(_CENTRE_PX[1] - reach * y)


def _draw_cross(cv2: ModuleType, canvas: Picture, place: tuple[int, int]) -> None:
    column, row = place
    for rise in (-1, 1):
        ends = (column - 9, row - 9 * rise), (column + 9, row + 9 * rise)
        cv2.line(canvas, *ends, (_BACKGROUND,) * 3, 5, cv2.LINE_AA)
        cv2.line(canvas, *ends, _SUSPECT, 3, cv2.LINE_AA)


def _draw_length(cv2: ModuleType, canvas: Picture, spec: VoltageSpec) -> None:
    length_m = 10.0 ** np.floor(np.log10(spec.radius_m))
    length_px = round(length_m / spec.radius_m * _RADIUS_PX)
    y = SIDE_PX - 44
    cv2.line(canvas, (12, y), (12 + length_px, y), _TEXT, 2, cv2.LINE_AA)
    text = f"{length_m * 100:g} cm"
    cv2.putText(canvas, text, (12, y - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _TEXT, 1, cv2.LINE_AA)


def _draw_scale(cv2: ModuleType, canvas: Picture, largest: float, unit: str) -> None:
    values = np.linspace(1, -1, _SCALE_HEIGHT_PX)
    bar = np.repeat(colours(values)[:, np.newaxis], _SCALE_WIDTH_PX, axis=1)
    bottom = _SCALE_TOP_PX + _SCALE_HEIGHT_PX
    canvas[_SCALE_TOP_PX:bottom, _SCALE_LEFT_PX : _SCALE_LEFT_PX + _SCALE_WIDTH_PX] = bar
    for text, y in ((f"+{largest:.2g}", _SCALE_TOP_PX - 6), (f"-{largest:.2g}", bottom + 14)):
        cv2.putText(canvas, text, (_SCALE_LEFT_PX - 14, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _TEXT, 1, cv2.LINE_AA)
    if unit != "1":
        width = cv2.getTextSize(unit, cv2.FONT_HERSHEY_SIMPLEX, 0.36, 1)[0][0]
        cv2.putText(canvas, unit, (SIDE_PX - width - 8, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.36, _TEXT, 1, cv2.LINE_AA)
