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
        misfit: Distance of answer and offsets from the measured frame, over the size of that frame.
        offsets: (measurement,): what each channel reads too much whatever is driven; 0 where not asked for.
    """

    conductivity: NDArray[np.float64]
    contact_impedance: NDArray[np.float64]
    frame: NDArray[np.float64]
    misfit: float
    offsets: NDArray[np.float64]


def fit_background(
    model: CompleteElectrodeModel,
    protocol: VoltageProtocol,
    frame: NDArray[np.float64],
    *,
    steps: int = 8,
    accuracy: float = 1e-3,
    has_offsets: bool = False,
) -> AbsoluteFit:
    """One conductivity and one contact impedance for each electrode: what a homogeneous tank is.

    Args:
        model: Of the tank.
        protocol: Of the frame.
        frame: (voltage,), measured.
        steps: Of Gauss-Newton on the logarithms.
        accuracy: Of model and device, as a share of the frame's rms; a finer one than they have drives the contact
            impedances out of reason.
        has_offsets: Fit a constant to every measurement channel too, as some devices have.
    """
    triangles, electrodes = len(model.areas), model.tank.electrodes
    basis = np.zeros((triangles + electrodes, 1 + electrodes))
    basis[:triangles, 0] = 1
    basis[triangles:, 1:] = np.eye(electrodes)
    prior = np.concatenate([[0.0], np.full(electrodes, 1 / _IMPEDANCE_DEVIATION)])
    start = model.solve(np.ones(triangles), np.full(electrodes, CONTACT_IMPEDANCE)).frame(protocol)
    # A larger conductivity divides all voltages: the first guess is exact but for the contact impedances.
    first = float(np.log((start @ start) / (start @ frame)))
    weight, channels = 1 / accuracy, _Channels(protocol, has_offsets=has_offsets)
    return _newton(model, protocol, frame, basis, np.diag(prior**2), first, steps, weight=weight, channels=channels)


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
    # The offsets are the device's: those of the background are taken off, not fitted again to the targets.
    frame = frame - background.offsets[protocol.index[1]]
    return _newton(model, protocol, frame, basis, prior, first, steps, weight=1e2, offset=impedance)


class _Channels:
    """Takes constants of the measurement channels out of whatever has a row a voltage.

    A constant that is fitted to every channel leaves of the data what differs from the channel's mean over all
    injections, so that it needs no unknown.
    """

    def __init__(self, protocol: VoltageProtocol, *, has_offsets: bool) -> None:
        self._channel = protocol.index[1]
        self._count = protocol.voltages.shape[1]
        self._has_offsets = has_offsets

    def means(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(measurement,) of (voltage,), 0 where there are no offsets."""
        if not self._has_offsets:
            return np.zeros(self._count)
        sums = np.bincount(self._channel, rows, minlength=self._count)
        return np.asarray(sums / np.maximum(np.bincount(self._channel, minlength=self._count), 1))

    def without(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """The rows (voltage, ...) less their channel's mean."""
        if not self._has_offsets:
            return rows
        columns = rows.reshape(len(rows), -1)
        means = np.stack([self.means(column)[self._channel] for column in columns.T], axis=1)
        return np.asarray((columns - means).reshape(rows.shape))


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
    channels: _Channels | None = None,
) -> AbsoluteFit:
    """Gauss-Newton on logarithms `first + basis @ unknowns`, with a step that is halved while it makes things worse."""
    triangles, electrodes = len(model.areas), model.tank.electrodes
    base = np.concatenate([np.full(triangles, first), np.full(electrodes, np.log(CONTACT_IMPEDANCE))])
    base = base if offset is None else base + offset
    scale = weight / np.sqrt(np.mean(frame**2))
    channels = channels or _Channels(protocol, has_offsets=False)

    def evaluate(unknowns: NDArray[np.float64]) -> tuple[AbsoluteFit, NDArray[np.float64], float]:
        values = np.exp(base + basis @ unknowns)
        conductivity, impedance = values[:triangles], values[triangles:]
        fields = model.solve(conductivity, impedance)
        answer = fields.frame(protocol)
        rest = channels.without(frame - answer)
        cost = float(np.sum((scale * rest) ** 2) + unknowns @ prior @ unknowns)
        parts = [model.jacobian(fields, protocol) * conductivity]
        parts.append(model.impedance_jacobian(fields, protocol, impedance) * impedance)
        fit = AbsoluteFit(
            conductivity=conductivity,
            contact_impedance=impedance,
            frame=answer,
            misfit=float(np.linalg.norm(rest) / np.linalg.norm(frame)),
            offsets=channels.means(frame - answer),
        )
        return fit, channels.without(np.concatenate(parts, axis=1) @ basis), cost

    unknowns = np.zeros(basis.shape[1])
    fit, jacobian, cost = evaluate(unknowns)
    for _ in range(steps):
        hessian = scale**2 * jacobian.T @ jacobian + prior
        slope = scale**2 * jacobian.T @ channels.without(frame - fit.frame) - prior @ unknowns
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
