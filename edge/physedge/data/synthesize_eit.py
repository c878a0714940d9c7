"""Writes sets of simulated impedance measurements; an interrupted one goes on where it stopped.

    OUT/about.json  OUT/voltages.json        what was asked for; what the voltages are
    OUT/train/part_00000.npz ...             `physedge_calibrate.voltage_frames`
    OUT/val/part_00000.npz ...
    OUT/ood/NAME/part_00000.npz ...          sets that differ from those, by name

The same arguments give the same bytes, however many processes work.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from physedge.physics.eit.linear import SIMULATION_TRIANGLES
from physedge.physics.eit.simulate import (
    FRAMES_PER_SESSION,
    OUT_OF_DISTRIBUTION,
    USUAL_ERRORS,
    MeasurementError,
    Scenario,
    Simulator,
)
from physedge.physics.eit.tank import Tank
from physedge_calibrate.voltage_frames import PARTS, VoltagePart, write_declaration, write_part
from physedge_runtime.errors import UsageError, missing_extra
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.voltage_protocol import find_protocol

ABOUT = "about.json"
SAMPLES_PER_PART = 64
_SAMPLES_WORTH_A_PROCESS = 256
_SETS_APART = 10_000_000
_SIMULATING = ("forward", "linear", "mesh", "phantoms", "pixels", "simulate", "tank")

Advance = Callable[[int], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltageSetRequest:
    """What a set is made from; two equal requests give the same bytes.

    Attributes:
        voltages: Protocol and body.
        samples: Of train and val together.
        seed: Of everything.
        val_fraction: Share of the samples that validate, 0 to 0.5.
        errors: Measurement errors that are switched on.
        ood_samples: Samples of every set out of the distribution; 0 for none.
        triangles: The fewest of the mesh.
    """

    voltages: VoltageSpec
    samples: int
    seed: int = 0
    val_fraction: float = 0.1
    errors: tuple[MeasurementError, ...] = USUAL_ERRORS
    ood_samples: int = 0
    triangles: int = SIMULATION_TRIANGLES

    def __post_init__(self) -> None:
        _expect(2 * FRAMES_PER_SESSION <= self.samples < _SETS_APART, "samples", self.samples, "8 to 9,999,999")
        _expect(0 <= self.seed < 2**40, "seed", self.seed, "0 to 2^40 - 1")
        _expect(0 <= self.val_fraction <= 0.5, "val_fraction", self.val_fraction, "0 to 0.5")
        _expect(0 <= self.ood_samples < _SETS_APART, "ood_samples", self.ood_samples, "0 to 9,999,999")
        _expect(256 <= self.triangles <= 262_144, "triangles", self.triangles, "256 to 262,144")

    def sets(self) -> Iterator[tuple[str, Scenario, int, int]]:
        """Folder, scenario, first sample and number of samples of every set; no body stands in two."""
        usual = Scenario(errors=self.errors)
        validating = round(self.samples * self.val_fraction / FRAMES_PER_SESSION) * FRAMES_PER_SESSION
        yield "train", usual, 0, self.samples - validating
        if validating:
            yield "val", usual, _SETS_APART, validating
        for place, (name, scenario) in enumerate(OUT_OF_DISTRIBUTION.items()):
            if self.ood_samples:
                own = {MeasurementError.DEAD} & set(scenario.errors)
                errors = tuple(error for error in MeasurementError if error in self.errors or error in own)
                yield f"ood/{name}", replace(scenario, errors=errors), (place + 2) * _SETS_APART, self.ood_samples


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltageSetSummary:
    """What stands in the folder.

    Attributes:
        out: Root of the set.
        request: What it was made from.
        counts: Samples by folder.
        simulated: Samples that this call simulated; the others were there.
        seconds: It took.
    """

    out: Path
    request: VoltageSetRequest
    counts: dict[str, int]
    simulated: int
    seconds: float

    @property
    def samples_per_second(self) -> float:
        """Of those that were simulated."""
        return self.simulated / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    path: Path
    simulator: tuple[Tank, VoltageSpec, Scenario, int, int]
    first: int
    count: int


def synthesize_eit(
    request: VoltageSetRequest, out: Path, *, processes: int | None = None, progress: Advance = lambda _count: None
) -> VoltageSetSummary:
    """Write a set, or what is missing of it.

    Args:
        request: What it is made from.
        out: Root of the set; new, empty, or begun by the same request.
        processes: Worker processes; as many as processors where None and the set is large. They are spawned: a script
            that calls this needs the usual `if __name__ == "__main__":`.
        progress: Called with the number of samples that have been finished since the last call.

    Raises:
        UsageError: The protocol does not suit the electrodes (`PE-SPEC-005`), or the folder holds something else
            (`PE-SYNTH-003`) or cannot be written (`PE-SYNTH-004`).
        EnvironmentFault: scikit-fem or SciPy is not installed.
    """
    _require_packages()
    find_protocol(request.voltages.protocol, request.voltages.electrodes)
    started = time.monotonic()
    try:
        _begin(out, request)
        jobs, counts = _jobs(request, out)
        missing = [job for job in jobs if not job.path.is_file()]
        progress(sum(counts.values()) - sum(job.count for job in missing))
        for count in _run(missing, processes):
            progress(count)
    except OSError as error:
        raise UsageError(
            "PE-SYNTH-004",
            found=f"{out} cannot be written ({error.strerror or error})",
            expected="a folder with room and permission to write",
            next_step="choose another folder with --out",
        ) from error
    return VoltageSetSummary(
        out=out,
        request=request,
        counts=counts,
        simulated=sum(job.count for job in missing),
        seconds=time.monotonic() - started,
    )


def _begin(out: Path, request: VoltageSetRequest) -> None:
    wanted = {"schema_version": 1, "request": asdict(request), "simulated_by_sha256": _code_sha256()}
    text = json.dumps(wanted, indent=2) + "\n"
    about = out / ABOUT
    if out.is_dir() and any(out.iterdir()) and (not about.is_file() or about.read_text(encoding="utf-8") != text):
        raise UsageError(
            "PE-SYNTH-003",
            found=f"{out} is not empty and was not made by this command",
            expected="a new or empty folder, or one that the same command made",
            next_step="choose another folder with --out, or remove this one",
        )
    out.mkdir(parents=True, exist_ok=True)
    about.write_text(text, encoding="utf-8")
    write_declaration(out, request.voltages)


def _code_sha256() -> str:
    """Hash of the code that simulates, and of no other: a set made by other code is another set."""
    import hashlib

    from physedge.physics import eit

    digest = hashlib.sha256()
    folder = Path(str(eit.__file__)).parent
    for name in _SIMULATING:
        digest.update((folder / f"{name}.py").read_bytes())
    return digest.hexdigest()


def _jobs(request: VoltageSetRequest, out: Path) -> tuple[list[_Job], dict[str, int]]:
    tank = Tank(electrodes=request.voltages.electrodes, cover=request.voltages.cover)
    jobs, counts = [], {}
    for name, scenario, first, total in request.sets():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        counts[name] = total
        for number, start in enumerate(range(0, total, SAMPLES_PER_PART)):
            jobs.append(
                _Job(
                    path=folder / PARTS.replace("*", f"{number:05d}"),
                    simulator=(tank, request.voltages, scenario, request.seed, request.triangles),
                    first=first + start,
                    count=min(SAMPLES_PER_PART, total - start),
                )
            )
    return jobs, counts


def _run(jobs: list[_Job], processes: int | None) -> Iterator[int]:
    import os
    from multiprocessing import get_context

    if processes is None:
        large = sum(job.count for job in jobs) >= _SAMPLES_WORTH_A_PROCESS
        processes = min(len(jobs), os.cpu_count() or 1) if large else 1
    if processes <= 1:
        yield from map(_write, jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_write, jobs)


def _write(job: _Job) -> int:
    tank, voltages, scenario, seed, triangles = job.simulator
    protocol = find_protocol(voltages.protocol, voltages.electrodes)
    simulator = Simulator(tank=tank, protocol=protocol, scenario=scenario, seed=seed, triangles=triangles)
    numbers = np.arange(job.first, job.first + job.count)
    samples = [simulator.sample(int(number)) for number in numbers]
    part = VoltagePart(
        voltages=np.stack([sample.voltages for sample in samples]).astype(np.float32),
        images=np.stack([sample.phantom.image() for sample in samples]).astype(np.float16),
        numbers=numbers,
        bodies=numbers // FRAMES_PER_SESSION,
    )
    write_part(job.path, part)
    return job.count


def _require_packages() -> None:
    from importlib.util import find_spec

    for module, package in (("skfem", "scikit-fem"), ("scipy", "scipy")):
        if find_spec(module) is None:
            raise missing_extra(package, "eit")


def _expect(holds: bool, name: str, value: float, expected: str) -> None:
    if not holds:
        raise UsageError("PE-SYNTH-002", found=f"{name} is {value}", expected=expected, next_step="change the number")
