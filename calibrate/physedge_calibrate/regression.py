"""What a bundle answers on a fixed set of frames, kept as a golden file and compared with later answers.

A golden file holds, for each frame, the mask on the network's grid and its scores. It is a zip of arrays as NumPy
writes it, read without pickle. Pixels of a mask may flip where another machine rounds differently: the share of
pixels that flip is what a comparison looks at.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.dataset import read_labelled, subset_folder
from physedge_calibrate.evaluate_segmentation import SegmentationEvaluation, evaluate_segmentation
from physedge_calibrate.metrics.segmentation import dice
from physedge_calibrate.metrics.table import METRICS, metric_for
from physedge_runtime.bundle import write_atomically
from physedge_runtime.decode import foreground
from physedge_runtime.errors import IntegrityError, UsageError
from physedge_runtime.net import load

BOUND_PREFIXES = ("min_", "max_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a bundle answered.

    Attributes:
        names: Of the frames, sorted.
        masks: uint8 (frame, height, width), class of every pixel of the network's grid.
        scores: Per-frame scores (frame,) by the name of the metric.
        engine: Fingerprint of what answered.
    """

    names: tuple[str, ...]
    masks: NDArray[np.uint8]
    scores: Mapping[str, NDArray[np.float64]]
    engine: str

    def mean(self, metric: str) -> float:
        """The mean score over all frames."""
        return float(self.scores[metric].mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one frame's mask differs from the golden one.

    Attributes:
        name: Of the frame.
        pixel_fraction: Share of the pixels with another class.
        dice: Overlap of the two masks' foregrounds.
    """

    name: str
    pixel_fraction: float
    dice: float


def answer_frames(
    bundle: Path,
    data: Path,
    *,
    engine: str = "auto",
    threads: int | None = 1,
    advance: Callable[[], object] = lambda: None,
) -> Answers:
    """Run a bundle over labelled frames.

    Args:
        bundle: The bundle; a rejected one is opened too, its bounds decide.
        data: Folder of labelled data; its `val` where it has one.
        engine: As for `Bundle.open`.
        threads: Of the engine; one by default, so that the order of additions does not change.
        advance: Called after every frame.

    Raises:
        PhysedgeError: Whatever loading, opening and reading raise.
    """
    opened = load(bundle)
    spec = opened.manifest.spec
    samples = sorted(read_labelled(subset_folder(data, "val"), len(spec.classes) - 1), key=lambda sample: sample.name)
    with opened.open(engine=engine, threads=threads, allow_rejected=True) as net:
        evaluation = evaluate_segmentation(net.outputs, samples, spec, advance)
        fingerprint = net.engine
    return _answers(evaluation, spec.threshold, fingerprint)


def broken_bounds(answers: Answers, bounds: Mapping[str, float]) -> tuple[str, ...]:
    """A sentence for every bound on a mean score that does not hold.

    Args:
        answers: Of the bundle.
        bounds: By `min_` or `max_` and the name of a metric: `min_dice=0.85`, `max_hd95=20`.

    Raises:
        UsageError: PE-METRIC-001, a metric that does not fit; PE-METRIC-003, neither `min_` nor `max_`.
    """
    sentences = []
    for key, bound in bounds.items():
        prefix, name = key[:4], key[4:]
        if prefix not in BOUND_PREFIXES:
            raise UsageError(
                "PE-METRIC-003",
                found=f"the bound '{key}'",
                expected="min_ or max_ and the name of a metric, as min_dice or max_hd95",
                next_step="correct the name",
            )
        metric = metric_for(name, task="segmentation")
        value = answers.mean(metric.name)
        if not (value >= bound if prefix == "min_" else value <= bound):
            side = "below" if prefix == "min_" else "above"
            sentences.append(f"mean {metric.title} {value:.4f} is {side} {bound:g}")
    return tuple(sentences)


def changes_from(golden: Answers, answers: Answers) -> tuple[Change, ...]:
    """Every frame whose mask differs, the largest change first.

    Raises:
        IntegrityError: PE-GOLDEN-001, the two are not about the same frames on the same grid.
    """
    if golden.names != answers.names or golden.masks.shape != answers.masks.shape:
        raise IntegrityError(
            "PE-GOLDEN-001",
            found=f"{len(answers.names)} frames on a grid of {answers.masks.shape[1:]}",
            expected=f"the {len(golden.names)} frames on a grid of {golden.masks.shape[1:]} of the golden file",
            next_step="restore the frames, or renew the file with --update-golden",
        )
    changes = [
        Change(name=name, pixel_fraction=float((then != now).mean()), dice=dice(now > 0, then > 0))
        for name, then, now in zip(golden.names, golden.masks, answers.masks, strict=True)
    ]
    return tuple(sorted((c for c in changes if c.pixel_fraction > 0), key=lambda c: -c.pixel_fraction))


def describe_changes(golden: Answers | None, answers: Answers, *, most: int = 10) -> str:
    """A table of the difference between golden and present answers, for people."""
    if golden is None:
        means = ", ".join(f"{name} {answers.mean(name):.4f}" for name in sorted(answers.scores))
        return f"new golden file of {len(answers.names)} frames: {means}"
    changes = changes_from(golden, answers)
    lines = [f"{len(changes)} of {len(answers.names)} masks differ"]
    lines += [
        f"  {name:<10} {golden.mean(name):.4f} -> {answers.mean(name):.4f}"
        for name in sorted(answers.scores)
        if golden.mean(name) != answers.mean(name)
    ]
    lines += [
        f"  {change.name}: {change.pixel_fraction:.4%} of the pixels, Dice {change.dice:.4f} between both"
        for change in changes[:most]
    ]
    if len(changes) > most:
        lines.append(f"  and {len(changes) - most} more")
    return "\n".join(lines)


def write_golden(path: Path, answers: Answers) -> None:
    """Write a golden file, whole or not at all; the same answers give the same bytes."""
    memory = io.BytesIO()
    scores = {f"score_{name}": values for name, values in sorted(answers.scores.items())}
    np.savez_compressed(
        memory,
        names=np.array(answers.names, dtype=np.str_),
        masks=answers.masks,
        engine=np.array(answers.engine, dtype=np.str_),
        **scores,  # type: ignore[arg-type]  # NumPy's stub takes the names of arrays for its own options
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, memory.getvalue())


def read_golden(path: Path) -> Answers | None:
    """The answers of a golden file; None where there is none.

    Raises:
        IntegrityError: PE-GOLDEN-002, it is no golden file.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return Answers(
                names=tuple(str(name) for name in arrays["names"]),
                masks=arrays["masks"],
                scores={key[6:]: arrays[key] for key in arrays.files if key.startswith("score_")},
                engine=str(arrays["engine"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise IntegrityError(
            "PE-GOLDEN-002",
            found=f"{path.name} is no golden file ({error})",
            expected="a file that --update-golden wrote",
            next_step="restore it, or renew it with --update-golden",
        ) from error


def _answers(evaluation: SegmentationEvaluation, threshold: float, engine: str) -> Answers:
    masks = [foreground(probability.astype(np.float32), threshold) for probability in evaluation.probabilities]
    return Answers(
        names=evaluation.names,
        masks=np.stack(masks),
        scores={name: evaluation.scores(name) for name, row in sorted(METRICS.items()) if row.task == "segmentation"},
        engine=engine,
    )
