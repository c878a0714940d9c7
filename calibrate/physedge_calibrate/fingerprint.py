"""How alike two pictures are, whatever was done to their size, coding, brightness or margins.

A picture is reduced to a thumbnail of 64x64 grey pixels and that to its detail: the difference from its own
blur, over the local strength of that difference. Detail does not know brightness and contrast, and pictures
that merely have the same layout (the dark border of a brain scan, the circle of an endoscope) differ in it. Its
correlation is looked for over the shifts and stretches of a slight crop: coarsely for all pairs at once by
matrix products, then finely for the few that come near.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import Colour, Frame, FrameSpec
from physedge_runtime.resize import prepare

Thumbnail = NDArray[np.uint8]
Detail = NDArray[np.float32]
# Sizes and offsets (height, width, top, left) of the part of one thumbnail that the other shows, in its pixels.
Placement = tuple[float, float, float, float]

SIDE_PX = 64
_BLUR_PX, _STRENGTH_BLUR_PX, _STRENGTH_FLOOR_GREY = 4.0, 6.0, 2.0
_COARSE_BLUR_PX, _COARSE_STEP_PX = 1.5, 2
# A crop shows at least this share of each side.
_COARSE_SHARES = (1.0, 0.95, 0.9)
_FINE_SHARES = (1.0, 0.975, 0.95, 0.925, 0.9, 0.875)
_SHIFTS_PX = tuple(product((-2, 0, 2), (-2, 0, 2)))
_LARGEST_SHIFT_PX = 6
_SHARE_RANGE = (0.8, 1.1)
_LEAST_OVERLAP = 0.7


def thumbnail(pixels: NDArray[np.uint8]) -> Thumbnail:
    """uint8 (64, 64) grey from a picture uint8 (height, width, channel) with 1 or 3 channels, or (height, width)."""
    planes = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    colour = Colour.GREY if planes.shape[2] == 1 else Colour.RGB
    spec = FrameSpec(height=SIDE_PX, width=SIDE_PX, colour=Colour.GREY)
    return prepare(Frame(pixels=np.ascontiguousarray(planes), colour=colour), spec)[..., 0].copy()


def coarse_likeness(firsts: list[Thumbnail], seconds: list[Thumbnail]) -> NDArray[np.float32]:
    """(first, second) correlation of details over few shifts and stretches, -1 to 1; for all pairs at once."""
    first_parts, second_parts = (np.stack([_stretched_parts(one) for one in many]) for many in (firsts, seconds))
    first_whole, second_whole = (np.stack([_shifted(one) for one in many]) for many in (firsts, seconds))
    one_way = _largest_products(first_parts, second_whole)
    other_way = _largest_products(second_parts, first_whole)
    return np.maximum(one_way, other_way.T)


def fine_likeness(first: Thumbnail, second: Thumbnail) -> float:
    """Correlation of the details where one thumbnail is laid over the other in the best place, -1 to 1."""
    score, placement = _best_place(first, second)
    other_score, other_placement = _best_place(second, first)
    if score >= other_score:
        return _refined(first, second, placement)
    return _refined(second, first, other_placement)


def _detail(grey: NDArray[np.float32]) -> Detail:
    """The details of one thumbnail (row, column) or of several (thumbnail, row, column)."""
    difference: Detail = grey - _blurred(grey, _BLUR_PX)
    energy: NDArray[np.float32] = np.square(difference)
    strength = np.sqrt(np.maximum(_blurred(energy, _STRENGTH_BLUR_PX), 0))
    return np.asarray(difference / (strength + _STRENGTH_FLOOR_GREY), dtype=np.float32)


def _blurred(grey: NDArray[np.float32], radius_px: float) -> NDArray[np.float32]:
    kernel = _gaussian(radius_px)
    return np.asarray(kernel @ grey @ kernel.T, dtype=np.float32)


@lru_cache(maxsize=4)
def _gaussian(radius_px: float) -> NDArray[np.float32]:
    """A Gaussian blur of one axis as a matrix: for 64 pixels much faster than a filter."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(np.eye(SIDE_PX), radius_px, axis=0), dtype=np.float32)


def _part(grey: NDArray[np.float32], placement: Placement) -> NDArray[np.float32]:
    """The part of a thumbnail at `placement`, stretched to the full side by linear interpolation."""
    height, width, top, left = placement
    return np.asarray(_stretch(height, top) @ grey @ _stretch(width, left).T, dtype=np.float32)


def _stretch(share: float, offset_px: float) -> NDArray[np.float32]:
    positions = np.clip(_centred() * share + offset_px + SIDE_PX / 2 - 0.5, 0, SIDE_PX - 1)
    below = np.minimum(positions.astype(np.intp), SIDE_PX - 2)
    matrix = np.zeros((SIDE_PX, SIDE_PX), dtype=np.float32)
    rows = np.arange(SIDE_PX)
    matrix[rows, below] = 1 - (positions - below)
    matrix[rows, below + 1] = positions - below
    return matrix


