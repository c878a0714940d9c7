"""A liver under a convex array: parenchyma, focal lesions, vessels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import FloatField, read_field, smooth_noise, smooth_step
from physedge.physics.scenes.inclusion import Inclusion, draw_outline
from physedge.physics.scenes.scanner import Probe
from physedge.physics.scenes.tissue import (
    FIELD_CELLS,
    Anatomy,
    draw_cyst,
    lesion_places,
    wavy_depth,
    without_overlap,
)

F32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Liver:
    """A fine, even parenchyma under an abdominal wall, ended by the diaphragm's bright arc.

    Attributes:
        mm_per_cell: Size of a cell of the fields.
        wall_mm: `(x cell,)` thickness of the abdominal wall.
        diaphragm_mm: `(x cell,)` depth of the diaphragm.
        texture: `(z, x)` slow variation of the parenchyma.
        striae: `(z, x)` layers of the wall.
    """

    mm_per_cell: float
    wall_mm: FloatField
    diaphragm_mm: FloatField
    texture: FloatField
    striae: FloatField

    def echogenicity_db(self, x_mm: F32, z_mm: F32) -> F32:
        """Wall layers above, parenchyma between, a dim mirror image below the diaphragm."""
        scale = np.float32(1.0 / self.mm_per_cell)
        row, column = z_mm * scale, x_mm * scale
        cell = np.floor(column).astype(np.int32) % len(self.wall_mm)
        wall = smooth_step((self.wall_mm[cell] - z_mm) / np.float32(1.5) + np.float32(0.5))
        beyond = z_mm - self.diaphragm_mm[cell]
        level = 1.3 * read_field(self.texture, row, column)
        level += wall * (4.0 * read_field(self.striae, row, column) + 1.0)
        level += np.float32(17.0) * np.exp(-((beyond / np.float32(1.1)) ** 2))
        level -= np.float32(13.0) * smooth_step(beyond / np.float32(3.0))
        level += np.float32(6.0) * np.exp(-(((z_mm - self.wall_mm[cell]) / np.float32(0.7)) ** 2))
        return np.asarray(level, dtype=np.float32)


def draw_liver(rng: np.random.Generator, probe: Probe) -> Anatomy:
    """A liver under a convex array, with one or two focal lesions and a few vessels."""
    depth = probe.depth_mm
    mm_per_cell = 2.2 * depth / FIELD_CELLS[1]
    background = Liver(
        mm_per_cell=mm_per_cell,
        wall_mm=wavy_depth(rng, depth * rng.uniform(0.1, 0.2), depth * 0.02, 60.0),
        diaphragm_mm=wavy_depth(rng, depth * rng.uniform(0.8, 1.05), depth * 0.09, 90.0),
        texture=smooth_noise(rng, FIELD_CELLS, (10.0, 14.0)),
        striae=smooth_noise(rng, FIELD_CELLS, (1.6, 30.0)),
    )
    lesions = tuple(_liver_lesion(rng, probe, x_mm) for x_mm in lesion_places(rng, 0.22 * depth))
    vessels = tuple(_vessel(rng, probe) for _ in range(int(rng.integers(4, 10))))
    cysts = (draw_cyst(rng, probe),) if rng.random() < 0.25 else ()
    return Anatomy(
        background=background,
        inclusions=without_overlap(lesions, vessels + cysts),
        attenuation_slope=rng.uniform(0.45, 0.6),
    )


def _liver_lesion(rng: np.random.Generator, probe: Probe, x_mm: float) -> Inclusion:
    width = probe.depth_mm * np.exp(rng.uniform(np.log(0.075), np.log(0.2)))
    bright = bool(rng.random() < 0.35)
    contrast = rng.uniform(5.0, 9.0) if bright else -np.exp(rng.uniform(np.log(5.0), np.log(16.0)))
    return Inclusion(
        centre_x_mm=x_mm,
        centre_z_mm=probe.depth_mm * rng.uniform(0.35, 0.65),
        semi_x_mm=width,
        semi_z_mm=width * rng.uniform(0.7, 1.1),
        semi_y_mm=width * rng.uniform(1.0, 1.6),
        bend=0.0,
        tilt=rng.uniform(-0.8, 0.8),
        outline=draw_outline(rng, lobulation=rng.uniform(0.05, 0.3), spiculation=0.0),
        level_db=contrast,
        texture_db=rng.uniform(0.5, 2.5),
        softness=rng.uniform(0.03, 0.2),
        rim_db=0.0 if bright else rng.uniform(-5.0, 4.0),
        attenuation_change=rng.uniform(-0.15, 0.3),
        is_lesion=True,
    )


def _vessel(rng: np.random.Generator, probe: Probe) -> Inclusion:
    """A vein cut lengthwise or across: an anechoic, elongated body with or without bright walls."""
    length = probe.depth_mm * rng.choice((rng.uniform(0.02, 0.04), rng.uniform(0.1, 0.3)))
    return Inclusion(
        centre_x_mm=rng.uniform(-0.4, 0.4) * probe.depth_mm,
        centre_z_mm=probe.depth_mm * rng.uniform(0.28, 0.78),
        semi_x_mm=length,
        semi_z_mm=min(probe.depth_mm * rng.uniform(0.014, 0.032), length),
        semi_y_mm=probe.depth_mm * 0.3,
        bend=rng.uniform(-0.25, 0.25) * length,
        tilt=rng.uniform(-1.2, 1.2),
        outline=draw_outline(rng, lobulation=0.12, spiculation=0.0),
        level_db=-40.0,
        texture_db=0.0,
        softness=0.04,
        rim_db=rng.choice((0.0, 8.0)),
        attenuation_change=-0.3,
        is_lesion=False,
    )
