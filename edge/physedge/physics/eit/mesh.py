"""Meshes of a disk with nodes exactly at the edges of the electrodes: rings of points, joined by Delaunay.

The circle mesh that comes with finite-element libraries has a node where it happens to fall, which would quantise the
electrodes' width and every displacement of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.eit.tank import Tank

_GRADING = 1.9
"""Edge length in the middle over that at the boundary; the fields change fastest at the electrodes' edges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskMesh:
    """Triangles of the ideal disk.

    Attributes:
        points: float64 (2, node); the first nodes are the boundary's, counter-clockwise.
        triangles: (3, triangle), counter-clockwise.
        electrode_facets: Per electrode (2, facet): neighbouring boundary nodes.
    """

    points: NDArray[np.float64]
    triangles: NDArray[np.int64]
    electrode_facets: tuple[NDArray[np.int64], ...]


def disk_mesh(tank: Tank, *, facets_per_electrode: int) -> DiskMesh:
    """Mesh the ideal disk of a tank.

    Args:
        tank: Number and cover of the electrodes.
        facets_per_electrode: Edges that an electrode is divided into; the gaps get edges of at least that length.
            8 give 7,726 triangles for 16 electrodes of half cover.
    """
    from scipy.spatial import Delaunay

    width = tank.cover * tank.pitch_rad
    gap = tank.pitch_rad - width
    gap_facets = max(1, int(facets_per_electrode * gap / width))
    boundary: list[float] = []
    electrode_nodes: list[NDArray[np.int64]] = []
    for centre in tank.centres_rad:
        start = len(boundary)
        boundary += list(centre - width / 2 + width * np.arange(facets_per_electrode) / facets_per_electrode)
        electrode_nodes.append(np.arange(start, start + facets_per_electrode + 1))
        boundary += list(centre + width / 2 + gap * np.arange(gap_facets) / gap_facets)
    angles = np.array(boundary)
    rings = [np.stack([np.cos(angles), np.sin(angles)])]
    spacing = 2 * np.pi / len(angles)
    radius, odd = 1.0, True
    while True:
        # Height of an equilateral triangle of the local edge length.
        radius -= 0.87 * spacing * (_GRADING - (_GRADING - 1) * radius)
        if radius < 0.6 * spacing * _GRADING:
            break
        count = max(6, round(2 * np.pi * radius / (spacing * (_GRADING - (_GRADING - 1) * radius))))
        turned = 2 * np.pi * (np.arange(count) + 0.5 * odd) / count + angles[0]
        rings.append(radius * np.stack([np.cos(turned), np.sin(turned)]))
        odd = not odd
    points = np.concatenate([*rings, np.zeros((2, 1))], axis=1)
    triangles = Delaunay(points.T).simplices.T.astype(np.int64)
    corner = points[:, triangles]
    double_area = (corner[0, 1] - corner[0, 0]) * (corner[1, 2] - corner[1, 0])
    double_area -= (corner[0, 2] - corner[0, 0]) * (corner[1, 1] - corner[1, 0])
    # Points of one circle may be joined to slivers along it: these have no area and are no part of the disk.
    solid = np.abs(double_area) > 1e-3 * spacing**2
    triangles, double_area = triangles[:, solid], double_area[solid]
    flipped = double_area < 0
    triangles[1:, flipped] = triangles[:0:-1, flipped]
    facets = tuple(np.stack([nodes[:-1], nodes[1:]]) % len(angles) for nodes in electrode_nodes)
    return DiskMesh(points=points, triangles=triangles, electrode_facets=facets)


def mesh_of_at_least(tank: Tank, triangles: int) -> DiskMesh:
    """The coarsest mesh with this many triangles or more."""
    facets = 2
    while (mesh := disk_mesh(tank, facets_per_electrode=facets)).triangles.shape[1] < triangles:
        facets += 1
    return mesh


def mesh_of_at_most(tank: Tank, triangles: int) -> DiskMesh:
    """The finest mesh with this many triangles or fewer; the coarsest of all where there is none."""
    facets, found = 2, disk_mesh(tank, facets_per_electrode=2)
    while (mesh := disk_mesh(tank, facets_per_electrode=facets + 1)).triangles.shape[1] <= triangles:
        facets, found = facets + 1, mesh
    return found


def points_in_triangles(
    points: NDArray[np.float64], triangles: NDArray[np.int64], per_side: int
) -> NDArray[np.float64]:
    """(2, triangle, per_side ** 2): points spread evenly over every triangle, for means over it.

    Args:
        points: (2, node).
        triangles: (3, triangle).
        per_side: Points along a side of the square that is folded onto the triangle.
    """
    steps = (np.arange(per_side) + 0.5) / per_side
    first, second = (part.ravel() for part in np.meshgrid(steps, steps))
    # The unit square folded onto the unit triangle: equally dense everywhere.
    folded = first + second > 1
    a, b = np.where(folded, 1 - first, first), np.where(folded, 1 - second, second)
    corner = points[:, triangles]
    at: NDArray[np.float64] = (
        corner[:, 0, :, None] * (1 - a - b) + corner[:, 1, :, None] * a + corner[:, 2, :, None] * b
    )
    return at
