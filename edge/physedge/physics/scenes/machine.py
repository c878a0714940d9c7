"""Ultrasound machines as they come: probes for breast and liver, and the setting of their knobs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import smooth_noise
from physedge.physics.scenes.scanner import Probe, Scanner

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The knobs of the machine.

    Attributes:
        dynamic_range_db: Shown range of levels.
        headroom_db: White lies this far above the reference echogenicity.
        noise_db: Electronic noise before time-gain compensation, relative to the reference at the skin.
        slider_db: `(depth,)` deviation of the gain sliders from the ideal curve.
        coupling_db: `(beam,)` loss of the beams at the skin: contact and gel.
    """

    dynamic_range_db: float
    headroom_db: float
    noise_db: float
    slider_db: F32
    coupling_db: F32


def draw_flat_probe(rng: np.random.Generator, height_px: int, width_px: int) -> tuple[Probe, float]:
    """A flat high-frequency array that fills the picture, and the size of a pixel in mm."""
    depth = rng.uniform(28.0, 42.0)
    mm_per_px = depth / height_px
    probe = Probe(
        frequency_mhz=rng.uniform(7.5, 12.0),
        bandwidth=rng.uniform(0.35, 0.6),
        f_number=rng.uniform(1.6, 2.6),
        aperture_mm=rng.uniform(14.0, 20.0),
        focus_mm=depth * rng.uniform(0.35, 0.6),
        depth_mm=depth,
        radius_mm=0.0,
        span=mm_per_px * width_px,
    )
    return probe, mm_per_px


def draw_convex_probe(rng: np.random.Generator, height_px: int, width_px: int) -> tuple[Probe, float]:
    """A convex low-frequency array whose sector fits the picture, and the size of a pixel in mm."""
    depth = rng.uniform(95.0, 150.0)
    radius = rng.uniform(40.0, 60.0)
    half_angle = np.deg2rad(rng.uniform(29.0, 36.0))
    height_mm = depth + radius * (1.0 - np.cos(half_angle))
    width_mm = 2.0 * (radius + depth) * np.sin(half_angle)
    mm_per_px = 1.03 * max(height_mm / height_px, width_mm / width_px)
    probe = Probe(
        frequency_mhz=rng.uniform(2.8, 4.5),
        bandwidth=rng.uniform(0.35, 0.6),
        f_number=rng.uniform(1.8, 2.8),
        aperture_mm=rng.uniform(22.0, 32.0),
        focus_mm=depth * rng.uniform(0.35, 0.6),
        depth_mm=depth,
        radius_mm=radius,
        span=2.0 * half_angle,
    )
    return probe, mm_per_px


def draw_settings(rng: np.random.Generator, scanner: Scanner) -> Settings:
    """Gain, range, noise and contact as a hand leaves them."""
    sliders = smooth_noise(rng, (scanner.depth_cells, 4), (scanner.depth_cells / 9.0, 4.0))[:, 0]
    contact = smooth_noise(rng, (4, scanner.beam_cells), (4.0, scanner.beam_cells / 22.0))[0]
    worst_db = rng.choice((1.5, 4.0, 9.0), p=(0.55, 0.3, 0.15))
    far_loss = float(scanner.attenuation_db(0.55)[-1])
    return Settings(
        dynamic_range_db=rng.uniform(52.0, 66.0),
        headroom_db=rng.uniform(17.0, 27.0),
        noise_db=-far_loss - rng.uniform(20.0, 42.0) + (4.0 if scanner.probe.radius_mm else 0.0),
        slider_db=(rng.uniform(0.3, 2.0) * sliders).astype(np.float32),
        coupling_db=(worst_db * np.maximum(contact - 0.4, 0.0) / 1.5).astype(np.float32),
    )
