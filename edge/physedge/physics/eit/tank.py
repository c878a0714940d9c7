"""The body: a disk with electrodes around it, and the small deformations that a real one has."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import UsageError

FIRST_ELECTRODE_DEG = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tank:
    """A unit disk with electrodes; lengths are in units of its radius.

    Coordinates are canonical: x to the right, y up, the first electrode at the top, numbered counter-clockwise. A
    device that numbers clockwise sees the mirror image; that is told by the specification and done where pictures are
    shown.

    Attributes:
        electrodes: Number of electrodes.
        cover: Fraction of the boundary that electrodes cover.
        angle_offsets_rad: (electrode,) displacement of every electrode along the boundary, counter-clockwise.
        semi_axes: Half width and half height; (1, 1) is the disk.
    """

    electrodes: int
    cover: float = 0.5
    angle_offsets_rad: tuple[float, ...] = ()
    semi_axes: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if not (self.electrodes >= 4 and 0.05 <= self.cover <= 0.95):
            raise UsageError(
                "PE-EIT-001",
                found=f"{self.electrodes} electrodes that cover {self.cover:g} of the boundary",
                expected="at least 4 electrodes, and a cover of 0.05 to 0.95",
                next_step="correct the tank",
            )
        if self.angle_offsets_rad and len(self.angle_offsets_rad) != self.electrodes:
            raise ValueError(f"{len(self.angle_offsets_rad)} offsets for {self.electrodes} electrodes")

    @property
    def pitch_rad(self) -> float:
        """Angle from electrode to electrode."""
        return 2 * np.pi / self.electrodes

    @property
    def centres_rad(self) -> NDArray[np.float64]:
        """(electrode,) angles of the undisturbed centres, counter-clockwise from the x axis."""
        centres: NDArray[np.float64] = np.deg2rad(FIRST_ELECTRODE_DEG) + self.pitch_rad * np.arange(self.electrodes)
        return centres

    @property
    def is_ideal(self) -> bool:
        """Neither deformed nor with displaced electrodes."""
        return self.semi_axes == (1.0, 1.0) and not any(self.angle_offsets_rad)

    def ideal(self) -> Tank:
        """The same without deformations."""
        return replace(self, angle_offsets_rad=(), semi_axes=(1.0, 1.0))

    def deform(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where the points (2, point) of the ideal disk lie in this tank.

        Angles move with the electrodes at the boundary and less inside, with the square of the radius; then the axes
        are stretched. The map is smooth and keeps every node of an electrode's edge at the edge.
        """
        if self.is_ideal:
            return points
        radius, angle = np.hypot(*points), np.arctan2(points[1], points[0])
        if any(self.angle_offsets_rad):
            half = 0.5 * self.cover * self.pitch_rad
            knots = np.concatenate([self.centres_rad - half, self.centres_rad + half])
            moved = np.tile(self.angle_offsets_rad, 2)
            angle = angle + radius**2 * np.interp(angle, knots, moved, period=2 * np.pi)
        return np.stack([self.semi_axes[0] * radius * np.cos(angle), self.semi_axes[1] * radius * np.sin(angle)])
