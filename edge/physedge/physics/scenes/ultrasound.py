"""The ultrasound scene: a lesion in moving tissue under a scanner, frame by frame with its exact mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.acoustics import amplitude_from_db, log_compress
from physedge.physics.scenes.breast import draw_breast
from physedge.physics.scenes.fields import read_field, smooth_noise
from physedge.physics.scenes.frame import SceneFrame, check_size
from physedge.physics.scenes.inclusion import Inclusion
from physedge.physics.scenes.liver import draw_liver
from physedge.physics.scenes.machine import draw_convex_probe, draw_flat_probe, draw_settings
from physedge.physics.scenes.scanner import Scanner
from physedge.physics.scenes.tissue import Anatomy
from physedge.physics.scenes.tissue_motion import draw_tissue_motion

F32 = NDArray[np.float32]

# Streams of random numbers, so that the anatomy of a seed does not depend on the picture's size.
_ANATOMY, _SCATTERERS, _NOISE = 1, 2, 3
# "Fully developed" speckle needs about ten scatterers in a resolution cell (Wagner 1983).
_SCATTERERS_PER_RESOLUTION_CELL = 11.0
_SHADOW_GRID = (120, 128)
_DECORRELATION_MM = 1.6


class UltrasoundScene:
    """A B-mode film: breast under a flat array or liver under a convex one, lesions with exact masks.

    Args:
        seed: Chooses anatomy, lesions, motion, machine and noise.
        height_px: Picture height.
        width_px: Picture width.

    Raises:
        ValueError: The seed is below 0 or the picture smaller than 64 x 64.
    """

    def __init__(self, seed: int, height_px: int = 480, width_px: int = 640) -> None:
        check_size(seed, height_px, width_px)
        self.seed = seed
        self.height_px = height_px
        self.width_px = width_px
        rng = np.random.default_rng([seed, _ANATOMY])
        convex = bool(rng.random() < 0.35)
        self.probe, self.mm_per_px = (draw_convex_probe if convex else draw_flat_probe)(rng, height_px, width_px)
        self.anatomy: Anatomy = (draw_liver if convex else draw_breast)(rng, self.probe)
        self.motion = draw_tissue_motion(rng, self.probe)
        self.scanner = Scanner(
            self.probe,
            depth_cells=max(int(self.probe.depth_mm / self.mm_per_px), 48),
            beam_cells=max(int(width_px * 0.42), 48),
        )
        self.settings = draw_settings(rng, self.scanner)
        self._place_scatterers()
        self._prepare_picture()

    def _place_scatterers(self) -> None:
        """Draw the scatterers of the whole region that motion can bring into view."""
        rng = np.random.default_rng([self.seed, _SCATTERERS])
        scanner, motion = self.scanner, self.motion
        slide_cells = motion.slide_mm.amplitude / (self.mm_per_px * self.width_px) * scanner.beam_cells * 1.3
        rows = (-0.06 * scanner.depth_cells, 1.06 * scanner.depth_cells)
        columns = (-slide_cells, scanner.beam_cells + slide_cells)
        cells = (rows[1] - rows[0]) * (columns[1] - columns[0])
        count = int(cells * _SCATTERERS_PER_RESOLUTION_CELL / scanner.cells_per_resolution_cell())
        depth = (rng.uniform(*rows, count) + 0.5).astype(np.float32) * np.float32(scanner.depth_step_mm)
        middle = 0.5 * (scanner.beam_cells - 1)
        beam = (rng.uniform(*columns, count) - middle).astype(np.float32) * np.float32(scanner.beam_step)
        x_mm, z_mm = self.probe.cartesian(depth, beam)
        order = np.argsort(np.rint(depth / np.float32(scanner.depth_step_mm)), kind="stable")
        self._x_mm, self._z_mm = x_mm[order], z_mm[order]
        density = count / cells
        level = self.anatomy.background.echogenicity_db(self._x_mm, self._z_mm)
        # Signs alone: of all amplitudes of unit power they need the fewest scatterers to add up to full speckle.
        signs = rng.integers(0, 2, (2, count), dtype=np.int8).astype(np.float32) * 2.0 - 1.0
        bare = signs / np.float32(np.sqrt(density))
        self._strength = bare * amplitude_from_db(level)
        self._bodies: list[tuple[Inclusion, NDArray[np.intp], F32]] = []
        for body in self.anatomy.inclusions:
            near = np.hypot(self._x_mm - body.centre_x_mm, self._z_mm - body.centre_z_mm) < body.reach_mm
            place = np.flatnonzero(near)
            inner = np.float32(body.level_db) + np.float32(body.texture_db) * _lumps(
                rng, body, self._x_mm[place], self._z_mm[place]
            )
            self._bodies.append((body, place, bare[:, place] * amplitude_from_db(inner)))

    def _prepare_picture(self) -> None:
        """Pixel positions in mm, the beam-to-pixel weights, and the shape of the sector."""
        from scipy.sparse import csr_array

        scanner, probe = self.scanner, self.probe
        top = 0.0
        if probe.radius_mm:
            half_height = probe.depth_mm + probe.radius_mm * (1.0 - np.cos(probe.span / 2.0))
            top = 0.5 * (half_height - self.height_px * self.mm_per_px) - probe.radius_mm * (
                1.0 - np.cos(probe.span / 2.0)
            )
        rows = (np.arange(self.height_px) + 0.5) * self.mm_per_px + top
        columns = (np.arange(self.width_px) - 0.5 * (self.width_px - 1)) * self.mm_per_px
        self._pixel_z_mm, self._pixel_x_mm = (
            axis.astype(np.float32) for axis in np.meshgrid(rows, columns, indexing="ij")
        )
        depth, beam = probe.polar(self._pixel_x_mm, self._pixel_z_mm)
        self.visible = (depth >= 0) & (depth < probe.depth_mm) & (np.abs(beam) <= 0.5 * probe.span)
        row, column = scanner.cells(self._pixel_x_mm[self.visible], self._pixel_z_mm[self.visible])
        row = np.clip(row, 0.0, scanner.depth_cells - 1.001)
        column = np.clip(column, 0.0, scanner.beam_cells - 1.001)
        upper, left = row.astype(np.int32), column.astype(np.int32)
        down, across = row - upper, column - left
        corner = upper * scanner.beam_cells + left
        step = scanner.beam_cells
        indices = np.stack([corner, corner + 1, corner + step, corner + step + 1], axis=1)
        weights = np.stack([(1 - down) * (1 - across), (1 - down) * across, down * (1 - across), down * across], axis=1)
        starts = np.arange(0, indices.size + 1, 4, dtype=np.int32)
        self._to_pixels = csr_array(
            (weights.astype(np.float32).ravel(), indices.ravel().astype(np.int32), starts),
            shape=(len(row), scanner.depth_cells * scanner.beam_cells),
        )

    def frame(self, index: int) -> SceneFrame:
        """The frame at `index / 30` seconds."""
        envelope = self.envelope(index)
        grey = log_compress(
            envelope,
            reference=10.0 ** (self.settings.headroom_db / 20.0),
            dynamic_range_db=self.settings.dynamic_range_db,
        )
        picture = np.zeros((self.height_px, self.width_px), dtype=np.uint8)
        shown = self._to_pixels @ (grey.ravel() * np.float32(255.0))
        picture[self.visible] = np.asarray(shown, dtype=np.float32) + np.float32(0.5)
        return SceneFrame(np.repeat(picture[..., None], 3, axis=2), self.mask(index))

    def envelope(self, index: int) -> F32:
        """`(depth, beam)` envelope after gain, before log compression; 1 is the reference echogenicity."""
        x_mm, z_mm = self.motion.picture_from_material(self._x_mm, self._z_mm, index)
        row, column = self.scanner.cells(x_mm, z_mm)
        echo = self.scanner.echo(row, column, self._amplitude(index, row, column))
        rng = np.random.default_rng([self.seed, _NOISE, index])
        noise = rng.standard_normal((*echo.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
        echo += noise * np.float32(10.0 ** (self.settings.noise_db / 20.0) / np.sqrt(2.0))
        gain_db = self.scanner.attenuation_db(self.anatomy.attenuation_slope) + self.settings.slider_db
        return np.asarray(np.abs(echo) * amplitude_from_db(gain_db)[:, None])

    def _amplitude(self, index: int, row: F32, column: F32) -> F32:
        """`(scatterer,)` strength at this frame: the plane's elevation, the bodies, what lies above."""
        elevation = self.motion.elevation_mm.at(index)
        # Two independent draws mixed by a turning angle: a stationary Gaussian process in elevation.
        turn = elevation / _DECORRELATION_MM
        first, second = np.float32(np.cos(turn)), np.float32(np.sin(turn))
        amplitude = first * self._strength[0] + second * self._strength[1]
        for body, place, inner in self._bodies:
            radius = body.radius(self._x_mm[place], self._z_mm[place], elevation)
            inside = np.clip((1.0 - radius) / np.float32(max(body.softness, 1e-3)) + np.float32(0.5), 0.0, 1.0)
            rim = np.exp(-(((radius - np.float32(1.04)) / np.float32(0.06)) ** 2)) * np.float32(body.rim_db)
            mixed = amplitude[place] * (1.0 - inside) + (first * inner[0] + second * inner[1]) * inside
            amplitude[place] = mixed * amplitude_from_db(rim)
        table = self._path_db(index)
        up, left = _SHADOW_GRID[0] / self.scanner.depth_cells, _SHADOW_GRID[1] / self.scanner.beam_cells
        cell_row = np.clip(row * np.float32(up), 0, _SHADOW_GRID[0] - 1).astype(np.int32)
        cell_column = np.clip(column * np.float32(left), 0, _SHADOW_GRID[1] - 1).astype(np.int32)
        return np.asarray(amplitude * amplitude_from_db(-table[cell_row, cell_column]), dtype=np.float32)

    def _path_db(self, index: int) -> F32:
        """`_SHADOW_GRID` round-trip loss from the skin to each cell, inclusions and contact included."""
        rows, columns = _SHADOW_GRID
        scanner = self.scanner
        depth = ((np.arange(rows) + 0.5) * (scanner.probe.depth_mm / rows)).astype(np.float32)
        beam_cell = (np.arange(columns) + 0.5) * (scanner.beam_cells / columns) - 0.5
        beam = ((beam_cell - 0.5 * (scanner.beam_cells - 1)) * scanner.beam_step).astype(np.float32)
        x_mm, z_mm = scanner.probe.cartesian(*np.meshgrid(depth, beam, indexing="ij"))
        x_mm, z_mm = self.motion.material_from_picture(x_mm, z_mm, index)
        slope = np.full(_SHADOW_GRID, self.anatomy.attenuation_slope, dtype=np.float32)
        elevation = self.motion.elevation_mm.at(index)
        for body in self.anatomy.inclusions:
            slope[body.radius(x_mm, z_mm, elevation) < 1.0] += np.float32(body.attenuation_change)
        step_cm = scanner.probe.depth_mm / rows / 10.0
        loss = np.cumsum(slope, axis=0) * np.float32(2.0 * scanner.probe.frequency_mhz * step_cm)
        nearest = np.clip(np.rint(beam_cell).astype(np.int32), 0, scanner.beam_cells - 1)
        return np.asarray(loss + self.settings.coupling_db[nearest][None, :], dtype=np.float32)

    def mask(self, index: int) -> NDArray[np.uint8]:
        """`(height, width)` uint8, 255 where a pixel's centre lies inside a lesion's outline."""
        mask = np.zeros((self.height_px, self.width_px), dtype=np.uint8)
        elevation = self.motion.elevation_mm.at(index)
        for body in self.anatomy.inclusions:
            if not body.is_lesion:
                continue
            window = self._window(body, index)
            material = self.motion.material_from_picture(self._pixel_x_mm[window], self._pixel_z_mm[window], index)
            mask[window][body.radius(*material, elevation) < 1.0] = 255
        mask[~self.visible] = 0
        return mask

    def _window(self, body: Inclusion, index: int) -> tuple[slice, slice]:
        """Rows and columns that surely hold the body at this frame."""
        centre = (np.array([body.centre_x_mm], np.float32), np.array([body.centre_z_mm], np.float32))
        x_mm, z_mm = self.motion.picture_from_material(*centre, index)
        reach = 1.3 * body.reach_mm
        first_x, first_z = float(self._pixel_x_mm[0, 0]), float(self._pixel_z_mm[0, 0])
        row = sorted(int((float(z_mm[0]) + side * reach - first_z) / self.mm_per_px) for side in (-1, 1))
        column = sorted(int((float(x_mm[0]) + side * reach - first_x) / self.mm_per_px) for side in (-1, 1))
        return slice(max(row[0], 0), max(row[1], 0)), slice(max(column[0], 0), max(column[1], 0))


def _lumps(rng: np.random.Generator, body: Inclusion, x_mm: F32, z_mm: F32) -> F32:
    """Unit-variance texture inside a body, three to six lumps across."""
    field = smooth_noise(rng, (64, 64), (5.0, 6.0))
    scale = np.float32(64.0 / (2.5 * body.reach_mm))
    return read_field(
        field, (z_mm - np.float32(body.centre_z_mm)) * scale, (x_mm - np.float32(body.centre_x_mm)) * scale
    )