@lru_cache(maxsize=1)
def _centred() -> NDArray[np.float64]:
    return np.asarray(np.arange(SIDE_PX) + 0.5 - SIDE_PX / 2, dtype=np.float64)


@lru_cache(maxsize=1)
def _window() -> NDArray[np.float32]:
    hann = np.hanning(SIDE_PX)
    return np.sqrt(np.outer(hann, hann)).astype(np.float32)


def _unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each row with mean 0 and norm 1, so that a product of two is their correlation."""
    centred = values - values.mean(axis=-1, keepdims=True)
    norms = np.linalg.norm(centred, axis=-1, keepdims=True)
    return np.asarray(centred / (norms + 1e-9), dtype=np.float32)


def _coarse(details: Detail) -> NDArray[np.float32]:
    """(part, coarse pixel) from details (part, row, column)."""
    small = (_blurred(details, _COARSE_BLUR_PX) * _window())[:, ::_COARSE_STEP_PX, ::_COARSE_STEP_PX]
    return _unit(small.reshape(len(small), -1))


def _parts(grey: Thumbnail, shares: tuple[float, ...]) -> Detail:
    """(part, row, column): details of the central parts that slight crops would show."""
    values = grey.astype(np.float32)
    return _detail(np.stack([_part(values, (*size, 0.0, 0.0)) for size in product(shares, shares)]))


def _stretched_parts(grey: Thumbnail) -> NDArray[np.float32]:
    """(part, coarse pixel)."""
    return _coarse(_parts(grey, _COARSE_SHARES))


def _shifted(grey: Thumbnail) -> NDArray[np.float32]:
    """(shift, coarse pixel): the whole, moved by what a one-sided crop would move it."""
    detail = _detail(grey.astype(np.float32))
    return _coarse(np.stack([np.roll(detail, shift, axis=(0, 1)) for shift in _SHIFTS_PX]))


def _largest_products(parts: NDArray[np.float32], wholes: NDArray[np.float32]) -> NDArray[np.float32]:
    products = parts.reshape(-1, parts.shape[-1]) @ wholes.reshape(-1, wholes.shape[-1]).T
    shaped = products.reshape(len(parts), parts.shape[1], len(wholes), wholes.shape[1])
    return np.asarray(shaped.max(axis=(1, 3)), dtype=np.float32)


def _best_place(first: Thumbnail, second: Thumbnail) -> tuple[float, Placement]:
    """Where in the first the second lies best, by correlation over all shifts for each stretch."""
    details = np.concatenate([_parts(first, _FINE_SHARES), _parts(second, (1.0,))]) * _window()
    spectra = np.fft.rfft2(_unit(details.reshape(len(details), -1)).reshape(details.shape))
    parts, whole = spectra[:-1], spectra[-1]
    surface = np.fft.irfft2(parts * np.conj(whole), s=(SIDE_PX, SIDE_PX))
    reach = np.r_[-_LARGEST_SHIFT_PX : _LARGEST_SHIFT_PX + 1]
    near = surface[:, reach][:, :, reach]
    which, row, column = np.unravel_index(near.argmax(), near.shape)
    height, width = tuple(product(_FINE_SHARES, _FINE_SHARES))[int(which)]
    return float(near.max()), (height, width, float(reach[row]) * height, float(reach[column]) * width)


def _refined(first: Thumbnail, second: Thumbnail, start: Placement) -> float:
    """The correlation after a simplex search for the best placement, over the pixels that both show."""
    from scipy.optimize import minimize

    grey, target = first.astype(np.float32), _detail(second.astype(np.float32))

    def loss(place: NDArray[np.float64]) -> float:
        height, width, top, left = (float(value) for value in place)
        inside = _inside(height, width, top, left)
        smallest, largest = _SHARE_RANGE
        if inside.mean() < _LEAST_OVERLAP or min(height, width) < smallest or max(height, width) > largest:
            return 1.0
        return -_correlation(_detail(_part(grey, (height, width, top, left)))[inside], target[inside])

    steps = np.vstack([np.zeros(4), np.diag([0.02, 0.02, 0.7, 0.7])])
    found = minimize(
        loss,
        np.asarray(start),
        method="Nelder-Mead",
        options={"initial_simplex": np.asarray(start) + steps, "maxfev": 120, "xatol": 1e-3, "fatol": 1e-4},
    )
    return -float(found.fun)


def _inside(height: float, width: float, top: float, left: float) -> NDArray[np.bool_]:
    rows, columns = (_centred() * size + offset + SIDE_PX / 2 for size, offset in ((height, top), (width, left)))
    return np.logical_and.outer((rows > 1) & (rows < SIDE_PX - 1), (columns > 1) & (columns < SIDE_PX - 1))


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    a, b = first - first.mean(), second - second.mean()
    return float((a @ b) / (np.sqrt((a @ a) * (b @ b)) + 1e-9))
