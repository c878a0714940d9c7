"""What scatters how strongly where, in material coordinates: the parts that all anatomies share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import FloatField, smooth_noise
from physedge.physics.scenes.inclusion import Inclusion, draw_outline
from physedge.physics.scenes.scanner import Probe

F32 = NDArray[np.float32]

FIELD_CELLS = (512, 512)
"""Cells of the fields that an anatomy is drawn on: `(z, x)`."""


class Background(Protocol):
    """Tissue without its inclusions."""

    def echogenicity_db(self, x_mm: F32, z_mm: F32) -> F32:
        """Backscatter level relative to the picture's reference, at material points."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """Everything that scatters.

    Attributes:
        background: Layers or parenchyma.
        inclusions: Lesions, cysts, vessels.
        attenuation_slope: Mean tissue attenuation, dB/(cm MHz).
    """

    background: Background
    inclusions: tuple[Inclusion, ...]
    attenuation_slope: float


def wavy_depth(rng: np.random.Generator, mean_mm: float, swing_mm: float, cells: float) -> FloatField:
    """`(x cell,)` a depth that undulates along x."""
    noise = smooth_noise(rng, (4, FIELD_CELLS[1]), (4.0, cells))[0]
    return np.asarray(mean_mm + swing_mm * noise / max(float(np.abs(noise).max()), 1e-6), dtype=np.float32)


def lesion_places(rng: np.random.Generator, reach_mm: float) -> list[float]:
    """Lateral centres: none now and then, mostly one, sometimes two apart from each other."""
    count = int(rng.choice(3, p=(0.07, 0.83, 0.10)))
    first = rng.uniform(-reach_mm, reach_mm)
    return [first, first - np.copysign(1.6 * reach_mm, first)][:count]


def draw_cyst(rng: np.random.Generator, probe: Probe) -> Inclusion:
    """A cyst: smooth, thin-walled, without echoes and nearly without attenuation; no lesion of the mask."""
    width = probe.depth_mm * rng.uniform(0.025, 0.075)
    return Inclusion(
        centre_x_mm=rng.uniform(-0.42, 0.42) * (probe.span if probe.radius_mm == 0.0 else probe.depth_mm),
        centre_z_mm=probe.depth_mm * rng.uniform(0.2, 0.7),
        semi_x_mm=width,
        semi_z_mm=width * rng.uniform(0.6, 0.95),
        semi_y_mm=width * rng.uniform(2.0, 3.0),
        bend=0.0,
        tilt=rng.normal(0.0, 0.25),
        outline=draw_outline(rng, lobulation=0.05, spiculation=0.0),
        level_db=-48.0,
        texture_db=0.0,
        softness=0.02,
        rim_db=rng.uniform(3.0, 7.0),
        attenuation_change=-0.45,
        is_lesion=False,
    )


def without_overlap(lesions: tuple[Inclusion, ...], others: tuple[Inclusion, ...]) -> tuple[Inclusion, ...]:
    """The lesions, and those other bodies that stand clear of them."""
    clear = tuple(
        body
        for body in others
        if all(
            np.hypot(body.centre_x_mm - lesion.centre_x_mm, body.centre_z_mm - lesion.centre_z_mm)
            > body.reach_mm + lesion.reach_mm
            for lesion in lesions
        )
    )
    return lesions + clear
