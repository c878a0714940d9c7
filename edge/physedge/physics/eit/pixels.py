"""The square grid of pixels that images live on, and its relation to a mesh.

Row 0 is the top (y = +1), column 0 the left (x = -1), in the canonical coordinates of `Tank`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physedge.physics.eit.mesh import points_in_triangles

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

IMAGE_PX = 64
_SAMPLES_PER_SIDE = 8


def pixel_centres(side_px: int = IMAGE_PX) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """X and y of every pixel's centre, both (height, width)."""
    at = (np.arange(side_px) + 0.5) / side_px * 2 - 1
    x, y = np.meshgrid(at, -at)
    return x, y


def disk_mask(side_px: int = IMAGE_PX) -> NDArray[np.bool_]:
    """(height, width): pixels whose centre lies in the disk."""
    x, y = pixel_centres(side_px)
    return x**2 + y**2 <= 1


def mean_over_triangles(
    points: NDArray[np.float64], triangles: NDArray[np.int64], side_px: int = IMAGE_PX
) -> csr_matrix:
    """(triangle, pixel): the matrix that averages an image over every triangle, by points spread inside each.

    A point outside the disk of pixel centres counts for the nearest pixel inside.

    Args:
        points: (2, node) of the mesh.
        triangles: (3, triangle).
        side_px: Of the square image.
    """
    from scipy.ndimage import distance_transform_edt
    from scipy.sparse import csr_matrix

    at = points_in_triangles(points, triangles, _SAMPLES_PER_SIDE)
    column = np.clip(((at[0] + 1) / 2 * side_px).astype(int), 0, side_px - 1)
    row = np.clip(((1 - at[1]) / 2 * side_px).astype(int), 0, side_px - 1)
    inside = disk_mask(side_px)
    nearest = distance_transform_edt(~inside, return_distances=False, return_indices=True)
    pixel = nearest[0][row, column] * side_px + nearest[1][row, column]
    triangle = np.repeat(np.arange(pixel.shape[0]), pixel.shape[1])
    weight = np.full(pixel.size, 1 / pixel.shape[1])
    return csr_matrix((weight, (triangle, pixel.ravel())), shape=(pixel.shape[0], side_px**2))


def laplacian(side_px: int = IMAGE_PX) -> csr_matrix:
    """(pixel, pixel): the graph Laplacian of the pixels inside the disk, neighbours along rows and columns."""
    from scipy.sparse import csr_matrix, diags

    inside = disk_mask(side_px)
    number = np.arange(side_px**2).reshape(side_px, side_px)
    pairs = [
        (number[:, :-1], number[:, 1:], inside[:, :-1] & inside[:, 1:]),
        (number[:-1], number[1:], inside[:-1] & inside[1:]),
    ]
    rows = np.concatenate([np.concatenate([a[both], b[both]]) for a, b, both in pairs])
    columns = np.concatenate([np.concatenate([b[both], a[both]]) for a, b, both in pairs])
    neighbours = csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(side_px**2, side_px**2))
    return (diags(np.asarray(neighbours.sum(axis=1)).ravel()) - neighbours).tocsr()
