"""Which currents an impedance tomograph drives and which voltages it measures, and in which order a frame holds them.

Simulation, training, sources and trust must agree on it, so it lives here. A frame holds the kept voltages injection
by injection: all of the first injection, then all of the second, as measuring devices send them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import UsageError

_SAME_PATTERN = 1 - 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltageProtocol:
    """Injection and measurement patterns.

    Attributes:
        name: As in a specification.
        currents: float64 (electrode, injection); a positive entry drives current into the body, columns sum to 0.
        voltages: float64 (electrode, measurement); a measurement is the sum of potentials weighted by its column.
        kept: bool (injection, measurement): which voltages a frame holds.
    """

    name: str
    currents: NDArray[np.float64]
    voltages: NDArray[np.float64]
    kept: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shape = (self.currents.shape[1], self.voltages.shape[1])
        if self.kept.shape != shape or self.currents.shape[0] != self.voltages.shape[0]:
            raise ValueError(
                f"patterns of {self.currents.shape}, {self.voltages.shape} with a choice {self.kept.shape}"
            )

    @property
    def electrodes(self) -> int:
        """Number of electrodes."""
        return int(self.currents.shape[0])

    @property
    def count(self) -> int:
        """Voltages of one frame."""
        return int(self.kept.sum())

    @property
    def index(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(injection, measurement) of every voltage of a frame, both (voltage,)."""
        injections, measurements = np.nonzero(self.kept)
        return injections, measurements

    def frame_from_potentials(self, potentials: NDArray[np.float64]) -> NDArray[np.float64]:
        """(voltage,) of electrode potentials (electrode, injection)."""
        frame: NDArray[np.float64] = (potentials.T @ self.voltages)[self.kept]
        return frame

    def touches(self) -> NDArray[np.bool_]:
        """(electrode, voltage): whether an electrode drives current for, or is measured in, a voltage."""
        injections, measurements = self.index
        touched: NDArray[np.bool_] = (self.currents[:, injections] != 0) | (self.voltages[:, measurements] != 0)
        return touched

    def reciprocal_pairs(self) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
        """Pairs of voltages that are equal in every body: current and voltage electrodes change places.

        Returns:
            `first` and `second`, both (pair,), places in a frame with `first < second`, and `ratio` (pair,):
            `frame[first] = ratio * frame[second]`.
        """
        drive, drive_size = _directions(self.currents)
        sense, sense_size = _directions(self.voltages)
        injections, measurements = self.index
        place = {(int(i), int(m)): n for n, (i, m) in enumerate(zip(injections, measurements, strict=True))}
        alike = drive.T @ sense
        driven_as = {
            m: int(i) for m in range(alike.shape[1]) for i in np.flatnonzero(np.abs(alike[:, m]) > _SAME_PATTERN)
        }
        sensed_as = {i: int(m) for i in range(alike.shape[0]) for m in np.flatnonzero(np.abs(alike[i]) > _SAME_PATTERN)}
        first, second, ratio = [], [], []
        for (i, m), n in place.items():
            if m not in driven_as or i not in sensed_as:
                continue
            j, k = driven_as[m], sensed_as[i]
            other = place.get((j, k))
            if other is None or other <= n:
                continue
            sign = np.sign(alike[j, m]) * np.sign(alike[i, k])
            first.append(n)
            second.append(other)
            ratio.append(sign * drive_size[i] * sense_size[m] / (drive_size[j] * sense_size[k]))
        return np.array(first, np.intp), np.array(second, np.intp), np.array(ratio, np.float64)

    def place_in(self, currents: NDArray[np.float64], voltages: NDArray[np.float64]) -> NDArray[np.float64]:
        """How to make a frame of this protocol from measurements with other patterns.

        Args:
            currents: (electrode, injection) of the measuring device.
            voltages: (electrode, measurement) of the measuring device.

        Returns:
            (voltage, 3): injection, measurement and factor of every voltage; the factor brings the current to the
            size and the sign that this protocol drives.

        Raises:
            UsageError: The device has another number of electrodes, or lacks a pattern (`PE-FRAME-003`).
        """
        if currents.shape[0] != self.electrodes or voltages.shape[0] != self.electrodes:
            raise _no_match(f"patterns of {currents.shape[0]} electrodes", f"{self.electrodes} electrodes")
        injections, measurements = self.index
        driven, drive_factor = _matches(self.currents, currents)
        sensed, sense_factor = _matches(self.voltages, voltages)
        used_driven, used_sensed = driven[injections], sensed[measurements]
        if (used_driven < 0).any() or (used_sensed < 0).any():
            missing = len(set(injections[used_driven < 0])) + len(set(measurements[used_sensed < 0]))
            raise _no_match(
                f"measurements that lack {missing} of the patterns of '{self.name}'",
                f"all {len(set(injections))} injections and {len(set(measurements))} measurements of it",
            )
        factor = drive_factor[injections] * sense_factor[measurements]
        columns: NDArray[np.float64] = np.stack([used_driven, used_sensed, factor], axis=1).astype(np.float64)
        return columns


