"""A breast under a flat array: five layers, benign and malignant lesions, cysts."""

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
class Breast:
    """Skin, fat with septa, fibroglandular tissue, pectoral muscle, and what lies under the ribs.

    Attributes:
        mm_per_cell: Size of a cell of the fields.
        borders: `(border, x cell)` mean depth in mm of the four borders between the five layers.
        levels_db: `(5,)` mean echogenicity of the layers.
        texture: `(z, x)` wide, flat texture: strands and lobules.
        septa: `(z, x)` field whose zero lines are the bright septa.
        striae: `(z, x)` long thin muscle fibres.
        septa_db: Brightness of the septa above the fat.
    """

    mm_per_cell: float
    borders: FloatField
    levels_db: FloatField
    texture: FloatField
    septa: FloatField
    striae: FloatField
    septa_db: float

    def echogenicity_db(self, x_mm: F32, z_mm: F32) -> F32:
        """Sum of the layer's level, its texture, and the bright lines at its borders."""
        scale = np.float32(1.0 / self.mm_per_cell)
        row, column = z_mm * scale, x_mm * scale
        cell = np.floor(column).astype(np.int32) % self.borders.shape[1]
        borders = self.borders[:, cell]
        layer = np.sum(z_mm[None] > borders, axis=0)
        texture = read_field(self.texture, row, column)
        septa = read_field(self.septa, row, column)
        striae = read_field(self.striae, row, column)
        strand = np.exp(-((septa / np.float32(0.16)) ** 2)) * np.float32(self.septa_db)
        fibre = np.maximum(striae - np.float32(0.7), 0.0) * np.float32(9.0)
        level = self.levels_db[layer]
        level += np.choose(layer, [texture, strand + 2 * texture, 5 * texture + 0.4 * strand, fibre + texture, texture])
        # Fascia: a thin bright sheet at every border, the skin's lower one and the pleura brightest.
        for border, height_db, thickness_mm in zip(
            borders, (10.0, 9.0, 11.0, 20.0), (0.3, 0.35, 0.3, 0.45), strict=True
        ):
            sheet = np.exp(-(((z_mm - border - np.float32(0.12) * striae) / np.float32(thickness_mm)) ** 2))
            level += np.float32(height_db) * sheet * smooth_step(0.75 + 0.4 * texture)
        return np.asarray(level, dtype=np.float32)


def draw_breast(rng: np.random.Generator, probe: Probe) -> Anatomy:
    """A breast under a flat array, with one lesion and up to two cysts beside it."""
    depth = probe.depth_mm
    mm_per_cell = max(probe.span, depth * 1.2) * 1.5 / FIELD_CELLS[1]
    shares = (
        rng.uniform(0.035, 0.06),
        rng.uniform(0.16, 0.34),
        rng.uniform(0.52, 0.72),
        rng.uniform(0.8, 0.98),
    )
    swings = (0.006, 0.05, 0.05, 0.03)
    borders = np.stack([wavy_depth(rng, depth * s, depth * w, 45.0) for s, w in zip(shares, swings, strict=True)])
    gland_db = rng.uniform(-1.0, 2.0)
    levels = np.array([2.0, rng.uniform(-15.0, -9.0), gland_db, rng.uniform(-14.0, -8.0), -34.0], dtype=np.float32)
    background = Breast(
        mm_per_cell=mm_per_cell,
        borders=borders.astype(np.float32),
        levels_db=levels,
        texture=smooth_noise(
            rng, FIELD_CELLS, (rng.uniform(2.0, 4.0), rng.uniform(8.0, 18.0)), tilt=rng.normal(0.0, 0.12)
        ),
        septa=smooth_noise(
            rng, FIELD_CELLS, (rng.uniform(8.0, 13.0), rng.uniform(22.0, 40.0)), tilt=rng.normal(0.0, 0.2)
        ),
        striae=smooth_noise(rng, FIELD_CELLS, (1.2, 40.0), tilt=rng.normal(0.0, 0.1)),
        septa_db=rng.uniform(11.0, 17.0),
    )
    lesions = tuple(_breast_lesion(rng, probe, gland_db, x_mm) for x_mm in lesion_places(rng, 0.25 * probe.span))
    cysts = tuple(draw_cyst(rng, probe) for _ in range(rng.choice(3, p=(0.5, 0.35, 0.15))))
    return Anatomy(
        background=background,
        inclusions=without_overlap(lesions, cysts),
        attenuation_slope=rng.uniform(0.45, 0.65),
    )


def _breast_lesion(rng: np.random.Generator, probe: Probe, gland_db: float, x_mm: float) -> Inclusion:
    malignant = bool(rng.random() < 0.4)
    width = probe.depth_mm * np.exp(rng.uniform(np.log(0.1), np.log(0.32)))
    aspect = rng.uniform(0.8, 1.25) if malignant else rng.uniform(0.45, 0.75)
    contrast = -np.exp(rng.uniform(np.log(7.0), np.log(22.0)))
    return Inclusion(
        centre_x_mm=x_mm,
        centre_z_mm=probe.depth_mm * rng.uniform(0.3, 0.58),
        semi_x_mm=width,
        semi_z_mm=width * aspect,
        semi_y_mm=width * rng.uniform(1.0, 1.6),
        bend=0.0,
        tilt=rng.normal(0.0, 0.2),
        outline=draw_outline(
            rng,
            lobulation=rng.uniform(0.1, 0.35) if malignant else rng.uniform(0.03, 0.18),
            spiculation=rng.uniform(0.1, 0.32) if malignant else 0.0,
        ),
        level_db=gland_db + contrast,
        texture_db=rng.uniform(1.5, 4.0) if malignant else rng.uniform(0.5, 2.0),
        softness=rng.uniform(0.1, 0.35) if malignant else rng.uniform(0.02, 0.1),
        rim_db=rng.uniform(0.0, 5.0) if malignant else rng.uniform(2.0, 7.0),
        attenuation_change=rng.uniform(0.1, 0.5) if malignant else rng.uniform(-0.3, 0.1),
        is_lesion=True,
    )
