"""What a bundle answers on a fixed set of frames, kept as a golden file and compared with later answers.

A golden file holds, for each frame, the answer and its scores: of a segmentation the mask on the network's grid, of a
classifier the label, of a reconstruction the image. It is a zip of arrays as NumPy writes it, read without pickle.
Pixels may flip where another machine rounds differently: the share that differs is what a comparison looks at.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.dataset import subset_folder
from physedge_calibrate.evaluate import evaluate, read_samples
from physedge_calibrate.metrics.table import METRICS, metric_for
from physedge_calibrate.regression_answers import KINDS, AnswerKind
from physedge_runtime.bundle import write_atomically
from physedge_runtime.errors import IntegrityError, UsageError
from physedge_runtime.net import load
from physedge_runtime.spec import Task

BOUND_PREFIXES = ("min_", "max_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a bundle answered.

    Attributes:
        names: Of the frames, sorted.
        answers: Of a segmentation uint8 (frame, height, width), the class of every pixel of the network's grid; of a
            classifier uint8 (frame,), the index of the class; of a reconstruction float32 (frame, height, width).
        scores: Per-frame scores (frame,) by the name of the metric.
        engine: Fingerprint of what answered.
        task: Of the network.
        classes: Their names.
    """

    names: tuple[str, ...]
    answers: NDArray[Any]
    scores: Mapping[str, NDArray[np.float64]]
    engine: str
    task: Task = Task.SEGMENTATION
    classes: tuple[str, ...] = ()

    @property
    def kind(self) -> AnswerKind:
        """How they are compared."""
        return KINDS[self.task]

    def mean(self, metric: str) -> float:
        """The mean score over all frames."""
        return float(self.scores[metric].mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the answer to one frame differs from the golden one.

    Attributes:
        name: Of the frame.
        fraction: Share of the pixels with another class, or that moved visibly; 1 where a classifier names another.
        described: In words.
    """

    name: str
    fraction: float
    described: str


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
    samples = sorted(read_samples(subset_folder(data, "val"), spec), key=lambda sample: sample.name)
    with opened.open(engine=engine, threads=threads, allow_rejected=True) as net:
        evaluation = evaluate(net.outputs, samples, spec, advance=advance)
        fingerprint = net.engine
    return Answers(
        names=evaluation.names,
        answers=KINDS[spec.task].kept(evaluation, spec),
        scores={name: evaluation.scores(name) for name, row in sorted(METRICS.items()) if row.task == spec.task},
        engine=fingerprint,
        task=spec.task,
        classes=spec.classes,
    )


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
        metric = metric_for(name, task=answers.task)
        value = answers.mean(metric.name)
        if not (value >= bound if prefix == "min_" else value <= bound):
            side = "below" if prefix == "min_" else "above"
            sentences.append(f"mean {metric.title} {value:.4f} is {side} {bound:g}")
    return tuple(sentences)


def changes_from(golden: Answers, answers: Answers) -> tuple[Change, ...]:
    """Every frame whose answer differs, the largest change first.

    Raises:
        IntegrityError: PE-GOLDEN-001, the two are not about the same frames on the same grid.
    """
    if _question(golden) != _question(answers):
        raise IntegrityError(
            "PE-GOLDEN-001",
            found=_question_in_words(answers),
            expected=f"the {_question_in_words(golden)} of the golden file",
            next_step="restore the frames, or renew the file with --update-golden",
        )
    changes = [
        Change(
            name=name,
            fraction=answers.kind.changed(then, now),
            described=answers.kind.described(then, now, answers.classes),
        )
        for name, then, now in zip(golden.names, golden.answers, answers.answers, strict=True)
    ]
    return tuple(sorted((c for c in changes if c.fraction > 0), key=lambda c: -c.fraction))


def _question(answers: Answers) -> tuple[object, ...]:
    return answers.names, answers.task, answers.classes, answers.answers.shape


def _question_in_words(answers: Answers) -> str:
    shape = answers.answers.shape[1:]
    grid = f" on a grid of {shape}" if shape else f" of {', '.join(answers.classes)}"
    return f"{len(answers.names)} {answers.kind.noun}{grid}"


def describe_changes(golden: Answers | None, answers: Answers, *, most: int = 10) -> str:
    """A table of the difference between golden and present answers, for people."""
    if golden is None:
        means = ", ".join(f"{name} {answers.mean(name):.4f}" for name in sorted(answers.scores))
        return f"new golden file of {len(answers.names)} frames: {means}"
    changes = changes_from(golden, answers)
    lines = [f"{len(changes)} of {len(answers.names)} {answers.kind.noun} differ"]
    lines += [
        f"  {name:<10} {golden.mean(name):.4f} -> {answers.mean(name):.4f}"
        for name in sorted(answers.scores)
        if golden.mean(name) != answers.mean(name)
    ]
    lines += [f"  {change.name}: {change.described}" for change in changes[:most]]
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
        answers=answers.answers,
        engine=np.array(answers.engine, dtype=np.str_),
        task=np.array(str(answers.task), dtype=np.str_),
        classes=np.array(answers.classes, dtype=np.str_),
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
                answers=arrays["answers"],
                scores={key[6:]: arrays[key] for key in arrays.files if key.startswith("score_")},
                engine=str(arrays["engine"]),
                task=Task(str(arrays["task"])),
                classes=tuple(str(name) for name in arrays["classes"]),
            )
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise IntegrityError(
            "PE-GOLDEN-002",
            found=f"{path.name} is no golden file ({error})",
            expected="a file that --update-golden wrote",
            next_step="restore it, or renew it with --update-golden",
        ) from error
