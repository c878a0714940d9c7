"""A few numbers about what goes into a network, cheap enough for every frame of a stream.

They answer one question: does this input look like those that the network was calibrated with? A sample of the pixels
is enough for it: 0.2 ms for a picture of 256x256.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import Colour, FrameSpec
from physedge_runtime.manifest_rules import PICTURE_STATISTICS, VOLTAGE_STATISTICS

_SAMPLE_STEP = 4
_ROW_STEP = 8
_DARK_BELOW = 16
_BRIGHT_ABOVE = 250
_SILENCE = 1e-12


def input_statistics(inputs: NDArray[Any], spec: FrameSpec | None) -> dict[str, float]:
    """The statistics of one prepared input, by name.

    Args:
        inputs: uint8 (height, width, channel) as `physedge_runtime.resize.prepare` gives it, float32 (voltage,), or
            (2, voltage) with the reference first.
        spec: The declared form of the picture; None for voltages.

    Returns:
        Of a picture, fractions from 0 to 1: `brightness`, the mean; `contrast`, the standard deviation; `dark share`
        and `bright share` of the pixels; `red share` and `blue share` of the mean channels, 1/3 for grey; `sharpness`,
        the mean step from pixel to pixel along a row over the contrast. Of voltages, or
        of their change over the reference: `level`, the decimal logarithm of the root mean square; `offset`, the mean
        over it; `peak`, the largest over it.
    """
    return _of_voltages(inputs) if spec is None else _of_picture(inputs, spec.colour)


def _of_picture(pixels: NDArray[np.uint8], colour: Colour) -> dict[str, float]:
    # A plane a channel: numpy is ten times as slow along an axis of three.
    planes = np.ascontiguousarray(pixels[::_SAMPLE_STEP, ::_SAMPLE_STEP].transpose(2, 0, 1)).reshape(
        pixels.shape[2], -1
    )
    size = planes.shape[1]
    means = [float(plane.mean()) for plane in planes]
    luminance = np.add.reduce(planes, axis=0, dtype=np.uint16) if len(planes) > 1 else planes[0]
    contrast = float(luminance.std()) / len(planes)
    rows = pixels[::_ROW_STEP, :, pixels.shape[2] // 2].astype(np.int16)
    step = float(np.abs(rows[:, 1:] - rows[:, :-1]).mean())
    red, blue = _red_and_blue(means, colour)
    values = (
        sum(means) / len(means) / 255,
        contrast / 255,
        int(np.count_nonzero(luminance < _DARK_BELOW * len(planes))) / size,
        int(np.count_nonzero(np.maximum.reduce(planes) > _BRIGHT_ABOVE)) / size,
        red,
        blue,
        min(1.0, step / contrast) if contrast else 0.0,
    )
    return dict(zip(PICTURE_STATISTICS, values, strict=True))


def _red_and_blue(means: list[float], colour: Colour) -> tuple[float, float]:
    total = sum(means)
    if colour is Colour.GREY or not total:
        return 1 / 3, 1 / 3
    red, blue = (means[0], means[2]) if colour is Colour.RGB else (means[2], means[0])
    return red / total, blue / total


def _of_voltages(voltages: NDArray[np.float32]) -> dict[str, float]:
    values = np.asarray(voltages, np.float64)
    if values.ndim == 2:
        # A change is judged against its reference: neither the current nor the unit of the device matters.
        values = (values[1] - values[0]) / max(float(np.sqrt(np.mean(np.square(values[0])))), _SILENCE)
    values = values.reshape(-1)
    level = max(float(np.sqrt(np.mean(np.square(values)))), _SILENCE)
    found = (float(np.log10(level)), float(values.mean()) / level, float(np.abs(values).max()) / level)
    return dict(zip(VOLTAGE_STATISTICS, found, strict=True))
