"""Voltages in files: plain frames, or measurements with the patterns they were made with, as EIT archives publish them.

a.npy           float (frame, voltage), or (frame, 2, voltage) with references
a.csv, a.txt    lines of numbers, one frame a line
a.mat           MATLAB 5: currents `CurrentPattern`, `Inj` or `Injref` (electrode, injection), measurements
`MeasPattern` or `Mpat` (electrode, measurement), voltages `Uel` or `Uelref`, a matrix
(measurement, injection) or the same as one long column
a folder        of these, in order of their names
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import SourceError, missing_extra
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.sources.file import missing_file
from physedge_runtime.voltage_protocol import find_protocol

MATLAB = ".mat"
SUFFIXES = (".npy", ".csv", ".txt", MATLAB)
_CURRENTS, _MEASUREMENTS, _VOLTAGES = ("CurrentPattern", "Inj", "Injref"), ("MeasPattern", "Mpat"), ("Uel", "Uelref")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternedVoltages:
    """One measurement with all patterns of a device.

    Attributes:
        currents: (electrode, injection).
        measurements: (electrode, measurement).
        voltages: (injection, measurement), volts.
    """

    currents: NDArray[np.float64]
    measurements: NDArray[np.float64]
    voltages: NDArray[np.float64]

    def frame(self, spec: VoltageSpec) -> NDArray[np.float32]:
        """(voltage,) as a network of this declaration takes them.

        Raises:
            UsageError: The device has another number of electrodes, or lacks a pattern (`PE-FRAME-003`).
        """
        place = find_protocol(spec.protocol, spec.electrodes).place_in(self.currents, self.measurements)
        chosen = self.voltages[place[:, 0].astype(int), place[:, 1].astype(int)]
        frame: NDArray[np.float32] = (chosen * place[:, 2]).astype(np.float32)
        return frame


def read_voltages(path: Path, spec: VoltageSpec | None) -> NDArray[np.float32]:
    """The frames of a file or folder: float32 (frame, voltage) or (frame, 2, voltage).

    Args:
        path: The file or folder.
        spec: What the network takes in; without it a `.mat` file gives the adjacent frames of its electrodes.

    Raises:
        SourceError: It is missing (`PE-SRC-002`) or holds no voltages (`PE-SRC-015`).
        UsageError: Its patterns are not those of the network (`PE-FRAME-003`).
        EnvironmentFault: A `.mat` file, and SciPy is not installed.
    """
    if path.is_dir():
        parts = [part for part in sorted(path.iterdir()) if part.suffix.lower() in SUFFIXES]
        if not parts:
            raise no_voltages(path.name, "no file with voltages in it")
        frames = [read_voltages(part, spec) for part in parts]
        if len({part.shape[1:] for part in frames}) != 1:
            raise no_voltages(path.name, "files with frames of different lengths")
        return np.concatenate(frames)
    if not path.is_file():
        raise missing_file(path)
    if path.suffix.lower() == MATLAB:
        measured = read_matlab(path)
        electrodes = measured.currents.shape[0]
        wanted = spec or VoltageSpec(count=1, electrodes=electrodes, protocol="adjacent")
        return measured.frame(wanted)[np.newaxis]
    return _plain(path)


def _plain(path: Path) -> NDArray[np.float32]:
    try:
        if path.suffix.lower() == ".npy":
            frames = np.load(path, allow_pickle=False)
        else:
            lines = path.read_text(encoding="utf-8").splitlines()
            frames = np.array([parse_voltages(line) for line in lines if line.strip() and line[0] != "#"])
        frames = np.atleast_2d(np.asarray(frames, np.float32))
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise no_voltages(path.name, str(error).splitlines()[0]) from error
    if not frames.size or frames.ndim > 3 or (frames.ndim == 3 and frames.shape[1] != 2):
        raise no_voltages(path.name, f"an array of {frames.shape}")
    return frames


def read_matlab(path: Path) -> PatternedVoltages:
    """A measurement in the form of published EIT archives (UEF 2-D tank, KTC 2023).

    Raises:
        SourceError: It is no such file (`PE-SRC-015`).
        EnvironmentFault: SciPy is not installed.
    """
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise missing_extra("scipy", "gate") from error
    try:
        content: dict[str, Any] = loadmat(path)
    except (MatReadError, ValueError, OSError, NotImplementedError, TypeError) as error:
        raise no_voltages(path.name, str(error).splitlines()[0] if str(error) else "unreadable") from error
    found = [
        next((content[name] for name in names if name in content), None)
        for names in (_CURRENTS, _MEASUREMENTS, _VOLTAGES)
    ]
    if any(part is None for part in found):
        raise no_voltages(path.name, "currents, measurements or voltages are missing")
    currents, measurements, voltages = (np.asarray(part, np.float64) for part in found)
    shape = (measurements.shape[1], currents.shape[1])
    if voltages.size != shape[0] * shape[1] or currents.shape[0] != measurements.shape[0]:
        raise no_voltages(path.name, f"{voltages.size} voltages for {shape[1]} injections of {shape[0]}")
    # MATLAB stores column by column: all measurements of an injection, then those of the next.
    table = voltages.reshape(shape, order="F") if voltages.shape != shape else voltages
    return PatternedVoltages(currents=currents, measurements=measurements, voltages=table.T)


def parse_voltages(line: str) -> NDArray[np.float32]:
    """float32 (voltage,) of a line of numbers separated by commas or blanks.

    Raises:
        ValueError: A word is no number.

    Example:
        >>> parse_voltages("0.5, 0.25 1")
        array([0.5 , 0.25, 1.  ], dtype=float32)
    """
    return np.array([float(word) for word in line.replace(",", " ").split()], np.float32)


def no_voltages(name: str, why: str) -> SourceError:
    """What is raised for a file without voltages."""
    return SourceError(
        "PE-SRC-015",
        found=f"{name} holds no voltages ({why})",
        expected="a .npy array (frame, voltage), lines of numbers, or a .mat file with patterns and voltages",
        next_step="check the file",
    )
