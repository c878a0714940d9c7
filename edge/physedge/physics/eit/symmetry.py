"""Turns and mirrors that map the electrodes onto each other: what they do to voltages is exact.

A disk with electrodes all alike looks the same after a turn by one electrode and in a mirror: of 16 electrodes 32
measurements are known where one was simulated.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import UsageError
from physedge_runtime.voltage_protocol import VoltageProtocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Symmetry:
    """One of them.

    Attributes:
        turn_deg: Counter-clockwise, applied after the mirror.
        is_mirrored: Left and right change sides first.
        place: (voltage,) where each voltage of the changed body stands in the frame of the original.
        factor: (voltage,) what it is multiplied by.
    """

    turn_deg: float
    is_mirrored: bool
    place: NDArray[np.intp]
    factor: NDArray[np.float32]

    def moved(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (2, ...) of the changed body."""
        x, y = -points[0] if self.is_mirrored else points[0], points[1]
        cos, sin = np.cos(np.deg2rad(self.turn_deg)), np.sin(np.deg2rad(self.turn_deg))
        return np.stack([cos * x - sin * y, sin * x + cos * y])


def symmetries(protocol: VoltageProtocol) -> tuple[Symmetry, ...]:
    """The identity first, then all others that the protocol allows: its patterns must be mapped onto each other."""
    electrodes = protocol.electrodes
    index = np.full(protocol.kept.shape, -1)
    index[protocol.kept] = np.arange(protocol.count)
    found = []
    for is_mirrored in (False, True):
        for turn in range(electrodes):
            # Where the electrode that ends up at place e stood before; the first stands at the top.
            before = (np.arange(electrodes) - turn) % electrodes
            if is_mirrored:
                before = -before % electrodes
            try:
                table = protocol.place_in(protocol.currents[before], protocol.voltages[before])
            except UsageError:
                continue
            place = index[table[:, 0].astype(int), table[:, 1].astype(int)]
            if (place >= 0).all():
                found.append(
                    Symmetry(
                        turn_deg=360.0 * turn / electrodes,
                        is_mirrored=is_mirrored,
                        place=place,
                        factor=table[:, 2].astype(np.float32),
                    )
                )
    return tuple(found)
