"""Total variation of a time difference: images with flat parts and edges, for work offline (some seconds each).

Lagged diffusivity (Vogel and Oman, SIAM J. Sci. Comput. 17:227, 1996): the penalty on gradients is replaced by a
weighted Laplacian, whose weights follow the image of the step before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physedge.physics.eit.linear import Linearisation, noise_deviation
from physedge.physics.eit.pixels import disk_mask

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

_RIDGE = 1e-4


def total_variation(
    linearisation: Linearisation,
    difference: NDArray[np.float64],
    *,
    strength: float = 30.0,
    smoothing: float = 0.02,
    steps: int = 12,
    noise: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """(pixel,): the image with the least misfit and total variation.

    Args:
        linearisation: Of the body.
        difference: (voltage,).
        strength: Of the total variation against the squared whitened misfit.
        smoothing: Gradient, in units of the image a pixel, below which it is penalised squarely.
        steps: Of the iteration.
        noise: (voltage,) standard deviation of the differences; `noise_deviation` where None.
    """
    from scipy.sparse import diags, identity
    from scipy.sparse.linalg import splu

    noise = noise_deviation(linearisation.frame) if noise is None else noise
    inside = disk_mask(linearisation.side_px).ravel()
    gradient = _gradient(linearisation.side_px, inside)
    jacobian = linearisation.jacobian[:, inside]
    image = np.zeros(int(inside.sum()))
    for _ in range(steps):
        slope = gradient @ image
        weights = 1 / np.sqrt(slope**2 + smoothing**2)
        precision = (strength * (gradient.T @ diags(weights) @ gradient + _RIDGE * identity(len(image)))).tocsc()
        factors = splu(precision, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
        spread = factors.solve(np.ascontiguousarray(jacobian.T))
        image = spread @ np.linalg.solve(jacobian @ spread + np.diag(noise**2), difference)
    out = np.zeros(inside.size)
    out[inside] = image
    return out


def _gradient(side_px: int, inside: NDArray[np.bool_]) -> csr_matrix:
    """(edge, pixel inside): differences of neighbours along rows and columns."""
    from scipy.sparse import csr_matrix

    number = np.full(inside.size, -1)
    number[inside] = np.arange(int(inside.sum()))
    grid = number.reshape(side_px, side_px)
    pairs = np.concatenate(
        [
            np.stack([grid[:, :-1].ravel(), grid[:, 1:].ravel()], axis=1),
            np.stack([grid[:-1].ravel(), grid[1:].ravel()], axis=1),
        ]
    )
    pairs = pairs[(pairs >= 0).all(axis=1)]
    rows = np.repeat(np.arange(len(pairs)), 2)
    values = np.tile([-1.0, 1.0], len(pairs))
    return csr_matrix((values, (rows, pairs.ravel())), shape=(len(pairs), int(inside.sum())))
