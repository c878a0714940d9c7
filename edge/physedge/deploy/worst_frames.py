"""The frames to look at: those that what ships answers worst, and those that changed most against full precision.

The two questions have different answers: a frame that full precision gets wrong, too, lost nothing and is as wrong as
before. Both lists stand on the page, each with its name; their frames are answered again and put side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge.deploy.judge import REFERENCE_ENGINE
from physedge_calibrate.dataset import subset_folder
from physedge_calibrate.evaluate import Sample, read_samples
from physedge_runtime.bundle import Bundle
from physedge_runtime.frame import Frame
from physedge_runtime.frame_mask import mask_on_frame
from physedge_runtime.net import Net
from physedge_runtime.spec import ModelSpec, Task

Panels = tuple[tuple[str, NDArray[np.uint8]], ...]

_WIDEST_PX = 300
_LEAST_PX = 192
_FILL = 0.22
_TRUTH = np.array([70, 210, 110], np.float64)
_ANSWER = np.array([255, 190, 40], np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameScore:
    """How one evaluated frame scored.

    Attributes:
        name: Of the sample.
        group: Patient or sequence.
        stratum: Kind of sample.
        reference: Score of full precision.
        shipped: Score of what ships.
        loss: What was lost, positive where what ships is worse.
    """

    name: str
    group: str
    stratum: str
    reference: float
    shipped: float
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """One frame as people look at it.

    Attributes:
        score: How it scored.
        panels: Title and picture uint8 (height, width, 3), all of one size.
        lines: Answers in words, for a task whose answers are more than masks.
    """

    score: FrameScore
    panels: tuple[tuple[str, NDArray[np.uint8]], ...] = ()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstFrames:
    """The frames to look at, the worst first.

    Attributes:
        by_truth: What ships scores worst on them; of those that score alike the ones that lost most.
        by_change: They lost most against full precision; of those that lost alike the ones with the worst score.
    """

    by_truth: tuple[FrameScore, ...] = ()
    by_change: tuple[FrameScore, ...] = ()

    @property
    def all(self) -> tuple[FrameScore, ...]:
        """The frames of both lists, each once."""
        return tuple({frame.name: frame for frame in (*self.by_truth, *self.by_change)}.values())


def worst_frames(table: Mapping[str, Any], entry: str, *, most: int) -> WorstFrames:
    """The frames to look at.

    Args:
        table: The table of candidates, as `choosing.evidence` wrote it.
        entry: The graph that ships.
        most: Frames to give in each list.
    """
    sign = 1.0 if table["higher_is_better"] else -1.0
    frames = [
        FrameScore(
            name=sample["name"],
            group=sample["group"],
            stratum=sample["stratum"],
            reference=sample["reference"],
            shipped=sample["scores"][entry],
            loss=sign * (sample["reference"] - sample["scores"][entry]),
        )
        for sample in table["samples"]
        if entry in sample["scores"]
    ]
    return WorstFrames(
        by_truth=tuple(sorted(frames, key=lambda frame: (sign * frame.shipped, -frame.loss, frame.name))[:most]),
        by_change=tuple(sorted(frames, key=lambda frame: (-frame.loss, sign * frame.shipped, frame.name))[:most]),
    )


def answer_side_by_side(
    bundle: Bundle,
    data: Path,
    scores: Sequence[FrameScore],
    *,
    engine: str,
    advance: Callable[[], object] = lambda: None,
) -> tuple[SideBySide, ...]:
    """The frames with truth, full precision's answer and that of what ships; frames that are not there are left out.

    Args:
        bundle: The bundle.
        data: Folder of the labelled data that judged it.
        scores: Of the frames.
        engine: That the bundle ships for.
        advance: Called after every frame.
    """
    spec = bundle.manifest.spec
    samples = {sample.name: sample for sample in read_samples(subset_folder(data, "val"), spec)}
    there = [(score, samples[score.name]) for score in scores if score.name in samples]
    if not there:
        return ()
    shown = []
    with (
        bundle.open(engine=REFERENCE_ENGINE, precision="fp32", allow_rejected=True) as full,
        bundle.open(engine=engine, allow_rejected=True) as shipped,
    ):
        for score, sample in there:
            panels = _PANELS[spec.task](sample, spec, full, shipped)
            lines = () if spec.task is Task.SEGMENTATION else _words(sample, spec, full, shipped)
            shown.append(SideBySide(score=score, panels=panels, lines=lines))
            advance()
    return tuple(shown)


def _masks(sample: Sample, spec: ModelSpec, full: Net, shipped: Net) -> Panels:
    picture = sample.picture()
    truth: NDArray[np.uint8] = sample.labels()  # type: ignore[attr-defined]  # a sample of a segmentation has a mask
    answers = [_mask(net, picture, spec) for net in (full, shipped)]
    panels = [
        ("input", picture),
        ("truth", _outlined(picture, truth > 0, _TRUTH)),
        ("full precision", _outlined(picture, answers[0] > 0, _ANSWER)),
        ("shipped", _outlined(picture, answers[1] > 0, _ANSWER)),
    ]
    return tuple((title, _narrowed(values)) for title, values in panels)


def _mask(net: Net, picture: NDArray[np.uint8], spec: ModelSpec) -> NDArray[np.uint8]:
    assert spec.frame is not None
    probability = net.outputs(net.prepare(Frame(pixels=picture)))["probability"][0]
    return mask_on_frame(probability, spec.threshold, spec.frame, (picture.shape[0], picture.shape[1]))


def _outlined(picture: NDArray[np.uint8], where: NDArray[np.bool_], colour: NDArray[np.float64]) -> NDArray[np.uint8]:
    """The picture with an area tinted and its outline drawn."""
    shown = picture.astype(np.float64)
    shown[where] = (1 - _FILL) * shown[where] + _FILL * colour
    padded = np.pad(where, 2)
    inner = padded.copy()
    for axis in (0, 1):
        for shift in (-2, -1, 1, 2):
            inner &= np.roll(padded, shift, axis=axis)
    # The ring's share of the pixels around each pixel: a line without steps.
    ring = np.pad((padded & ~inner)[2:-2, 2:-2], 1).astype(np.float64)
    height, width = where.shape
    shifted = [ring[row : row + height, column : column + width] for row in range(3) for column in range(3)]
    share = (np.sum(shifted, axis=0) / len(shifted))[:, :, np.newaxis]
    shown += share * (colour - shown)
    return shown.astype(np.uint8)


def _narrowed(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    step = max(1, -(-picture.shape[1] // _WIDEST_PX))
    return np.ascontiguousarray(picture[::step, ::step])


def _input(sample: Sample, _spec: ModelSpec, _full: Net, _shipped: Net) -> Panels:
    return (("input", _narrowed(sample.picture())),)


def _images(sample: Sample, _spec: ModelSpec, full: Net, shipped: Net) -> Panels:
    """Images in one scale of colours, that of the truth: red above 0, blue below."""
    truth: NDArray[np.float32] = sample.truth()  # type: ignore[attr-defined]  # a sample of a reconstruction has an image
    frame = Frame(pixels=sample.picture())
    answers = [np.squeeze(net.outputs(net.prepare(frame))["image"], axis=0) for net in (full, shipped)]
    limit = float(np.abs(truth).max()) or 1.0
    titles = ("truth", "full precision", "shipped")
    return tuple((title, coloured(image / limit)) for title, image in zip(titles, (truth, *answers), strict=True))


def coloured(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """A picture of values (height, width) in -1 to 1, enlarged to be seen."""
    up, down = np.clip(values, 0, 1), np.clip(-values, 0, 1)
    colours = np.stack([1 - down, 1 - up - down, 1 - up], axis=-1)
    times = max(1, _LEAST_PX // values.shape[1])
    enlarged = (255 * colours).astype(np.uint8).repeat(times, axis=0).repeat(times, axis=1)
    return np.ascontiguousarray(enlarged)


def _words(sample: Sample, spec: ModelSpec, full: Net, shipped: Net) -> tuple[str, ...]:
    frame = Frame(pixels=sample.picture())
    lines = [f"truth: {sample.stratum}"] if sample.stratum else []
    for title, net in (("full precision", full), ("shipped", shipped)):
        outputs = net.outputs(net.prepare(frame))
        if spec.task is Task.CLASSIFICATION:
            answer = outputs["probability"][0]
            lines.append(f"{title}: " + ", ".join(f"{n} {p:.3f}" for n, p in zip(spec.classes, answer, strict=True)))
        else:
            image = outputs["image"][0]
            lines.append(f"{title}: values {image.min():.4g} to {image.max():.4g}, mean {image.mean():.4g}")
    return tuple(lines)


_PANELS: Mapping[Task, Callable[[Sample, ModelSpec, Net, Net], Panels]] = {
    Task.SEGMENTATION: _masks,
    Task.CLASSIFICATION: _input,
    Task.RECONSTRUCTION: _images,
}
