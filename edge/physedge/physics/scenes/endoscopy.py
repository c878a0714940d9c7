"""The endoscopy scene: a scope drifts in a colon and looks at a polyp, frame by frame with its exact mask."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from physedge.physics.scenes.fields import Floats, dot, rotate, unit
from physedge.physics.scenes.frame import SceneFrame, check_size
from physedge.physics.scenes.lighting import beam_falloff, irradiance, mucosa_albedo, specular, tone
from physedge.physics.scenes.lumen import Lumen, draw_lumen
from physedge.physics.scenes.motion import draw_wander
from physedge.physics.scenes.mucosa import DEBRIS_COLOUR, Skins, draw_skins, polyp_skin, wall_skin
from physedge.physics.scenes.polyp import Polyp, draw_polyp
from physedge.physics.scenes.raycast import FAR_MM, Lens, Patience, Pose, Surfaces, blocks, enlarge, follow
from physedge.physics.scenes.scope import ScopeMotion, draw_aperture, draw_scope

F32 = NDArray[np.float32]

_ANATOMY, _NOISE = 1, 2
# Rays are followed on every fourth pixel, from there on every second and on every one where an edge runs.
_COARSE, _MIDDLE = 4, 2
_STEPS = {_COARSE: 36, _MIDDLE: 20, 1: 18}
# Neighbours whose depths differ by more than this factor have an edge between them.
_EDGE = 1.03


class EndoscopyScene:
    """A colonoscopy film with at most one polyp and its exact mask.

    Args:
        seed: Chooses colon, polyp, skin, scope, motion and noise.
        height_px: Picture height.
        width_px: Picture width.

    Raises:
        ValueError: The seed is below 0 or the picture smaller than 64 x 64.
    """

    def __init__(self, seed: int, height_px: int = 480, width_px: int = 640) -> None:
        from scipy.ndimage import maximum_filter

        check_size(seed, height_px, width_px)
        self.seed = seed
        self.height_px = height_px
        self.width_px = width_px
        rng = np.random.default_rng([seed, _ANATOMY])
        self.scope = draw_scope(rng, height_px, width_px)
        self.visible = draw_aperture(rng, height_px, width_px)
        self.motion, self.lumen, self.polyp, self._target = _draw_colon(rng, self.scope.lens)
        self.skins: Skins = draw_skins(rng)
        self.surfaces = Surfaces(self.lumen, self.polyp)
        self._rays = {size: self.scope.lens.directions(size) for size in (1, _MIDDLE, _COARSE)}
        self._seen = {1: self.visible, _MIDDLE: maximum_filter(self.visible, size=3)[::_MIDDLE, ::_MIDDLE]}
        self._shown = np.flatnonzero(self.visible)
        self._shown_rays = self._rays[1][:, self.visible]

    def pose(self, index: int) -> Pose:
        """Where the scope is at a frame, and how it is turned."""
        return self.motion.pose(index, self._target, self.scope.lens)

    def depth(self, index: int) -> F32:
        """`(height, width)` distance in mm from the lens to the first surface along each pixel's ray."""
        pose = self.pose(index)
        rays = self._rays[_COARSE]
        begin = np.full(rays[0].size, 0.5, dtype=np.float32)
        coarse = follow(
            self.surfaces, pose.origin, rotate(pose.turn, rays.reshape(3, -1)), begin, self._patience(_COARSE)
        )
        return self._refine(pose, self._refine(pose, coarse.reshape(rays.shape[1:]), _MIDDLE), 1)

    def _patience(self, size: int) -> Patience:
        return Patience(_STEPS[size], 1.0 / self.scope.lens.focal_px)

    def _refine(self, pose: Pose, depth: F32, size: int) -> F32:
        """The depth on twice finer pixels: interpolated on smooth surfaces, followed anew along edges."""
        from scipy.ndimage import maximum_filter, minimum_filter

        rays = self._rays[size]
        rows, columns = rays.shape[1:]
        nearest = minimum_filter(depth, size=3, mode="nearest")
        farthest = maximum_filter(depth, size=3, mode="nearest")
        jump = farthest > _EDGE * nearest
        edge = np.repeat(np.repeat(jump, 2, 0), 2, 1)[:rows, :columns] & self._seen[size]
        finer = enlarge(depth, (rows, columns), 2)
        place = np.nonzero(edge)
        block = (place[0] // 2, place[1] // 2)
        start = nearest[block] * np.float32(0.98)
        edge_rays = rotate(pose.turn, rays[:, place[0], place[1]])
        finer[place] = follow(self.surfaces, pose.origin, edge_rays, start, self._patience(size), farthest[block])
        return finer

    def frame(self, index: int) -> SceneFrame:
        """The frame at `index / 30` seconds."""
        pose = self.pose(index)
        depth = self.depth(index)[self.visible]
        linear = np.empty((3, len(depth)), dtype=np.float32)
        is_polyp = np.empty(len(depth), dtype=bool)
        for block in blocks(len(depth)):
            rays = rotate(pose.turn, self._shown_rays[:, block])
            linear[:, block], is_polyp[block] = self._shade(pose, rays, depth[block])
        gain = self._exposure(linear)
        picture = np.zeros((3, self.height_px * self.width_px), dtype=np.float32)
        for block in blocks(len(depth)):
            picture[:, self._shown[block]] = tone(linear[:, block] * gain) * self.scope.tint[:, None]
        mask = np.zeros(self.height_px * self.width_px, dtype=np.uint8)
        mask[self._shown[is_polyp]] = 255
        image = self._develop(picture.reshape(3, self.height_px, self.width_px), index)
        return SceneFrame(image, mask.reshape(self.height_px, self.width_px))

    def _exposure(self, linear: F32) -> np.float32:
        """Gain that brings the picture's mean green towards the aim, as automatic exposure does."""
        level = np.mean(np.minimum(linear[1, ::7], np.quantile(linear[1, ::31], 0.9)))
        return np.float32(self.scope.brightness / max(float(level), 1e-9))

    def _shade(self, pose: Pose, rays: F32, depth: F32) -> tuple[F32, NDArray[np.bool_]]:
        """Linear RGB `(3, ray)` of the surface points at a depth along rays, and which of them are polyp."""
        points = pose.origin[:, None] + rays * depth
        wall = self.lumen.surface(points)
        skin = wall_skin(self.skins, wall.row, wall.column)
        relief = np.stack([-wall.sin * skin[3], wall.cos * skin[3], skin[2]])
        is_polyp = np.zeros(len(depth), dtype=bool)
        if self.polyp is not None:
            offset = points - self.polyp.centre[:, None]
            near = np.flatnonzero((dot(offset, offset) < self.polyp.reach_mm**2) & (depth < FAR_MM - 1.0))
            self._shade_polyp(points, wall.normal, skin, relief, is_polyp, near)
        return self._lit(pose, points, rays, wall.normal, skin, relief), is_polyp

    def _lit(self, pose: Pose, points: Floats, rays: F32, normal: F32, skin: list[F32], relief: F32) -> F32:
        """Light that comes back along the rays, `(3, ray)` linear RGB: diffuse, stray and mirrored."""
        light = pose.origin + pose.turn @ self.scope.light_mm
        to_light = light[:, None] - points
        distance = np.sqrt(dot(to_light, to_light))
        lamp = beam_falloff(-dot(pose.turn[:, 2], to_light) / distance, self.scope.beam_exponent)
        fallen = irradiance(to_light, unit(normal + np.float32(0.3) * relief)) * lamp
        albedo = mucosa_albedo(skin[0])
        albedo += (DEBRIS_COLOUR[:, None] - albedo) * skin[1]
        spread = lamp / (distance * distance)
        # Light that came by way of other walls: weaker, without a direction, coloured twice by blood.
        stray = np.float32(0.12) * spread * np.exp(-distance / np.float32(60.0))
        lobe = specular(to_light / distance, -rays, unit(normal + relief), self.skins.shininess)
        linear = albedo * (fallen + albedo * stray) + lobe * (np.float32(self.skins.gloss) * spread)
        return np.asarray(linear, dtype=np.float32)

    def _shade_polyp(
        self,
        points: Floats,
        normal: F32,
        skin: list[F32],
        relief: F32,
        is_polyp: NDArray[np.bool_],
        near: NDArray[np.intp],
    ) -> None:
        """Replace normal, skin and relief where the polyp is seen, and mark those points."""
        assert self.polyp is not None
        share, distance = self.surfaces.polyp_share(np.take(points, near, axis=1))
        touched = np.flatnonzero(share > 0.02)
        near, share, distance = near[touched], share[touched], distance[touched]
        if not len(near):
            return
        spot = np.take(points, near, axis=1)
        mixed = normal[:, near] * (1.0 - share) + self.polyp.normal(spot, distance) * share
        normal[:, near] = unit(mixed)
        own = polyp_skin(self.skins, *self.polyp.skin_cell(spot))
        for channel, value in zip(skin[:2], own[:2], strict=True):
            channel[near] += (value - channel[near]) * share
        tangents = self.polyp.frame[0][:, None] * own[2] + self.polyp.frame[1][:, None] * own[3]
        relief[:, near] += (tangents - relief[:, near]) * share
        is_polyp[near] = share > 0.5

    def _develop(self, picture: F32, index: int) -> NDArray[np.uint8]:
        """Softness of the optics, sensor noise, the dark frame, 8 bits: `(3, row, column)` to RGB pixels."""
        rng = np.random.default_rng([self.seed, _NOISE, index])
        grain = rng.standard_normal(picture.shape[1:], dtype=np.float32) * np.float32(255.0 * self.scope.noise)
        image = np.empty((*picture.shape[1:], 3), dtype=np.uint8)
        for channel, plane in enumerate(picture):
            soft = _soften(plane, self.scope.blur_px)
            soft *= np.float32(255.0)
            soft += grain
            soft[~self.visible] = np.float32(255.0 * self.scope.backdrop)
            image[..., channel] = np.clip(soft, 0.0, 255.0) + np.float32(0.5)
        return image


def _soften(plane: F32, sigma_px: float) -> F32:
    """A `(row, column)` plane blurred by a three-tap kernel of standard deviation `sigma_px`, below 0.8."""
    side = np.float32(0.5 * sigma_px**2)
    for _ in range(2):
        padded = np.pad(plane, ((1, 1), (0, 0)), mode="edge")
        # Transposed after each pass, so that both axes are blurred along whole rows.
        blurred = plane * (1 - 2 * side) + (padded[:-2] + padded[2:]) * side
        plane = np.ascontiguousarray(blurred.T, dtype=np.float32)
    return plane


def _draw_colon(rng: np.random.Generator, lens: Lens) -> tuple[ScopeMotion, Lumen, Polyp | None, F32]:
    """Motion, wall, polyp and the point the scope watches."""
    share = np.exp(rng.uniform(np.log(0.025), np.log(0.4)))
    distance = rng.uniform(15.0, 42.0)
    # A head of radius r at distance d covers about pi (f r / d)^2 pixels.
    size = distance / lens.focal_px * np.sqrt(share * lens.width_px * lens.height_px / np.pi)
    size = float(np.clip(size, 2.2, 13.0))
    angle = rng.uniform(0.0, 2.0 * np.pi)
    ahead = np.sqrt(max(distance**2 - 15.0**2, 6.0**2))
    start = 14.0
    spot_z = start + ahead
    lumen = draw_lumen(rng, clear_mm=start + 6.0, spot=(spot_z, angle), spot_mm=2.2 * size)
    room = lumen.radius_mm * 0.35
    away = -rng.uniform(-0.3, 1.0) * room
    motion = ScopeMotion(
        advance_mm=draw_wander(rng, rng.uniform(1.0, 5.0), centre=start),
        side_mm=(
            draw_wander(rng, 0.3 * room, centre=away * np.cos(angle)),
            draw_wander(rng, 0.3 * room, centre=away * np.sin(angle)),
        ),
        right=draw_wander(rng, rng.uniform(0.1, 0.5), centre=rng.uniform(-0.4, 0.4)),
        down=draw_wander(rng, rng.uniform(0.1, 0.5), centre=rng.uniform(-0.4, 0.4)),
        roll=draw_wander(rng, rng.uniform(0.05, 0.5), centre=rng.uniform(-np.pi, np.pi)),
    )
    base, normal = lumen.point_on_wall(spot_z, angle)
    polyp = draw_polyp(rng, base=base, normal=normal, size_mm=size)
    # At 1.9 radii a head fills a quarter of the picture; much nearer, the scope could drift into it.
    while motion.nearest_mm(polyp.centre) < 1.6 * float(polyp.semi_mm.max()):
        size *= 0.85
        polyp = draw_polyp(rng, base=base, normal=normal, size_mm=size)
    return motion, lumen, polyp if rng.random() > 0.07 else None, polyp.centre
