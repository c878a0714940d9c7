"""Small targets across the body, simulated without errors: what shows whether a precision keeps GREIT's figures."""

from __future__ import annotations

import numpy as np

from physedge_calibrate.laws.greit import Target
from physedge_runtime.frame import VoltageSpec

_RADIUS = 0.1
_LOG_RATIO = float(np.log(2.0))
_DISTANCES = (0.0, 0.2, 0.4, 0.6, 0.8)
_TRIANGLES = 4000
# Off the axes of the mesh and of the electrodes.
_ANGLE_RAD = 0.37


def greit_targets(spec: VoltageSpec) -> tuple[Target, ...]:
    """Conducting and resistive disks at five distances from the centre, as the network measures them.

    Args:
        spec: The declared form of the voltages, with a reference.
    """
    from physedge.physics.eit.forward import CompleteElectrodeModel
    from physedge.physics.eit.linear import CONTACT_IMPEDANCE
    from physedge.physics.eit.mesh import mesh_of_at_least
    from physedge.physics.eit.tank import Tank
    from physedge_runtime.voltage_protocol import find_protocol

    protocol = find_protocol(spec.protocol, spec.electrodes)
    tank = Tank(electrodes=spec.electrodes, cover=spec.cover)
    model = CompleteElectrodeModel(tank, mesh_of_at_least(tank, _TRIANGLES))
    impedance = np.full(spec.electrodes, CONTACT_IMPEDANCE)
    empty = np.ones(model.centroids.shape[1])
    reference = model.solve(empty, impedance).frame(protocol)
    targets = []
    for index, distance in enumerate(_DISTANCES):
        angle = _ANGLE_RAD + 2 * np.pi * index / len(_DISTANCES)
        centre = (distance * float(np.cos(angle)), distance * float(np.sin(angle)))
        inside = np.hypot(model.centroids[0] - centre[0], model.centroids[1] - centre[1]) <= _RADIUS
        for amplitude in (_LOG_RATIO, -_LOG_RATIO):
            frame = model.solve(np.where(inside, np.exp(amplitude), empty), impedance).frame(protocol)
            targets.append(
                Target(
                    voltages=np.stack([reference, frame]).astype(np.float32),
                    centre=centre,
                    radius=_RADIUS,
                    amplitude=amplitude,
                )
            )
    return tuple(targets)
