"""What `export` is asked for, and which of it cannot be."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from physedge.deploy.network import NetworkChoice
from physedge.deploy.trust import FALSE_ALARM_RATE
from physedge.project import read_project
from physedge_calibrate.spread import HERE, Spread
from physedge_calibrate.tolerance import Tolerance, standard
from physedge_runtime.errors import UsageError

PRECISIONS = ("auto", "fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What `physedge export` was asked for.

    Attributes:
        choice: The network.
        target: A name of `physedge_export.targets.TARGETS`.
        precision: `auto`, `fp32`, `fp16` or `int8`.
        calibration: Folder of calibration pictures; without it no INT8 is made.
        data: Folder of labelled evaluation data; without it there is no accuracy verdict.
        golden: Folder of real golden frames; synthetic ones where None.
        output: The bundle; `build/NAME.physedge` where None.
        tolerance: Of the gate.
        threads: Of the engines that judge.
        seed: Of everything that is drawn.
        profile: A device that an engine is meant for; a name of `physedge_export.targets.profiles`.
        false_alarm_rate: Share of clean frames that the trust signals may call doubtful.
        spread: Where evaluations run.
        strata: Of calibration and evaluation pictures: a CSV file or a pattern, as for `named_strata`.
        metric: That decides; the headline metric of the task where None.
    """

    choice: NetworkChoice = field(default_factory=NetworkChoice)
    target: str = "onnxruntime"
    precision: str = "auto"
    calibration: Path | None = None
    data: Path | None = None
    golden: Path | None = None
    output: Path | None = None
    tolerance: Tolerance = field(default_factory=standard)
    threads: int | None = None
    seed: int = 0
    profile: str | None = None
    false_alarm_rate: float = FALSE_ALARM_RATE
    spread: Spread = HERE
    strata: str | None = None
    metric: str | None = None


def with_project_data(options: ExportOptions) -> tuple[ExportOptions, tuple[str, ...]]:
    """Where neither data nor calibration is named, those of the working directory's own network.

    `physedge.toml` names the folder it was trained on. Where that holds `train/` and `val/`, the first calibrates and
    the second judges; a folder that training itself divided is left alone, since nothing here tells its parts apart.

    Returns:
        The options, and a sentence that says so where something was filled in.
    """
    choice = options.choice
    is_own = choice.model is None and choice.onnx is None
    if not is_own or options.data is not None or options.calibration is not None:
        return options, ()
    project = read_project()
    if project is None or project.data is None:
        return options, ()
    if not all((project.data / part).is_dir() for part in ("train", "val")):
        return options, ()
    calibration = None if options.precision in ("fp32", "fp16") else project.data
    filled = replace(options, data=project.data, calibration=calibration)
    parts = "its val/ judges" if calibration is None else "its train/ calibrates, its val/ judges"
    return filled, (f"data of {project.path.name}: {parts}",)


def check_options(options: ExportOptions) -> None:
    """Refuse what cannot be done.

    Raises:
        UsageError: PE-EXPORT-001, -002, -004, -005, or the target or profile is unknown.
    """
    from physedge_export.targets import find_target

    find_target(options.target)
    if options.precision not in PRECISIONS:
        raise UsageError(
            "PE-EXPORT-001",
            found=f"the precision {options.precision!r}",
            expected=f"one of {', '.join(PRECISIONS)}",
            next_step="choose one of these with --precision",
        )
    if options.precision == "int8" and options.calibration is None:
        raise UsageError(
            "PE-EXPORT-002",
            found="--precision int8 without calibration pictures",
            expected="--calib DIR with pictures of the training set",
            next_step="add --calib DIR, or name data with train/ and val/ in physedge.toml",
        )
    if options.profile is not None:
        _check_profile(options)
    if options.precision == "fp16" and options.target != "tensorrt":
        raise UsageError(
            "PE-EXPORT-004",
            found=f"--precision fp16 for {options.target}",
            expected="fp16 for the target tensorrt only; processors compute it in fp32",
            next_step="choose fp32 or int8, or --target tensorrt",
        )


def _check_profile(options: ExportOptions) -> None:
    from physedge_export.targets.profiles import find_profile

    assert options.profile is not None
    profile = find_profile(options.profile)
    if options.target != "tensorrt":
        raise UsageError(
            "PE-EXPORT-005",
            found=f"--profile {options.profile} for the target {options.target}",
            expected="a device profile with --target tensorrt only",
            next_step="add --target tensorrt, or leave --profile out",
        )
    if options.precision != "auto":
        profile.require(options.precision)
