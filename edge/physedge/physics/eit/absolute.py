"""Absolute imaging by Gauss-Newton: conductivities and contact impedances from one frame, without a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge.physics.eit.forward import CompleteElectrodeModel
from physedge.physics.eit.linear import CONTACT_IMPEDANCE
from physedge_runtime.voltage_protocol import VoltageProtocol

_HALVINGS = 5
_IMPEDANCE_DEVIATION = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsoluteFit:
    """What a frame says of a body.

    Attributes:
        conductivity: (triangle,), in units where the device's current and the body's radius are 1.
        contact_impedance: (electrode,).
        frame: (voltage,) that the model answers.
        misfit: Its distance from the measured frame, over the size of that frame.
    """

    conductivity: NDArray[np.float64]
    contact_impedance: NDArray[np.float64]
    frame: NDArray[np.float64]
    misfit: float


def fit_background(
    model: CompleteElectrodeModel, protocol: VoltageProtocol, frame: NDArray[np.float64], *, steps: int = 8
) -> AbsoluteFit:
    """One conductivity and one contact impedance for each electrode: what a homogeneous tank is.

    Args:
        model: Of the tank.
        protocol: Of the frame.
        frame: (voltage,), measured.
        steps: Of Gauss-Newton on the logarithms.
    """
    triangles, electrodes = len(model.areas), model.tank.electrodes
    basis = np.zeros((triangles + electrodes, 1 + electrodes))
    basis[:triangles, 0] = 1
    basis[triangles:, 1:] = np.eye(electrodes)
    prior = np.concatenate([[0.0], np.full(electrodes, 1 / _IMPEDANCE_DEVIATION)])
    start = model.solve(np.ones(triangles), np.full(electrodes, CONTACT_IMPEDANCE)).frame(protocol)
    # A larger conductivity divides all voltages: the first guess is exact but for the contact impedances.
    first = float(np.log((start @ start) / (start @ frame)))
    return _newton(model, protocol, frame, basis, np.diag(prior**2), first, steps, weight=1e3)


def gauss_newton(
    model: CompleteElectrodeModel,
    protocol: VoltageProtocol,
    frame: NDArray[np.float64],
    *,
    background: AbsoluteFit,
    strength: float = 3.0,
    steps: int = 6,
) -> AbsoluteFit:
    """A conductivity for every triangle, smooth, near the background; the contact impedances stay as they are.

    Args:
        model: Of the tank, on a coarse mesh.
        protocol: Of the frame.
        frame: (voltage,), measured.
        background: Fitted before, to the homogeneous tank or to this frame.
        strength: Of the prior: larger is smoother.
        steps: Of Gauss-Newton on the logarithms.
    """
    triangles, electrodes = len(model.areas), model.tank.electrodes
    basis = np.zeros((triangles + electrodes, triangles))
    basis[:triangles] = np.eye(triangles)
    impedance = np.concatenate([np.zeros(triangles), np.log(background.contact_impedance / CONTACT_IMPEDANCE)])
    prior = strength * (_neighbours(model) + 0.01 * np.eye(triangles))
    first = float(np.log(background.conductivity).mean())
    return _newton(model, protocol, frame, basis, prior, first, steps, weight=1e2, offset=impedance)


def _newton(
    model: CompleteElectrodeModel,
    protocol: VoltageProtocol,
    frame: NDArray[np.float64],
    basis: NDArray[np.float64],
    prior: NDArray[np.float64],
    first: float,
    steps: int,
    *,
    weight: float,
    offset: NDArray[np.float64] | None = None,
) -> AbsoluteFit:
    """Gauss-Newton on logarithms `first + basis @ unknowns`, with a step that is halved while it makes things worse."""
    triangles, electrodes = len(model.areas), model.tank.electrodes
    base = np.concatenate([np.full(triangles, first), np.full(electrodes, np.log(CONTACT_IMPEDANCE))])
    base = base if offset is None else base + offset
    scale = weight / np.sqrt(np.mean(frame**2))

    def evaluate(unknowns: NDArray[np.float64]) -> tuple[AbsoluteFit, NDArray[np.float64], float]:
        values = np.exp(base + basis @ unknowns)
        conductivity, impedance = values[:triangles], values[triangles:]
        fields = model.solve(conductivity, impedance)
        answer = fields.frame(protocol)
        cost = float(np.sum((scale * (frame - answer)) ** 2) + unknowns @ prior @ unknowns)
        parts = [model.jacobian(fields, protocol) * conductivity]
        parts.append(model.impedance_jacobian(fields, protocol, impedance) * impedance)
        fit = AbsoluteFit(
            conductivity=conductivity,
            contact_impedance=impedance,
            frame=answer,
            misfit=float(np.linalg.norm(frame - answer) / np.linalg.norm(frame)),
        )
        return fit, np.concatenate(parts, axis=1) @ basis, cost

    unknowns = np.zeros(basis.shape[1])
    fit, jacobian, cost = evaluate(unknowns)
    for _ in range(steps):
        hessian = scale**2 * jacobian.T @ jacobian + prior
        slope = scale**2 * jacobian.T @ (frame - fit.frame) - prior @ unknowns
        step = np.linalg.lstsq(hessian, slope, rcond=None)[0]
        for _ in range(_HALVINGS):
            found = evaluate(unknowns + step)
            if found[2] < cost:
                unknowns = unknowns + step
                fit, jacobian, cost = found
                break
            step = 0.5 * step
        else:
            break
    return fit


def _neighbours(model: CompleteElectrodeModel) -> NDArray[np.float64]:
    """(triangle, triangle): the graph Laplacian of triangles with a common edge."""
    edges = np.sort(
        np.concatenate([model.triangles[[0, 1]], model.triangles[[1, 2]], model.triangles[[2, 0]]], axis=1), axis=0
    )
    owner = np.tile(np.arange(model.triangles.shape[1]), 3)
    keys = edges[0] * model.points.shape[1] + edges[1]
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    first, second = owner[order[same]], owner[order[same + 1]]
    laplacian = np.zeros((model.triangles.shape[1],) * 2)
    np.add.at(laplacian, (first, second), -1)
    np.add.at(laplacian, (second, first), -1)
    laplacian[np.diag_indices_from(laplacian)] = -laplacian.sum(axis=1)
    return laplacian
