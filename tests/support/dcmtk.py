"""DCMTK's and dicom3tools' programs, as the independent readers of DICOM that tests compare with."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
from debian import program
from numpy.typing import NDArray

_HEAD = re.compile(rb"P([56])\s+(?:#[^\n]*\n)*(\d+)\s+(\d+)\s+(\d+)\s")


def rendered(path: Path, *, frame: int = 1, options: tuple[str, ...] = ("+Wi", "1")) -> NDArray[np.uint8] | None:
    """What DCMTK draws of a frame counted from 1, without overlays: (height, width[, 3]); None where it cannot."""
    for name in ("dcmj2pnm", "dcml2pnm"):
        drawn = subprocess.run(
            [program(name, "dcmtk"), "-O", *options, "+F", str(frame), path], capture_output=True, check=False
        ).stdout
        head = _HEAD.match(drawn)
        if head is not None:
            kind, width, height, _ = head.groups()
            shape = (int(height), int(width), 3) if kind == b"6" else (int(height), int(width))
            return np.frombuffer(drawn[head.end() :], np.uint8).reshape(shape)
    return None


def standard_errors(path: Path) -> list[str]:
    """What dciodvfy finds against the DICOM standard in an object."""
    checked = subprocess.run([program("dciodvfy", "dicom3tools"), path], capture_output=True, text=True, check=False)
    return [line for line in checked.stderr.splitlines() if line.startswith("Error")]
