"""The calibration station for voltages: choose a diverse set of measurements, refuse what is also evaluated."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physedge.deploy.calibration import TRIALS, Advance, Calibration
from physedge_calibrate.dataset import subset_folder
from physedge_calibrate.samples import Sample
from physedge_calibrate.sampling import DEFAULT_COUNT, choose_calibration_set
from physedge_calibrate.strata import WHOLE
from physedge_calibrate.voltage_frames import VoltageSample, read_voltage_samples
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.manifest import canonical_json


def voltage_pool(folder: Path, spec: VoltageSpec) -> list[VoltageSample]:
    """The measurements that may be chosen: those of `train` where the folder has one.

    Raises:
        UsageError: No measurement in it, or of another form.
    """
    return read_voltage_samples(subset_folder(folder, "train"), spec)


def choose_voltage_calibration(
    pool: Sequence[VoltageSample],
    evaluation: Sequence[Sample],
    *,
    seed: int,
    count: int = DEFAULT_COUNT,
    advance: Advance = lambda: None,
) -> Calibration:
    """Choose, check against the evaluation data, and describe.

    Args:
        pool: Measurements of the training set.
        evaluation: The samples that will judge; none of them may stand in the pool.
        seed: Of the choice.
        count: Measurements to choose.
        advance: Called after every measurement that was looked at; pool and evaluation together.

    Raises:
        UsageError: Too few measurements (`PE-CALIB-006`), or one that is also evaluated (`PE-CALIB-005`).
    """
    frames, hashes = [], []
    for sample in pool:
        frames.append(sample.picture())
        hashes.append(_hash(frames[-1]))
        advance()
    known = dict(zip(hashes, pool, strict=True))
    for judged in evaluation:
        twin = known.get(_hash(judged.picture()))
        advance()
        if twin is not None:
            raise UsageError(
                "PE-CALIB-005",
                found=f"{judged.name} of the evaluation data is {twin.name} of the calibration data",
                expected="measurements that do not also judge",
                next_step="give --calib the training set, and --data another one",
            )
    chosen = choose_calibration_set(
        [sample.name for sample in pool], hashes, _statistics(frames), [WHOLE] * len(pool), count=count, seed=seed
    )
    others = sorted(set(range(len(pool))) - set(chosen.indices)) or list(chosen.indices)
    spaced = [others[place] for place in np.linspace(0, len(others) - 1, min(TRIALS, len(others))).astype(int)]
    return Calibration(
        chosen=chosen,
        inputs=tuple(frames[index] for index in chosen.indices),
        trials=tuple(frames[index] for index in spaced),
        evidence={"calibration/images.json": canonical_json(chosen.to_dict())},
        summary=f"calibrated on {len(chosen)} of {chosen.pool_size} measurements, chosen for diversity",
    )


def _hash(frame: NDArray[np.float32]) -> str:
    return hashlib.sha256(np.ascontiguousarray(frame, "<f4").tobytes()).hexdigest()


def _statistics(frames: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """(measurement, 8): size of the change, and how it is spread over eight parts of the frame."""
    stack = np.stack(frames).astype(np.float64)
    change = stack[:, 1] - stack[:, 0] if stack.ndim == 3 else stack
    parts = [np.log10(np.sqrt(np.mean(part**2, axis=1)) + 1e-12) for part in np.array_split(change, 8, axis=1)]
    return np.stack(parts, axis=1)
