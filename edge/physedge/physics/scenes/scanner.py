"""An ultrasound machine: point scatterers in, beam-space echoes out, and the way from beams to pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.acoustics import attenuation_db, beam_sigma_mm, pulse_sigma_mm, wavelength_mm
from physedge.physics.scenes.fields import angle_of

F32 = NDArray[np.float32]

# Beams simulated beyond either side of the picture, so that the periodic Fourier convolution wraps unseen.
_MARGIN_BEAMS = 12
# The kernels must be wide against the grid, else bilinear deposition shows as a pattern.
_LEAST_SIGMA_CELLS = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A linear array (`radius_mm` 0) or a convex one, with its settings.

    Attributes:
        frequency_mhz: Centre frequency.
        bandwidth: Fractional round-trip bandwidth at -6 dB.
        f_number: Focal length over active aperture.
        aperture_mm: Largest active aperture.
        focus_mm: Depth of the transmit focus.
        depth_mm: Depth shown.
        radius_mm: Radius of curvature of the array; 0 for a flat one.
        span: Width of the field: mm for a flat array, radians for a convex one.
    """

    frequency_mhz: float
    bandwidth: float
    f_number: float
    aperture_mm: float
    focus_mm: float
    depth_mm: float
    radius_mm: float
    span: float

    def polar(self, x_mm: F32, z_mm: F32) -> tuple[F32, F32]:
        """Depth along the beam (mm) and beam position (mm or radians) of points below the array.

        The origin of x and z is the middle of the array's face, z grows away from it; a convex array
        has its centre of curvature at z = -radius.
        """
        if self.radius_mm == 0.0:
            return z_mm, x_mm
        below = z_mm + np.float32(self.radius_mm)
        return np.sqrt(x_mm * x_mm + below * below) - np.float32(self.radius_mm), angle_of(x_mm, below)

    def cartesian(self, depth_mm: F32, beam: F32) -> tuple[F32, F32]:
        """The inverse of `polar`: x and z in mm."""
        if self.radius_mm == 0.0:
            return beam, depth_mm
        reach = depth_mm + np.float32(self.radius_mm)
        return reach * np.sin(beam), reach * np.cos(beam) - np.float32(self.radius_mm)