def _no_match(found: str, expected: str) -> UsageError:
    return UsageError(
        "PE-FRAME-003",
        found=found,
        expected=expected,
        next_step="measure with the protocol of the bundle, or export a bundle for this protocol",
    )


def _directions(patterns: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    size = np.linalg.norm(patterns, axis=0)
    return patterns / np.where(size > 0, size, 1), size


def _matches(wanted: NDArray[np.float64], offered: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Per wanted pattern the offered one of the same direction (-1: none), and the factor from offered to wanted."""
    wanted_direction, wanted_size = _directions(wanted)
    offered_direction, offered_size = _directions(offered)
    alike = wanted_direction.T @ offered_direction
    best = np.abs(alike).argmax(axis=1)
    value = alike[np.arange(len(best)), best]
    size = np.where(offered_size[best] > 0, offered_size[best], 1)
    return np.where(np.abs(value) > _SAME_PATTERN, best, -1), np.sign(value) * wanted_size / size


def pair_patterns(electrodes: int, distance: int) -> NDArray[np.float64]:
    """(electrode, electrode): +1 at electrode i, -1 at electrode i + distance, around the body."""
    patterns = np.eye(electrodes)
    patterns[(np.arange(electrodes) + distance) % electrodes, np.arange(electrodes)] -= 1
    return patterns


def _pairs(name: str, electrodes: int, distance: int) -> VoltageProtocol:
    currents, voltages = pair_patterns(electrodes, distance), pair_patterns(electrodes, 1)
    kept = (np.abs(currents).T @ np.abs(voltages)) == 0
    return VoltageProtocol(name=name, currents=currents, voltages=voltages, kept=kept)


def _ktc2023(electrodes: int) -> VoltageProtocol:
    """Every second electrode against its next, then all of these against the 1st, 5th, 9th and 13th of them."""
    driven = np.arange(0, electrodes, 2)
    columns = [(a, b) for a, b in zip(driven, np.roll(driven, -1), strict=True)]
    for k in range(4):
        fixed = driven[k * len(driven) // 4]
        columns += [(a, fixed) for a in driven if a != fixed]
    currents = np.zeros((electrodes, len(columns)))
    for column, (a, b) in enumerate(columns):
        currents[a, column], currents[b, column] = 1, -1
    voltages = pair_patterns(electrodes, 1)[:, :-1]
    kept = np.ones((currents.shape[1], voltages.shape[1]), bool)
    return VoltageProtocol(name="ktc2023", currents=currents, voltages=voltages, kept=kept)


def find_protocol(name: str, electrodes: int) -> VoltageProtocol:
    """The protocol of this name.

    Args:
        name: `adjacent`, `opposite`, `skip-K` (K electrodes between the two that drive), or `ktc2023`. The first three
            measure between neighbours and leave voltages of driven electrodes out.
        electrodes: Around the body.

    Raises:
        UsageError: There is none, or it does not suit the number of electrodes (`PE-SPEC-005`).

    Example:
        >>> find_protocol("adjacent", 16).count
        208
    """
    skipped = re.fullmatch(r"skip-(\d+)", name)
    if name == "adjacent" and electrodes >= 4:
        return _pairs(name, electrodes, 1)
    if name == "opposite" and electrodes >= 6 and electrodes % 2 == 0:
        return _pairs(name, electrodes, electrodes // 2)
    if skipped and electrodes >= 6 and int(skipped[1]) + 1 <= electrodes // 2:
        return _pairs(name, electrodes, int(skipped[1]) + 1)
    if name == "ktc2023" and electrodes >= 8 and electrodes % 8 == 0:
        return _ktc2023(electrodes)
    raise UsageError(
        "PE-SPEC-005",
        found=f"the protocol '{name}' for {electrodes} electrodes",
        expected="adjacent, opposite, skip-K with K + 1 at most half of the electrodes, or ktc2023 for 8, 16, 24 ...",
        next_step="correct the protocol or the number of electrodes",
    )
