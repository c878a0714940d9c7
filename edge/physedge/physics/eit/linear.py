"""Linear reconstructions of time differences: one matrix from voltages to pixels, of the rank that the data have.

All of them have the form `image = basis @ (core @ difference)`. The basis (pixel, rank) depends on the body and the
prior alone; leaving an electrode out changes the small core only, so a bank for every missing electrode is cheap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physedge.physics.eit.forward import CompleteElectrodeModel, Fields
from physedge.physics.eit.mesh import mesh_of_at_most
from physedge.physics.eit.pixels import IMAGE_PX, disk_mask, laplacian, mean_over_triangles, pixel_centres
from physedge.physics.eit.symmetry import symmetries
from physedge.physics.eit.tank import Tank
from physedge_runtime.voltage_protocol import VoltageProtocol

if TYPE_CHECKING:
    from scipy.sparse import csc_matrix

CONTACT_IMPEDANCE = 0.01
SIMULATION_TRIANGLES = 4096
"""The fewest that a simulation has; reconstructions use a quarter of that at most, so that no error cancels."""
_RANK_THRESHOLD = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Linearisation:
    """What a homogeneous body answers, and how little changes of it show.

    Attributes:
        tank: The ideal body.
        protocol: What is measured.
        frame: float64 (voltage,) of the homogeneous body of conductivity 1.
        jacobian: float64 (voltage, pixel): d voltage / d log conductivity; 0 for pixels outside the disk.
        side_px: Of the square image.
    """

    tank: Tank
    protocol: VoltageProtocol
    frame: NDArray[np.float64]
    jacobian: NDArray[np.float64]
    side_px: int


def linearise(
    tank: Tank,
    protocol: VoltageProtocol,
    *,
    side_px: int = IMAGE_PX,
    largest_triangles: int = SIMULATION_TRIANGLES // 4,
    contact_impedance: float = CONTACT_IMPEDANCE,
) -> Linearisation:
    """The homogeneous frame and the Jacobian in pixels, on a mesh coarser than that of the simulation.

    Both are means over the mesh in every turn and mirror that the protocol allows. An ideal body is the same to all
    electrodes; a coarse mesh is not, and would leave its own pattern in every image.
    """
    model = CompleteElectrodeModel(tank.ideal(), mesh_of_at_most(tank, largest_triangles))
    fields = homogeneous_fields(model, contact_impedance)
    frame, by_triangle = fields.frame(protocol), model.jacobian(fields, protocol)
    changes = symmetries(protocol)
    mean_frame, jacobian = np.zeros_like(frame), np.zeros((len(frame), side_px**2))
    for change in changes:
        factor = change.factor / len(changes)
        mean_frame += factor * frame[change.place]
        to_pixels = mean_over_triangles(change.moved(model.points), model.triangles, side_px)
        jacobian += factor[:, np.newaxis] * (to_pixels.T @ by_triangle[change.place].T).T
    return Linearisation(tank=tank, protocol=protocol, frame=mean_frame, jacobian=jacobian, side_px=side_px)


def homogeneous_fields(model: CompleteElectrodeModel, contact_impedance: float) -> Fields:
    """The answers of a body of conductivity 1."""
    return model.solve(np.ones(model.triangles.shape[1]), np.full(model.tank.electrodes, contact_impedance))


def noise_deviation(
    frame: NDArray[np.float64], *, relative: float = 5e-3, absolute: float = 1e-3
) -> NDArray[np.float64]:
    """(voltage,): standard deviation expected of a difference: a share of the voltage and a share of the rms of all."""
    deviation: NDArray[np.float64] = np.hypot(relative * frame, absolute * np.sqrt(np.mean(frame**2)))
    return deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearReconstruction:
    """A matrix in two factors.

    Attributes:
        basis: float64 (pixel, rank).
        core: float64 (rank, voltage).
    """

    basis: NDArray[np.float64]
    core: NDArray[np.float64]

    def __call__(self, differences: NDArray[np.float64]) -> NDArray[np.float64]:
        """Images (..., pixel) of differences (..., voltage)."""
        images: NDArray[np.float64] = (differences @ self.core.T) @ self.basis.T
        return images


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianPrior:
    """A Gaussian prior seen through the data: all that NOSER with a Laplace prior needs.

    Attributes:
        noise: float64 (voltage,) standard deviation of the differences.
        basis: float64 (pixel, rank), orthonormal: what images can be made of.
        scale: float64 (rank, voltage): prior covariance times Jacobian, transposed, in that basis.
        seen: float64 (voltage, voltage): Jacobian times prior covariance times Jacobian, transposed.
        precision: sparse (pixel inside, pixel inside): inverse of the prior covariance.
        inside: bool (pixel,).
    """

    noise: NDArray[np.float64]
    basis: NDArray[np.float64]
    scale: NDArray[np.float64]
    seen: NDArray[np.float64]
    precision: csc_matrix
    inside: NDArray[np.bool_]

    def reconstruction(self, kept: NDArray[np.bool_] | None = None) -> LinearReconstruction:
        """The posterior mean as a function of the differences.

        Args:
            kept: bool (voltage,) of those that may be used; all where None.
        """
        core = np.zeros((self.basis.shape[1], len(self.noise)))
        use = np.ones(len(self.noise), bool) if kept is None else kept
        small = self.seen[np.ix_(use, use)] + np.diag(self.noise[use] ** 2)
        core[:, use] = np.linalg.solve(small, self.scale[:, use].T).T
        return LinearReconstruction(basis=self.basis, core=core)

    def posterior_deviation(self) -> NDArray[np.float64]:
        """(pixel,): posterior standard deviation, 0 outside."""
        small = self.seen + np.diag(self.noise**2)
        gained = np.einsum("pr,rp->p", self.basis, self.scale @ np.linalg.solve(small, self.scale.T) @ self.basis.T)
        variance = np.zeros(self.inside.size)
        variance[self.inside] = _diagonal_of_inverse(self.precision)
        deviation: NDArray[np.float64] = np.sqrt(np.clip(variance - gained, 0, None))
        return deviation


def _range(spread: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """An orthonormal basis (pixel, rank) of the columns, and `spread` in it (rank, voltage)."""
    # By a thin QR first: the matrix is tall.
    tall, square = np.linalg.qr(spread)
    left, values, right = np.linalg.svd(square)
    rank = int((values > _RANK_THRESHOLD * values[0]).sum())
    return tall @ left[:, :rank], values[:rank, None] * right[:rank]


def noser(
    linearisation: Linearisation,
    *,
    smoothness: float = 1.0,
    sensitivity: float = 0.2,
    strength: float = 100.0,
    noise: NDArray[np.float64] | None = None,
) -> GaussianPrior:
    """NOSER with a Laplace prior: precision `strength * (sensitivity * diagonal + smoothness * L)`.

    The diagonal is the square root of that of J'J over its mean: it evens out how well the middle and the border are
    seen (Adler and Lionheart, Physiol. Meas. 27:S25, 2006).

    Args:
        linearisation: Of the body.
        smoothness: Weight of the graph Laplacian.
        sensitivity: Weight of the NOSER diagonal.
        strength: Of both: a larger one gives a smoother and smaller image.
        noise: (voltage,) standard deviation of the differences; `noise_deviation` where None.
    """
    from scipy.sparse import diags
    from scipy.sparse.linalg import splu

    noise = noise_deviation(linearisation.frame) if noise is None else noise
    inside = disk_mask(linearisation.side_px).ravel()
    jacobian = linearisation.jacobian[:, inside]
    seen_power = ((jacobian / noise[:, None]) ** 2).sum(axis=0)
    diagonal = np.sqrt(seen_power / seen_power.mean())
    precision = strength * (
        smoothness * laplacian(linearisation.side_px)[inside][:, inside] + sensitivity * diags(diagonal)
    )
    precision = precision.tocsc()
    factors = splu(precision, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    spread = np.zeros((inside.size, len(noise)))
    spread[inside] = factors.solve(np.ascontiguousarray(jacobian.T))
    basis, scale = _range(spread)
    return GaussianPrior(
        noise=noise,
        basis=basis,
        scale=scale,
        seen=linearisation.jacobian @ spread,
        precision=precision,
        inside=inside,
    )


def _diagonal_of_inverse(matrix: csc_matrix, block: int = 128) -> NDArray[np.float64]:
    """The diagonal of the inverse of a sparse matrix, some columns at a time."""
    from scipy.sparse.linalg import splu

    factors, size = splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}), matrix.shape[0]
    diagonal = np.empty(size)
    for start in range(0, size, block):
        place = np.arange(start, min(start + block, size))
        unit = np.zeros((size, len(place)))
        unit[place, np.arange(len(place))] = 1
        diagonal[place] = factors.solve(unit)[place, np.arange(len(place))]
    return diagonal


def greit(
    linearisation: Linearisation,
    *,
    target_radius: float = 0.05,
    blur_radius: float = 0.2,
    strength: float = 10.0,
    noise: NDArray[np.float64] | None = None,
) -> LinearReconstruction:
    """A matrix trained as GREIT's (Adler et al., Physiol. Meas. 30:S35, 2009).

    Small targets everywhere in the disk, each with the image that is wanted of it: the same round blur, of the same
    amplitude, wherever it stands; the matrix with the least squared distance to these under noise.

    Args:
        linearisation: Of the body.
        target_radius: Of the training targets; the disk's is 1.
        blur_radius: Of the wanted images.
        strength: Weight of the noise against the targets.
        noise: (voltage,) standard deviation of the differences; `noise_deviation` where None.
    """
    noise = noise_deviation(linearisation.frame) if noise is None else noise
    side = linearisation.side_px
    x, y = pixel_centres(side)
    inside = disk_mask(side).ravel()
    at = np.stack([x.ravel()[inside], y.ravel()[inside]], axis=1)[::2]
    distance = np.hypot(x.reshape(-1, 1) - at[:, 0], y.reshape(-1, 1) - at[:, 1])
    area = np.pi * target_radius**2 / (2 / side) ** 2
    point = np.exp(-0.5 * (distance / target_radius) ** 2) * inside[:, None]
    point *= area / point.sum(axis=0)
    wanted = 1 / (1 + np.exp((distance - blur_radius) / (blur_radius / 6))) * inside[:, None]
    wanted *= area / wanted.sum(axis=0)
    signal = linearisation.jacobian @ point
    # As many targets as pixels: their sum stands for the mean image energy of one.
    power = strength * np.diag(noise**2) * len(at) / np.mean((1 / target_radius) ** 2)
    cross = wanted @ signal.T
    matrix: NDArray[np.float64] = np.linalg.solve(signal @ signal.T + power, cross.T).T
    basis, core = _range(matrix)
    return LinearReconstruction(basis=basis, core=core)


def trained_matrix(
    images: NDArray[np.float64], differences: NDArray[np.float64], *, ridge: NDArray[np.float64]
) -> LinearReconstruction:
    """The matrix with the least squared error over examples: what a linear method can learn from the same data.

    Args:
        images: (sample, pixel).
        differences: (sample, voltage).
        ridge: (voltage,) standard deviation added to each voltage.
    """
    gram = differences.T @ differences / len(images) + np.diag(ridge**2)
    matrix: NDArray[np.float64] = np.asarray(np.linalg.solve(gram, differences.T @ images / len(images)).T, np.float64)
    basis, core = _range(matrix)
    return LinearReconstruction(basis=basis, core=core)