class Scanner:
    """The linear, shift-variant pulse-echo system of one probe on a grid of `(depth, beam)`.

    The echo is `sum_i a_i exp(-j 2 k z_i) h(z - z_i, x - x_i; z)`: the complex baseband form of a pulse with a
    carrier (Jensen's tissue model of independent point scatterers; J. A. Jensen, "A model for the propagation
    and scattering of ultrasound in tissue", J. Acoust. Soc. Am. 89 (1991) 182-190). The phase of the carrier
    is exact per scatterer; h, the envelope of pulse and beam, is real and Gaussian, of unit energy at every depth, so
    that a medium of even echogenicity has even mean power before attenuation.

    Args:
        probe: Geometry and frequency.
        depth_cells: Samples along a beam.
        beam_cells: Beams across the shown field.
    """

    def __init__(self, probe: Probe, depth_cells: int, beam_cells: int) -> None:
        self.probe = probe
        self.depth_cells = depth_cells
        self.shown_beams = beam_cells
        self.beam_cells = _fast_length(beam_cells + 2 * _MARGIN_BEAMS)
        self.first_beam = (self.beam_cells - beam_cells) // 2
        self.depth_step_mm = probe.depth_mm / depth_cells
        self.beam_step = probe.span / beam_cells
        self.depths_mm = (np.arange(depth_cells) + 0.5) * self.depth_step_mm
        self.pulse_sigma_cells = max(
            pulse_sigma_mm(probe.frequency_mhz, probe.bandwidth) / self.depth_step_mm, _LEAST_SIGMA_CELLS
        )
        arc_mm = self.beam_step * ((self.depths_mm + probe.radius_mm) if probe.radius_mm else 1.0)
        beam_sigma = beam_sigma_mm(
            self.depths_mm,
            frequency_mhz=probe.frequency_mhz,
            focus_mm=probe.focus_mm,
            f_number=probe.f_number,
            aperture_mm=probe.aperture_mm,
        )
        self.beam_sigma_cells = np.maximum(beam_sigma / arc_mm, _LEAST_SIGMA_CELLS)
        self._pulse = _unit_energy_gaussian(self.pulse_sigma_cells)
        self._beam_transfer = self._lateral_transfer()

    def _lateral_transfer(self) -> F32:
        """`(depth, beam frequency)` transform of the lateral profile, unit energy per depth."""
        frequency = np.fft.fftfreq(self.beam_cells)[None, :]
        transfer = np.exp(-2.0 * (np.pi * self.beam_sigma_cells[:, None] * frequency) ** 2)
        return np.asarray(transfer / np.sqrt(np.mean(transfer**2, axis=1, keepdims=True)), dtype=np.float32)

    def cells_per_resolution_cell(self) -> float:
        """Area, in grid cells, of the mean resolution cell (full widths at half maximum of pulse and beam)."""
        return float(2.355**2 * self.pulse_sigma_cells * self.beam_sigma_cells.mean())

    def cells(self, x_mm: F32, z_mm: F32) -> tuple[F32, F32]:
        """Fractional `(depth, beam)` cell of points given in mm."""
        depth, beam = self.probe.polar(x_mm, z_mm)
        row = depth * np.float32(1.0 / self.depth_step_mm) - np.float32(0.5)
        middle = np.float32(0.5 * (self.shown_beams - 1) + self.first_beam)
        return row, beam * np.float32(1.0 / self.beam_step) + middle

    def echo(self, row: F32, column: F32, amplitude: F32) -> NDArray[np.complex64]:
        """Complex baseband echo of scatterers, before noise and gain.

        Args:
            row: `(scatterer,)` fractional depth cell, from `cells`.
            column: `(scatterer,)` fractional beam cell.
            amplitude: `(scatterer,)` signed scattering strength, attenuation included.

        Returns:
            `(depth, beam)` complex64.
        """
        deposited = self._deposit(row, column, amplitude)
        pulsed = _convolve_rows(deposited, self._pulse)
        spectrum = np.fft.fft(pulsed, axis=1)
        spectrum *= self._beam_transfer
        return np.asarray(np.fft.ifft(spectrum, axis=1), dtype=np.complex64)

    def _deposit(self, row: F32, column: F32, amplitude: F32) -> NDArray[np.complex64]:
        inside = (row >= 0) & (row < self.depth_cells - 1) & (column >= 0) & (column < self.beam_cells - 1)
        row, column, amplitude = row[inside], column[inside], amplitude[inside]
        # 2 k z = 4 pi z / lambda; the constant half cell of the grid's origin does not matter.
        turns = row * np.float32(2.0 * self.depth_step_mm / wavelength_mm(self.probe.frequency_mhz))
        phase = (turns - np.floor(turns)) * np.float32(-2.0 * np.pi)
        real, imaginary = amplitude * np.cos(phase), amplitude * np.sin(phase)
        top, left = row.astype(np.int32), column.astype(np.int32)
        down, across = row - top, column - left
        corner = top * self.beam_cells + left
        size = self.depth_cells * self.beam_cells
        total = np.zeros((2, size), dtype=np.float64)
        for offset, weight in (
            (0, (1 - down) * (1 - across)),
            (1, (1 - down) * across),
            (self.beam_cells, down * (1 - across)),
            (self.beam_cells + 1, down * across),
        ):
            place = corner + offset
            total[0] += np.bincount(place, real * weight, size)
            total[1] += np.bincount(place, imaginary * weight, size)
        grid = np.empty(size, dtype=np.complex64)
        grid.real, grid.imag = total
        return grid.reshape(self.depth_cells, self.beam_cells)

    def attenuation_db(self, slope_db_per_cm_mhz: float) -> F32:
        """`(depth,)` round-trip loss of an even medium; the time-gain compensation is the same curve upwards."""
        loss = attenuation_db(
            self.depths_mm, slope_db_per_cm_mhz=slope_db_per_cm_mhz, frequency_mhz=self.probe.frequency_mhz
        )
        return np.asarray(loss, dtype=np.float32)


def _fast_length(least: int) -> int:
    """The smallest length from `least` on whose only prime factors are 2, 3 and 5: quick to transform."""
    length = least
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def _unit_energy_gaussian(sigma_cells: float) -> F32:
    reach = int(np.ceil(3.2 * sigma_cells))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_cells) ** 2)
    return np.asarray(kernel / np.sqrt(np.sum(kernel**2)), dtype=np.float32)


def _convolve_rows(grid: NDArray[np.complex64], kernel: F32) -> NDArray[np.complex64]:
    """Convolution down the first axis, zero outside; a symmetric kernel needs half the products."""
    reach = len(kernel) // 2
    padded = np.zeros((grid.shape[0] + 2 * reach, grid.shape[1]), dtype=np.complex64)
    padded[reach : reach + grid.shape[0]] = grid
    total = grid * kernel[reach]
    for offset in range(1, reach + 1):
        above = padded[reach - offset : reach - offset + grid.shape[0]]
        below = padded[reach + offset : reach + offset + grid.shape[0]]
        total += (above + below) * kernel[reach + offset]
    return np.asarray(total, dtype=np.complex64)
