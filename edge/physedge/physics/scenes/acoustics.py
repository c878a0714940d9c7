"""Formulas of pulse-echo ultrasound, each with its source.

[S] T. L. Szabo, Diagnostic Ultrasound Imaging: Inside Out, 2nd ed., Academic Press 2014.
[W] R. F. Wagner, S. W. Smith, J. M. Sandrik, H. Lopez, "Statistics of speckle in ultrasound B-scans",
    IEEE Trans. Sonics Ultrason. 30 (1983) 156-163.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SOUND_SPEED_MM_PER_US = 1.54
"""Mean speed of sound in soft tissue, the value scanners assume ([S] ch. 1)."""

SPECKLE_SNR = 1.9131
"""Mean over standard deviation of the envelope of fully developed speckle, `sqrt(pi / (4 - pi))` [W]."""

_FWHM_PER_SIGMA = 2.0 * np.sqrt(2.0 * np.log(2.0))


def wavelength_mm(frequency_mhz: float) -> float:
    """`lambda = c / f` in mm."""
    return SOUND_SPEED_MM_PER_US / frequency_mhz


def pulse_sigma_mm(frequency_mhz: float, bandwidth: float) -> float:
    """Standard deviation, in mm of depth, of the envelope of a Gaussian pulse.

    A spectrum of amplitude width `B f0` at half height has `sigma_f = B f0 / 2.355`; its transform has
    `sigma_t = 1 / (2 pi sigma_f)`; an echo from depth z comes after `2 z / c`, so `sigma_z = c sigma_t / 2`
    ([S] ch. 2 and 10).

    Args:
        frequency_mhz: Centre frequency f0.
        bandwidth: Fractional -6 dB bandwidth B of the round trip, 0 to 1.
    """
    sigma_f = bandwidth * frequency_mhz / _FWHM_PER_SIGMA
    return float(SOUND_SPEED_MM_PER_US / (4.0 * np.pi * sigma_f))


def beam_sigma_mm(
    depth_mm: NDArray[np.floating],
    *,
    frequency_mhz: float,
    focus_mm: float,
    f_number: float,
    aperture_mm: float,
) -> NDArray[np.float64]:
    """Standard deviation of the two-way lateral beam profile at each depth, mm.

    Transmit: one fixed focus, a Gaussian beam `w_t(z) = w_0 sqrt(1 + ((z - z_f) / z_R)^2)` with
    `w_0 = lambda F` at half height and `z_R = pi w_0^2 / (4 ln 2 lambda)` ([S] ch. 6). Receive: dynamic focus,
    `w_r(z) = lambda max(F, z / D)`, since the aperture D ends the growth at constant F. The two-way profile is the
    product, so `1 / w^2 = 1 / w_t^2 + 1 / w_r^2`: narrow at the focus, wider above and below it.

    Args:
        depth_mm: `(depth,)`.
        frequency_mhz: Centre frequency.
        focus_mm: Depth z_f of the transmit focus.
        f_number: F, focal length over active aperture.
        aperture_mm: Largest active aperture D.

    Returns:
        `(depth,)` float64.
    """
    wavelength = wavelength_mm(frequency_mhz)
    waist = wavelength * f_number
    rayleigh = np.pi * waist**2 / (4.0 * np.log(2.0) * wavelength)
    transmit = waist * np.sqrt(1.0 + ((depth_mm - focus_mm) / rayleigh) ** 2)
    receive = wavelength * np.maximum(f_number, depth_mm / aperture_mm)
    return np.asarray(1.0 / np.sqrt(transmit**-2 + receive**-2) / _FWHM_PER_SIGMA)


def attenuation_db(
    depth_mm: NDArray[np.floating], *, slope_db_per_cm_mhz: float, frequency_mhz: float
) -> NDArray[np.float64]:
    """Loss of the round trip in dB, `2 alpha f z` with alpha in dB/(cm MHz) ([S] ch. 4, soft tissue 0.3 to 0.9)."""
    return np.asarray(2.0 * slope_db_per_cm_mhz * frequency_mhz * depth_mm / 10.0, dtype=np.float64)


def amplitude_from_db(level_db: NDArray[np.float32]) -> NDArray[np.float32]:
    """`10^(dB / 20)`."""
    return np.asarray(np.exp(level_db * np.float32(np.log(10.0) / 20.0)), dtype=np.float32)


def log_compress(envelope: NDArray[np.float32], *, reference: float, dynamic_range_db: float) -> NDArray[np.float32]:
    """Grey value `1 + 20 log10(envelope / reference) / range`, clipped to 0..1 ([S] ch. 10).

    Args:
        envelope: Any shape, 0 or more.
        reference: Envelope shown as white.
        dynamic_range_db: Levels this far below the reference, and further, are black.

    Returns:
        Same shape, float32 in 0..1.
    """
    floor = reference * 10.0 ** (-dynamic_range_db / 20.0)
    level = np.log10(np.maximum(envelope, np.float32(floor)) / np.float32(reference))
    return np.asarray(np.clip(1.0 + level * np.float32(20.0 / dynamic_range_db), 0.0, 1.0), dtype=np.float32)
