"""What an image of conductivity must hold whatever the body was: laws that need no true image.

forward       the body that the image shows answers, by the complete electrode model, nearly what was measured
renumbering   electrodes counted from the next one on turn the image by one pitch, and change nothing else

Positive conductivities need no test: an image is a logarithm. The sign of an image's integral is no such law: what the
voltages weigh is near the electrodes, and with inclusions of both signs theirs is not the integral's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from physedge.physics.eit.forward import CompleteElectrodeModel
from physedge.physics.eit.linear import CONTACT_IMPEDANCE, homogeneous_fields
from physedge.physics.eit.mesh import mesh_of_at_least
from physedge.physics.eit.phantoms import Phantom
from physedge.physics.eit.pixels import IMAGE_PX, disk_mask, mean_over_triangles
from physedge.physics.eit.tank import Tank
from physedge_runtime.voltage_protocol import VoltageProtocol

_TRIANGLES = 2048
_QUARTER_DEG = 90.0
_SMOOTH_PX = 1.5
_LEAST_WEIGHT = 1e-3
_FINER = 4


@dataclass(slots=True, kw_only=True)
class ForwardCheck:
    """Holds images against the voltages by the full model, not the linear one.

    Attributes:
        tank: Ideal.
        protocol: Of the frames.
    """

    tank: Tank
    protocol: VoltageProtocol
    _model: CompleteElectrodeModel = field(init=False)
    _frame: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self._model = CompleteElectrodeModel(self.tank.ideal(), mesh_of_at_least(self.tank, _TRIANGLES))
        self._frame = homogeneous_fields(self._model, CONTACT_IMPEDANCE).frame(self.protocol)

    def answer(self, image: NDArray[np.floating]) -> NDArray[np.float64]:
        """(voltage,): by how much the voltages of a body of conductivity 1 change when it becomes the image's.

        Args:
            image: (side, side), ln of the conductivity's change.
        """
        mean = mean_over_triangles(self._model.points, self._model.triangles, image.shape[0])
        conductivity = np.exp(mean @ np.asarray(image, np.float64).ravel())
        impedance = np.full(self.tank.electrodes, CONTACT_IMPEDANCE)
        return self._model.solve(conductivity, impedance).frame(self.protocol) - self._frame

    def residual(self, image: NDArray[np.floating], difference: NDArray[np.floating]) -> float:
        """Distance of the image's answer from a difference (voltage,), over the size of that difference."""
        return float(np.linalg.norm(self.answer(image) - difference) / np.linalg.norm(difference))


def renumbering(protocol: VoltageProtocol, by: int = 1) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """How a frame reads when the electrodes are counted from another one on.

    Returns:
        `place` and `factor`, both (voltage,): `frame[place] * factor` is what the body gives after a turn by `by`
        electrodes in the direction of their numbers.
    """
    index = np.full(protocol.kept.shape, -1)
    index[protocol.kept] = np.arange(protocol.count)
    before = (np.arange(protocol.electrodes) - by) % protocol.electrodes
    table = protocol.place_in(protocol.currents[before], protocol.voltages[before])
    place = index[table[:, 0].astype(int), table[:, 1].astype(int)]
    return place, table[:, 2]


def turned(image: NDArray[np.floating], turn_deg: float) -> NDArray[np.float64]:
    """The image after a turn counter-clockwise: whole quarters exactly, the rest by cubic splines."""
    from scipy.ndimage import rotate

    quarters, rest_deg = divmod(turn_deg, _QUARTER_DEG)
    found = np.rot90(np.asarray(image, np.float64), int(quarters))
    if rest_deg:
        found = rotate(found, rest_deg, reshape=False, order=3, mode="nearest")
    return np.asarray(found * disk_mask(image.shape[0]))


def renumbering_error(image: NDArray[np.floating], renumbered: NDArray[np.floating], turn_deg: float) -> float:
    """Distance of the image of renumbered voltages from the turned image, over the size of the turned image.

    A quarter turn moves pixels onto pixels, and the images are held against each other as they are. Any other turn has
    to interpolate, which sharp edges do not survive: there both are smoothed first, by a Gaussian of 1.5 pixels, half
    as wide as the smallest target that any method draws. Of exactly turned true images that leaves 0.6 %.
    """
    if turn_deg % _QUARTER_DEG:
        image, renumbered = _smoothed(image), _smoothed(renumbered)
    there = turned(image, turn_deg)
    apart = (renumbered - there) * disk_mask(image.shape[0])
    return float(np.linalg.norm(apart) / np.linalg.norm(there))


def _smoothed(image: NDArray[np.floating]) -> NDArray[np.float64]:
    """Means with Gaussian weights of the pixels inside the disk: the steps of its border are no part of the image."""
    from scipy.ndimage import gaussian_filter

    inside = disk_mask(image.shape[0]).astype(np.float64)
    weight = np.maximum(gaussian_filter(inside, _SMOOTH_PX), _LEAST_WEIGHT)
    return np.asarray(gaussian_filter(image * inside, _SMOOTH_PX) / weight)


def true_image(phantom: Phantom, turn_deg: float = 0.0) -> NDArray[np.float64]:
    """The true image (side, side) after a turn of the body, over finer pixels than a training set's.

    Four subpixels a side place the border of a small target to a per cent only, and otherwise after every turn.
    """
    fine = phantom.image(IMAGE_PX * _FINER, turn_deg=turn_deg).astype(np.float64)
    pooled = fine.reshape(IMAGE_PX, _FINER, IMAGE_PX, _FINER).mean(axis=(1, 3))
    return np.asarray(pooled * disk_mask())
