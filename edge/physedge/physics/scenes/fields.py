"""Random fields: smooth noise that repeats at its edges, and fast reading at fractional positions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FloatField = NDArray[np.float32]
Floats = NDArray[np.floating]
"""What the arithmetic here accepts: float32 in fact, float64 to a type checker wherever a scalar took part."""


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, int], sigma: tuple[float, float], *, tilt: float = 0.0
) -> FloatField:
    """Periodic Gaussian noise of zero mean and unit variance with a Gaussian correlation.

    Drawn in the Fourier domain: independent complex normal coefficients times
    `exp(-2 pi^2 (sigma_y^2 f_y^2 + sigma_x^2 f_x^2))`, the transform of a Gaussian kernel of these standard
    deviations. Coefficients that the kernel makes vanish are not drawn.

    Args:
        rng: Source of the coefficients.
        shape: `(rows, columns)`.
        sigma: Standard deviation of the kernel in cells, `(rows, columns)`.
        tilt: Angle in radians by which the kernel is turned.

    Returns:
        `shape` float32.
    """
    # Beyond 0.65 / sigma the kernel is below 3e-4.
    highest = 0.65 / min(sigma) if tilt else None
    fy = np.fft.fftfreq(shape[0])
    fx = np.fft.rfftfreq(shape[1])
    rows = np.flatnonzero(np.abs(fy) <= (highest or 0.65 / sigma[0]))
    columns = np.flatnonzero(fx <= (highest or 0.65 / sigma[1]))
    y, x = fy[rows][:, None], fx[columns][None, :]
    along = x * np.cos(tilt) + y * np.sin(tilt)
    across = y * np.cos(tilt) - x * np.sin(tilt)
    kernel = np.exp(-2.0 * np.pi**2 * ((sigma[0] * across) ** 2 + (sigma[1] * along) ** 2)).astype(np.float32)
    kernel[0, 0] = 0.0
    drawn = rng.standard_normal((*kernel.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    spectrum = np.zeros((shape[0], len(fx)), dtype=np.complex64)
    spectrum[np.ix_(rows, columns)] = drawn * kernel
    noise = np.fft.irfft2(spectrum, s=shape, axes=(0, 1))
    noise /= np.float32(max(float(noise.std()), 1e-20))
    return np.asarray(noise, dtype=np.float32)


class Reading:
    """Where a set of points lies between the cells of periodic fields of one shape; reads any number of them.

    Args:
        shape: `(rows, columns)` of the fields, powers of two, so that wrapping is a bit mask.
        row: Any shape, in cells, float32; wraps around.
        column: Same shape as `row`.
    """

    __slots__ = ("_across", "_corners", "_down")

    def __init__(self, shape: tuple[int, int], row: Floats, column: Floats) -> None:
        rows, columns = shape
        if rows & (rows - 1) or columns & (columns - 1):
            raise ValueError(f"field is {rows} x {columns} cells, expected powers of two")
        row_floor, column_floor = np.floor(row), np.floor(column)
        self._down = row - row_floor
        self._across = column - column_floor
        top = row_floor.astype(np.int32)
        left = column_floor.astype(np.int32)
        bottom = ((top + 1) & (rows - 1)) * columns
        top = (top & (rows - 1)) * columns
        right = (left + 1) & (columns - 1)
        left &= columns - 1
        self._corners = (top + left, top + right, bottom + left, bottom + right)

    def of(self, field: FloatField) -> FloatField:
        """Bilinear values of `field` `(rows, columns)` at the points, float32."""
        flat = field.reshape(-1)
        upper, upper_right, lower, lower_right = (np.take(flat, corner) for corner in self._corners)
        upper += (upper_right - upper) * self._across
        lower += (lower_right - lower) * self._across
        lower -= upper
        lower *= self._down
        upper += lower
        return np.asarray(upper, dtype=np.float32)


def read_field(field: FloatField, row: Floats, column: Floats) -> FloatField:
    """Bilinear values of one periodic field at fractional positions, see `Reading`."""
    return Reading((field.shape[0], field.shape[1]), row, column).of(field)


def smooth_step(value: Floats) -> FloatField:
    """0 below 0, 1 above 1, `3 t^2 - 2 t^3` between."""
    t = np.clip(value, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), dtype=np.float32)


def dot(a: Floats, b: Floats) -> FloatField:
    """`(point,)` scalar products of `(3, point)` vectors."""
    product = a[0] * b[0]
    product += a[1] * b[1]
    product += a[2] * b[2]
    return np.asarray(product, dtype=np.float32)


def rotate(turn: FloatField, vectors: Floats) -> FloatField:
    """`(3, point)` vectors times a `(3, 3)` matrix: by hand, since BLAS would start threads for so little."""
    x, y, z = vectors
    return np.stack([row[0] * x + row[1] * y + row[2] * z for row in turn])


def unit(vector: Floats) -> FloatField:
    """`(3, point)` vectors of length 1 in the same directions."""
    return np.asarray(vector / np.sqrt(np.maximum(dot(vector, vector), np.float32(1e-12))), dtype=np.float32)


# Minimax polynomial of arctan on 0..1 (after C. Hastings, Approximations for Digital Computers, 1955).
_ARCTAN = (0.99997726, -0.33262347, 0.19354346, -0.11643287, 0.05265332, -0.01172120)


def angle_of(y: Floats, x: Floats) -> FloatField:
    """`arctan2(y, x)` within 1e-5 rad, in a third of the time: tracing a frame takes a million of them."""
    ax, ay = np.abs(x), np.abs(y)
    share = np.minimum(ax, ay) / np.maximum(np.maximum(ax, ay), np.float32(1e-20))
    square = share * share
    angle = np.full_like(share, _ARCTAN[-1])
    for coefficient in _ARCTAN[-2::-1]:
        angle *= square
        angle += np.float32(coefficient)
    angle *= share
    steep = ay > ax
    angle += steep * (np.float32(np.pi / 2.0) - 2.0 * angle)
    angle += (x < 0.0) * (np.float32(np.pi) - 2.0 * angle)
    return np.asarray(np.copysign(angle, y), dtype=np.float32)
