"""What stands in the body: inclusions of many shapes, the background's texture, and the true images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.eit.mesh import points_in_triangles
from physedge.physics.eit.pixels import IMAGE_PX, disk_mask, pixel_centres

Points = NDArray[np.float64]
Radius = Callable[[NDArray[np.float64]], NDArray[np.float64]]

_WALL = 0.97
_CLEARANCE = 0.06
_TRIES = 60
_SUBPIXELS = 4
RESISTIVE_RATIO, CONDUCTIVE_RATIO = (0.05, 0.7), (1.4, 20.0)
SMALL_SIZES = (0.02, 0.1)
_SMALL_SIZE = 0.12
"""Below it a body is not much larger than a triangle, and needs more points in each."""
_SMALL_WALL = 0.99
_LARGEST = {1: 0.6, 2: 0.42}
_LARGEST_OF_MANY = 0.3
SHAPES = ("ellipse", "polygon", "blob", "annulus")
UNSEEN_SHAPES = ("star", "crescent", "bar")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """One body in the disk, star-shaped around its centre but for a hole.

    Attributes:
        centre: x, y.
        size: Largest distance of its border from the centre.
        border: Distance of the border from the centre, by angle (radians), at most `size`.
        hole: Distance below which it is hollow, as a fraction of the border; 0 for none.
        cut: x, y, radius of a disk that is cut out, absolute; radius 0 for none.
        log_ratio: ln of its conductivity over the background's.
    """

    centre: tuple[float, float]
    size: float
    border: Radius
    log_ratio: float
    hole: float = 0.0
    cut: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def contains(self, points: Points) -> NDArray[np.bool_]:
        """Which of the points (2, ...) lie in it."""
        dx, dy = points[0] - self.centre[0], points[1] - self.centre[1]
        found: NDArray[np.bool_] = dx**2 + dy**2 <= (1 + 1e-9) * self.size**2
        # Only what lies near is worth an angle.
        x, y, dx, dy = points[0][found], points[1][found], dx[found], dy[found]
        radius, border = np.hypot(dx, dy), self.border(np.arctan2(dy, dx))
        outside_cut = np.hypot(x - self.cut[0], y - self.cut[1]) >= self.cut[2]
        found[found] = (radius <= border) & (radius >= self.hole * border) & outside_cut
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """A body's content.

    Attributes:
        inclusions: None overlaps another.
        background: Conductivity without texture.
        texture: (wave, 4): amplitude, wave numbers along x and y, phase; their sum is ln of the texture.
    """

    inclusions: tuple[Inclusion, ...]
    background: float = 1.0
    texture: NDArray[np.float64]

    def reference(self, points: Points) -> NDArray[np.float64]:
        """Conductivity at the points (2, ...) without inclusions."""
        amplitude, kx, ky, phase = (self.texture[:, k].reshape(-1, *(1,) * (points.ndim - 1)) for k in range(4))
        waves = (amplitude * np.cos(kx * points[0] + ky * points[1] + phase)).sum(axis=0)
        return np.asarray(self.background * np.exp(waves))

    def log_change(self, points: Points) -> NDArray[np.float64]:
        """Ln of the conductivity over that without inclusions."""
        change = np.zeros(points.shape[1:])
        for inclusion in self.inclusions:
            change[inclusion.contains(points)] = inclusion.log_ratio
        return change

    def conductivity(self, points: Points, triangles: NDArray[np.int64]) -> NDArray[np.float64]:
        """(triangle,): its mean over every triangle, so that small bodies and borders are as large as they are.

        Args:
            points: (2, node) of the mesh.
            triangles: (3, triangle).
        """
        centroids = points[:, triangles].mean(axis=1)
        reach = float(np.hypot(*(points[:, triangles] - centroids[:, np.newaxis])).max())
        near = np.zeros(triangles.shape[1], bool)
        for one in self.inclusions:
            near |= np.hypot(centroids[0] - one.centre[0], centroids[1] - one.centre[1]) <= one.size + reach
        is_small = any(one.size < _SMALL_SIZE for one in self.inclusions)
        within = points_in_triangles(points, triangles[:, near], 6 if is_small else 3)
        change = np.ones(triangles.shape[1])
        change[near] = np.exp(self.log_change(within)).mean(axis=-1)
        return self.reference(centroids) * change

    def image(self, side_px: int = IMAGE_PX, *, turn_deg: float = 0.0) -> NDArray[np.float32]:
        """The true image, float32 (height, width): ln of the change averaged over each pixel, 0 outside the disk.

        Args:
            side_px: Of the square image.
            turn_deg: By which the body is turned, counter-clockwise.
        """
        x, y = pixel_centres(side_px * _SUBPIXELS)
        cos, sin = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
        fine = np.stack([cos * x + sin * y, cos * y - sin * x])
        change = self.log_change(fine).reshape(side_px, _SUBPIXELS, side_px, _SUBPIXELS).mean(axis=(1, 3))
        image: NDArray[np.float32] = (change * disk_mask(side_px)).astype(np.float32)
        return image


def draw_phantom(
    generator: np.random.Generator,
    *,
    shapes: tuple[str, ...] = SHAPES,
    counts: tuple[int, int] = (1, 4),
    small_share: float = 0.0,
) -> Phantom:
    """Draw inclusions that do not overlap, and a background within 10 % of 1 with a smooth texture.

    Args:
        generator: Of everything.
        shapes: To choose from: keys of the table of shapes.
        counts: Fewest and most inclusions; fewer come out where they find no room.
        small_share: Probability of a single small disk instead, 2 to 10 % of the radius, as often at every distance
            from the middle.
    """
    if generator.uniform() < small_share:
        inclusions = [_draw_small(generator)]
    else:
        inclusions = _draw_inclusions(generator, shapes, int(generator.integers(counts[0], counts[1] + 1)))
    return Phantom(
        inclusions=tuple(inclusions),
        background=float(generator.uniform(0.9, 1.1)),
        texture=draw_texture(generator, amplitude=0.05),
    )


def _draw_small(generator: np.random.Generator) -> Inclusion:
    size = float(generator.uniform(*SMALL_SIZES))
    distance, angle = generator.uniform(0, _SMALL_WALL - size), generator.uniform(0, 2 * np.pi)
    return Inclusion(
        centre=(distance * float(np.cos(angle)), distance * float(np.sin(angle))),
        size=size,
        border=_ellipse(size, size, 0),
        log_ratio=_draw_log_ratio(generator),
    )


def _draw_log_ratio(generator: np.random.Generator) -> float:
    low, high = RESISTIVE_RATIO if generator.uniform() < 0.5 else CONDUCTIVE_RATIO
    return float(generator.uniform(np.log(low), np.log(high)))


def _draw_inclusions(generator: np.random.Generator, shapes: tuple[str, ...], wanted: int) -> list[Inclusion]:
    inclusions: list[Inclusion] = []
    for _ in range(_TRIES):
        if len(inclusions) == wanted:
            break
        size = float(generator.uniform(0.1, _LARGEST.get(wanted, _LARGEST_OF_MANY)))
        reach, angle = _WALL - size, generator.uniform(0, 2 * np.pi)
        distance = reach * float(np.sqrt(generator.uniform()))
        centre = (distance * float(np.cos(angle)), distance * float(np.sin(angle)))
        free = all(
            np.hypot(centre[0] - other.centre[0], centre[1] - other.centre[1]) > size + other.size + _CLEARANCE
            for other in inclusions
        )
        if free:
            log_ratio = _draw_log_ratio(generator)
            kind = shapes[int(generator.integers(len(shapes)))]
            inclusions.append(_DRAW[kind](generator, centre, size, log_ratio))
    return inclusions


def draw_texture(generator: np.random.Generator, *, amplitude: float, waves: int = 4) -> NDArray[np.float64]:
    """(wave, 4) of `Phantom.texture`, with the given rms amplitude."""
    return np.stack(
        [
            np.full(waves, amplitude * np.sqrt(2 / waves)),
            generator.uniform(-6, 6, waves),
            generator.uniform(-6, 6, waves),
            generator.uniform(0, 2 * np.pi, waves),
        ],
        axis=1,
    )


def thorax(generator: np.random.Generator, *, inflation: float = 0.5) -> Phantom:
    """Two lungs and a heart, for demonstrations: the lungs' conductivity falls with the air in them.

    Args:
        generator: Of small differences between bodies.
        inflation: 0 (end of expiration) to 1 (end of a deep inspiration).
    """
    lung = float(np.log(0.75) + (np.log(0.3) - np.log(0.75)) * inflation)
    parts = []
    for side in (-1.0, 1.0):
        wide, tall = generator.uniform(0.25, 0.3), generator.uniform(0.42, 0.48)
        parts.append(
            Inclusion(centre=(0.42 * side, -0.02), size=tall, border=_ellipse(wide, tall, -0.2 * side), log_ratio=lung)
        )
    heart = Inclusion(centre=(0.06, 0.5), size=0.2, border=_ellipse(0.2, 0.16, 0.5), log_ratio=float(np.log(1.6)))
    return Phantom(inclusions=(*parts, heart), texture=draw_texture(generator, amplitude=0.03))


def _ellipse(a: float, b: float, turn: float) -> Radius:
    return lambda angle: a * b / np.hypot(b * np.cos(angle - turn), a * np.sin(angle - turn))


def _polygon(corners: NDArray[np.float64]) -> Radius:
    """Border of the polygon with corners (corner, 2) around the origin, counter-clockwise, the origin inside."""

    def border(angle: NDArray[np.float64]) -> NDArray[np.float64]:
        direction = np.stack([np.cos(angle), np.sin(angle)])
        nearest = np.full(angle.shape, np.inf)
        for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
            normal = np.array([b[1] - a[1], a[0] - b[0]])
            along = normal[0] * direction[0] + normal[1] * direction[1]
            with np.errstate(divide="ignore"):
                nearest = np.where(along > 1e-9, np.minimum(nearest, (normal @ a) / along), nearest)
        return nearest

    return border


def _draw_ellipse(
    generator: np.random.Generator, centre: tuple[float, float], size: float, log_ratio: float
) -> Inclusion:
    border = _ellipse(size, size * generator.uniform(0.5, 1.0), generator.uniform(0, np.pi))
    return Inclusion(centre=centre, size=size, border=border, log_ratio=log_ratio)


def _draw_polygon(
    generator: np.random.Generator, centre: tuple[float, float], size: float, log_ratio: float
) -> Inclusion:
    count = int(generator.integers(3, 6))
    angles = (
        generator.uniform(0, 2 * np.pi) + 2 * np.pi * (np.arange(count) + generator.uniform(-0.15, 0.15, count)) / count
    )
    corners = size * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return Inclusion(centre=centre, size=size, border=_polygon(corners), log_ratio=log_ratio)


def _draw_blob(generator: np.random.Generator, centre: tuple[float, float], size: float, log_ratio: float) -> Inclusion:
    order = np.arange(2, 6)
    height = generator.normal(0, 0.25, 4) / order * 2
    phase = generator.uniform(0, 2 * np.pi, 4)

    def border(angle: NDArray[np.float64]) -> NDArray[np.float64]:
        waves = sum(h * np.cos(k * angle + p) for h, k, p in zip(height, order, phase, strict=True))
        return np.asarray(size * np.clip(0.75 * np.exp(waves), 0.3, 1.0))

    return Inclusion(centre=centre, size=size, border=border, log_ratio=log_ratio)


def _draw_annulus(
    generator: np.random.Generator, centre: tuple[float, float], size: float, log_ratio: float
) -> Inclusion:
    solid = _draw_ellipse(generator, centre, size, log_ratio)
    return Inclusion(
        centre=centre, size=size, border=solid.border, hole=float(generator.uniform(0.4, 0.7)), log_ratio=log_ratio
    )


def _draw_star(generator: np.random.Generator, centre: tuple[float, float], size: float, log_ratio: float) -> Inclusion:
    points, turn = int(generator.integers(4, 7)), generator.uniform(0, np.pi)
    return Inclusion(
        centre=centre,
        size=size,
        border=lambda angle: size * (0.68 + 0.32 * np.cos(points * angle + turn)),
        log_ratio=log_ratio,
    )


def _draw_crescent(
    generator: np.random.Generator, centre: tuple[float, float], size: float, log_ratio: float
) -> Inclusion:
    turn = generator.uniform(0, 2 * np.pi)
    cut = (centre[0] + 0.6 * size * float(np.cos(turn)), centre[1] + 0.6 * size * float(np.sin(turn)), 0.75 * size)
    return Inclusion(centre=centre, size=size, border=_ellipse(size, size, 0), cut=cut, log_ratio=log_ratio)


def _draw_bar(generator: np.random.Generator, centre: tuple[float, float], size: float, log_ratio: float) -> Inclusion:
    turn, half = generator.uniform(0, np.pi), generator.uniform(0.15, 0.3)
    base = np.array([[-1, -half], [1, -half], [1, half], [-1, half]]) * size / np.hypot(1, half)
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return Inclusion(centre=centre, size=size, border=_polygon(base @ rotation), log_ratio=log_ratio)


_DRAW: dict[str, Callable[[np.random.Generator, tuple[float, float], float, float], Inclusion]] = {
    "ellipse": _draw_ellipse,
    "polygon": _draw_polygon,
    "blob": _draw_blob,
    "annulus": _draw_annulus,
    "star": _draw_star,
    "crescent": _draw_crescent,
    "bar": _draw_bar,
}
