"""Anatomies for the ultrasound scene: what scatters how strongly where, in material coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import FloatField, read_field, smooth_noise, smooth_step
from physedge.physics.scenes.inclusion import Inclusion, draw_outline
from physedge.physics.scenes.scanner import Probe

F32 = NDArray[np.float32]

_FIELD_CELLS = (512, 512)


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


def _wavy(rng: np.random.Generator, mean_mm: float, swing_mm: float, cells: float) -> FloatField:
    """`(x cell,)` a depth that undulates along x."""
    noise = smooth_noise(rng, (4, _FIELD_CELLS[1]), (4.0, cells))[0]
    return np.asarray(mean_mm + swing_mm * noise / max(float(np.abs(noise).max()), 1e-6), dtype=np.float32)


def draw_breast(rng: np.random.Generator, probe: Probe) -> Anatomy:
    """A breast under a flat array, with one lesion and up to two cysts beside it."""
    depth = probe.depth_mm
    mm_per_cell = max(probe.span, depth * 1.2) * 1.5 / _FIELD_CELLS[1]
    shares = (
        rng.uniform(0.035, 0.06),
        rng.uniform(0.16, 0.34),
        rng.uniform(0.52, 0.72),
        rng.uniform(0.8, 0.98),
    )
    swings = (0.006, 0.05, 0.05, 0.03)
    borders = np.stack([_wavy(rng, depth * s, depth * w, 45.0) for s, w in zip(shares, swings, strict=True)])
    gland_db = rng.uniform(-1.0, 2.0)
    levels = np.array([2.0, rng.uniform(-15.0, -9.0), gland_db, rng.uniform(-14.0, -8.0), -34.0], dtype=np.float32)
    background = Breast(
        mm_per_cell=mm_per_cell,
        borders=borders.astype(np.float32),
        levels_db=levels,
        texture=smooth_noise(
            rng, _FIELD_CELLS, (rng.uniform(2.0, 4.0), rng.uniform(8.0, 18.0)), tilt=rng.normal(0.0, 0.12)
        ),
        septa=smooth_noise(
            rng, _FIELD_CELLS, (rng.uniform(8.0, 13.0), rng.uniform(22.0, 40.0)), tilt=rng.normal(0.0, 0.2)
        ),
        striae=smooth_noise(rng, _FIELD_CELLS, (1.2, 40.0), tilt=rng.normal(0.0, 0.1)),
        septa_db=rng.uniform(11.0, 17.0),
    )
    lesions = tuple(_breast_lesion(rng, probe, gland_db, x_mm) for x_mm in _lesion_places(rng, 0.25 * probe.span))
    cysts = tuple(_cyst(rng, probe) for _ in range(rng.choice(3, p=(0.5, 0.35, 0.15))))
    return Anatomy(
        background=background,
        inclusions=_without_overlap(lesions, cysts),
        attenuation_slope=rng.uniform(0.45, 0.65),
    )


def _lesion_places(rng: np.random.Generator, reach_mm: float) -> list[float]:
    """Lateral centres: none now and then, mostly one, sometimes two apart from each other."""
    count = int(rng.choice(3, p=(0.07, 0.83, 0.10)))
    first = rng.uniform(-reach_mm, reach_mm)
    return [first, first - np.copysign(1.6 * reach_mm, first)][:count]


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
            spiculation=rng.uniform(0.15, 0.45) if malignant else 0.0,
        ),
        level_db=gland_db + contrast,
        texture_db=rng.uniform(1.5, 4.0) if malignant else rng.uniform(0.5, 2.0),
        softness=rng.uniform(0.1, 0.35) if malignant else rng.uniform(0.02, 0.1),
        rim_db=rng.uniform(0.0, 5.0) if malignant else rng.uniform(2.0, 7.0),
        attenuation_change=rng.uniform(0.2, 0.9) if malignant else rng.uniform(-0.3, 0.1),
        is_lesion=True,
    )


def _cyst(rng: np.random.Generator, probe: Probe) -> Inclusion:
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


def draw_liver(rng: np.random.Generator, probe: Probe) -> Anatomy:
    """A liver under a convex array, with one or two focal lesions and a few vessels."""
    depth = probe.depth_mm
    mm_per_cell = 2.2 * depth / _FIELD_CELLS[1]
    background = Liver(
        mm_per_cell=mm_per_cell,
        wall_mm=_wavy(rng, depth * rng.uniform(0.1, 0.2), depth * 0.02, 60.0),
        diaphragm_mm=_wavy(rng, depth * rng.uniform(0.8, 1.05), depth * 0.09, 90.0),
        texture=smooth_noise(rng, _FIELD_CELLS, (10.0, 14.0)),
        striae=smooth_noise(rng, _FIELD_CELLS, (1.6, 30.0)),
    )
    lesions = tuple(_liver_lesion(rng, probe, x_mm) for x_mm in _lesion_places(rng, 0.22 * depth))
    vessels = tuple(_vessel(rng, probe) for _ in range(int(rng.integers(4, 10))))
    cysts = (_cyst(rng, probe),) if rng.random() < 0.25 else ()
    return Anatomy(
        background=background,
        inclusions=_without_overlap(lesions, vessels + cysts),
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


def _without_overlap(lesions: tuple[Inclusion, ...], others: tuple[Inclusion, ...]) -> tuple[Inclusion, ...]:
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
