"""Kinds of simulated bodies that no network is trained on and in which nothing is broken: limits must let them pass."""

from __future__ import annotations

from pathlib import Path

from physedge_calibrate.voltage_frames import VoltageSample, read_voltage_samples
from physedge_runtime.frame import VoltageSpec

CLEAN_KINDS = ("unseen_shapes", "five_inclusions")
"""Of the sets out of the distribution; the others are of a worse device, which is what limits are for."""


def read_clean_kinds(folder: Path, spec: VoltageSpec) -> dict[str, list[VoltageSample]]:
    """The samples of every clean kind that a set has, by kind; empty where it was made without `--ood`.

    Args:
        folder: Root of the set.
        spec: What the voltages are.

    Raises:
        UsageError: A kind cannot be read, or has another protocol.
    """
    there = {kind: folder / "ood" / kind for kind in CLEAN_KINDS}
    return {kind: read_voltage_samples(path, spec) for kind, path in there.items() if path.is_dir()}
