"""All that a network carries of the physics of its body, as arrays; computed once, before training.

The homogeneous frame, linear reconstructions for every missing electrode, the Jacobian, the posterior's spread.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.eit.linear import Linearisation, LinearReconstruction, linearise, noser
from physedge.physics.eit.pixels import IMAGE_PX
from physedge.physics.eit.tank import Tank
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.voltage_protocol import VoltageProtocol, find_protocol

STRENGTHS = (100.0, 10.0)
"""Of the prior, a smooth and a sharp image: chosen on simulated validation bodies and kept for all tanks."""

LARGEST_RANK = 400
_STABLE_SHARE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedPhysics:
    """What is known of the body beforehand.

    Attributes:
        frame: (voltage,) of the homogeneous body of conductivity 1.
        is_stable: (voltage,): large enough that a ratio to the measured reference is meaningful.
        basis: (pixel, rank) of all images.
        cores: (strength, electrode + 1, rank, voltage): image coefficients of a difference with all electrodes, then
            without the first, without the second ...
        jacobian_left: (voltage, rank) and
        jacobian_right: (rank, pixel), the Jacobian's two factors.
        deviation: (height, width): the posterior standard deviation of ln conductivity, for the sharp prior.
        noise: (voltage,): standard deviation that the linear reconstructions expect.
    """

    frame: NDArray[np.float32]
    is_stable: NDArray[np.float32]
    basis: NDArray[np.float32]
    cores: NDArray[np.float32]
    jacobian_left: NDArray[np.float32]
    jacobian_right: NDArray[np.float32]
    deviation: NDArray[np.float32]
    noise: NDArray[np.float32]


def rank_of(count: int) -> int:
    """Rank that the factors have: of a reciprocal protocol half of the voltages are independent."""
    return min(count // 2, LARGEST_RANK)


def protocol_of(spec: VoltageSpec) -> VoltageProtocol:
    """The patterns that a declaration means.

    Raises:
        UsageError: There is no such protocol, or it has another number of voltages (`PE-SPEC-005`).
    """
    from physedge_runtime.errors import UsageError

    protocol = find_protocol(spec.protocol, spec.electrodes)
    if protocol.count != spec.count:
        raise UsageError(
            "PE-SPEC-005",
            found=f"{spec.count} voltages for the protocol '{spec.protocol}' with {spec.electrodes} electrodes",
            expected=f"{protocol.count}",
            next_step="correct count in [voltages] of the specification",
        )
    return protocol


def linearisation_of(spec: VoltageSpec, *, side_px: int = IMAGE_PX) -> Linearisation:
    """The body and protocol of a declaration, linearised."""
    return linearise(Tank(electrodes=spec.electrodes, cover=spec.cover), protocol_of(spec), side_px=side_px)


@functools.lru_cache(maxsize=2)
def embed(spec: VoltageSpec, *, side_px: int = IMAGE_PX) -> EmbeddedPhysics:
    """Compute the physics of a body, some seconds; the last two are kept."""
    linear = linearisation_of(spec, side_px=side_px)
    touches = linear.protocol.touches()
    rank = rank_of(spec.count)
    priors = [noser(linear, strength=strength) for strength in STRENGTHS]
    banks = [[prior.reconstruction(), *(prior.reconstruction(~row) for row in touches)] for prior in priors]
    basis = common_basis([bank[0] for bank in banks], rank)
    cores = np.stack([[(basis.T @ one.basis) @ one.core for one in bank] for bank in banks])
    left, values, right = np.linalg.svd(linear.jacobian, full_matrices=False)
    return EmbeddedPhysics(
        frame=linear.frame.astype(np.float32),
        is_stable=(np.abs(linear.frame) > _STABLE_SHARE * np.sqrt(np.mean(linear.frame**2))).astype(np.float32),
        basis=basis.astype(np.float32),
        cores=cores.astype(np.float32),
        jacobian_left=(left[:, :rank] * values[:rank]).astype(np.float32),
        jacobian_right=right[:rank].astype(np.float32),
        deviation=priors[-1].posterior_deviation().reshape(side_px, side_px).astype(np.float32),
        noise=priors[0].noise.astype(np.float32),
    )


def common_basis(reconstructions: list[LinearReconstruction], rank: int) -> NDArray[np.float64]:
    """(pixel, rank) orthonormal: the directions that the images of all of them have most of, for white noise."""
    scaled = [one.basis @ one.core for one in reconstructions]
    stacked = np.concatenate([matrix / np.linalg.norm(matrix) for matrix in scaled], axis=1)
    tall, square = np.linalg.qr(stacked)
    directions: NDArray[np.float64] = tall @ np.linalg.svd(square)[0][:, :rank]
    return directions
