"""Turns and mirrors of the body that map the square grid of pixels onto itself, in images and in voltages.

A disk with electrodes all alike looks the same after a turn by 90 degrees (where the number of electrodes is a multiple
of four) and in a mirror. Both act exactly on pixels and on voltages: eight bodies are known where one was simulated.
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
        quarter_turns: Counter-clockwise, applied after the mirror.
        is_mirrored: Left and right change sides first.
        place: (voltage,) where each voltage of the changed body stands in the frame of the original.
        factor: (voltage,) what it is multiplied by.
    """

    quarter_turns: int
    is_mirrored: bool
    place: NDArray[np.intp]
    factor: NDArray[np.float32]


def symmetries(protocol: VoltageProtocol) -> tuple[Symmetry, ...]:
    """The identity first, then all others that the protocol allows: its patterns must be mapped onto each other."""
    electrodes = protocol.electrodes
    index = np.full(protocol.kept.shape, -1)
    index[protocol.kept] = np.arange(protocol.count)
    found = []
    for is_mirrored in (False, True):
        for turns in range(4 if electrodes % 4 == 0 else 1):
            # Where the electrode that ends up at place e stood before; the first stands at the top.
            before = (np.arange(electrodes) - turns * electrodes // 4) % electrodes
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
                        quarter_turns=turns,
                        is_mirrored=is_mirrored,
                        place=place,
                        factor=table[:, 2].astype(np.float32),
                    )
                )
    return tuple(found)


def changed_image(image: NDArray[np.generic], symmetry: Symmetry) -> NDArray[np.generic]:
    """Images (..., height, width) of the changed body."""
    mirrored = image[..., ::-1] if symmetry.is_mirrored else image
    return np.rot90(mirrored, symmetry.quarter_turns, axes=(-2, -1))
