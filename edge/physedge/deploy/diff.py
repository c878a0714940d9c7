"""Two bundles held side by side: what they say of themselves, and what they answer to the same frames.

This is what a change control plan asks of every new release: what changed, in how many answers, and by how much the
metric moved, with its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge.deploy.diff_answers import ANSWERS, FrameChange, WorstFrame
from physedge_calibrate.dataset import list_pictures, read_picture, subset_folder
from physedge_calibrate.evaluate import Sample, read_samples
from physedge_calibrate.statistics import Interval, mean_interval
from physedge_runtime.bundle import Bundle
from physedge_runtime.errors import UsageError
from physedge_runtime.graph_check import graph_parts
from physedge_runtime.manifest import GoldenCase

# Hashes of entries have a list of their own; golden frames follow from the frames.
_LISTED_APART = {"entries", "golden", "verdicts"}
_RECIPE = ("tools", "data", "artefacts", "shipped", "target", "physedge_version")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One value that differs; None where a side has none."""

    key: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphChange:
    """How the graph of one entry differs.

    Attributes:
        entry: Of both bundles.
        operators: Operator to (how often before, after), where that differs.
        tensors_changed: Constant tensors of the same name with other contents.
        tensors_added: Those of new names.
        tensors_removed: Those that are gone.
        tensors: In all, after.
    """

    entry: str
    operators: dict[str, tuple[int, int]]
    tensors_changed: int
    tensors_added: int
    tensors_removed: int
    tensors: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleDiff:
    """Everything that differs between two bundles.

    Attributes:
        before: The older one.
        after: The newer one.
        manifest: What they are and promise.
        recipe: How they were made.
        entries: Files that were added, removed, or have other bytes.
        graphs: Graphs of the same name with other contents.
        frames: One record a frame, in order.
        worst: Those with the largest share, largest first.
        engines: What answered, before and after.
        score: Name of the score of a frame against its truth.
        metric: Mean of (after - before) of the per-frame scores with its 95 % interval; None without truth.
    """

    before: Bundle
    after: Bundle
    manifest: tuple[Change, ...]
    recipe: tuple[Change, ...]
    entries: tuple[Change, ...]
    graphs: tuple[GraphChange, ...]
    frames: tuple[FrameChange, ...] = ()
    worst: tuple[WorstFrame, ...] = ()
    engines: tuple[str, str] = ("", "")
    score: str = ""
    metric: Interval | None = None

    @property
    def changed_pixel_fraction(self) -> float:
        """Mean share of pixels that belong to another class."""
        return float(np.mean([frame.changed_fraction for frame in self.frames])) if self.frames else 0.0

    @property
    def changed_frames(self) -> int:
        """Frames of which any pixel belongs to another class."""
        return sum(frame.changed_fraction > 0 for frame in self.frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffOptions:
    """What is asked of both bundles.

    Attributes:
        frames: Folder of pictures; the golden frames of the older bundle where neither this nor `data` is given.
        data: Folder of labelled data; its `val` where it has one.
        limit: Frames at most, spread over all.
        worst: Frames shown side by side.
        engine: As for `Bundle.open`.
        threads: As for `Bundle.open`.
        seed: Of the bootstrap.
    """

    frames: Path | None = None
    data: Path | None = None
    limit: int | None = None
    worst: int = 6
    engine: str = "auto"
    threads: int | None = None
    seed: int = 0


Pictures = Sequence[tuple[str, Callable[[], NDArray[Any]], Sample | None]]


def diff(
    before: Bundle, after: Bundle, options: DiffOptions | None = None, *, advance: Callable[[], object] = lambda: None
) -> BundleDiff:
    """Compare two bundles, first as they are written, then by their answers.

    Raises:
        UsageError: They answer different tasks or classes, so that answers cannot be compared (`PE-DIFF-001`).
        IntegrityError: One of them does not hold on this machine.
    """
    chosen = options or DiffOptions()
    _check_comparable(before, after)
    said = _changes(_flat(before.manifest.model_dump(mode="json")), _flat(after.manifest.model_dump(mode="json")))
    return _with_answers(
        BundleDiff(
            before=before,
            after=after,
            manifest=tuple(change for change in said if not change.key.startswith(_RECIPE)),
            recipe=tuple(change for change in said if change.key.startswith(_RECIPE)),
            entries=_changes(_hashes(before), _hashes(after)),
            graphs=tuple(_graph_changes(before, after)),
        ),
        chosen,
        advance,
    )


def pictures_of(before: Bundle, options: DiffOptions) -> Pictures:
    """Name, reader and truth of every frame that both bundles will answer."""
    found: Pictures
    if options.data is not None:
        samples = read_samples(subset_folder(options.data, "val"), before.manifest.spec)
        found = [(one.name, one.picture, one) for one in samples]
    elif options.frames is not None:
        found = [(path.name, partial(read_picture, path), None) for path in list_pictures(options.frames)]
    else:
        found = [
            (
                case.frame,
                partial(_golden_frame, before, case),
                None,
            )
            for case in before.manifest.golden
        ]
    if options.limit is None or options.limit >= len(found):
        return found
    return [found[index] for index in np.linspace(0, len(found) - 1, options.limit).round().astype(int)]


def _golden_frame(bundle: Bundle, case: GoldenCase) -> NDArray[Any]:
    dtype = np.uint8 if bundle.manifest.spec.frame is not None else np.dtype("<f4")
    return np.frombuffer(bundle.read(case.frame), dtype).reshape(case.shape)


def _check_comparable(before: Bundle, after: Bundle) -> None:
    ours, theirs = before.manifest.spec, after.manifest.spec
    if (ours.task, ours.classes) != (theirs.task, theirs.classes):
        raise UsageError(
            "PE-DIFF-001",
            found=f"{before.path.name} answers {ours.task} of {', '.join(ours.classes)}, {after.path.name} "
            f"{theirs.task} of {', '.join(theirs.classes)}",
            expected="two bundles that answer the same question",
            next_step="name two releases of one network",
        )


def _flat(content: object, key: str = "") -> dict[str, Any]:
    if isinstance(content, dict):
        pairs: Iterator[tuple[str, object]] = iter(content.items())
    elif isinstance(content, list) and any(isinstance(value, dict) for value in content):
        pairs = ((str(value.get("entry", index)), value) for index, value in enumerate(content))
    else:
        return {key: content}
    flat: dict[str, Any] = {}
    for name, value in pairs:
        if key or name not in _LISTED_APART:
            flat |= _flat(value, f"{key}.{name}" if key else name)
    return flat


def _changes(before: dict[str, Any], after: dict[str, Any]) -> tuple[Change, ...]:
    return tuple(
        Change(key=key, before=before.get(key), after=after.get(key))
        for key in sorted(set(before) | set(after))
        if before.get(key) != after.get(key)
    )


def _hashes(bundle: Bundle) -> dict[str, Any]:
    return {name: entry.sha256 for name, entry in bundle.manifest.entries.items()}


def _graph_changes(before: Bundle, after: Bundle) -> Iterator[GraphChange]:
    theirs = {artefact.entry for artefact in after.manifest.artefacts}
    for artefact in before.manifest.artefacts:
        entry = artefact.entry
        if entry not in theirs or before.read(entry) == after.read(entry):
            continue
        (old_operators, old), (new_operators, new) = graph_parts(before.read(entry)), graph_parts(after.read(entry))
        yield GraphChange(
            entry=entry,
            operators={
                name: (old_operators.get(name, 0), new_operators.get(name, 0))
                for name in sorted(set(old_operators) | set(new_operators))
                if old_operators.get(name, 0) != new_operators.get(name, 0)
            },
            tensors_changed=sum(old[name] != new[name] for name in set(old) & set(new)),
            tensors_added=len(set(new) - set(old)),
            tensors_removed=len(set(old) - set(new)),
            tensors=len(new),
        )


def _with_answers(written: BundleDiff, options: DiffOptions, advance: Callable[[], object]) -> BundleDiff:
    frames: list[FrameChange] = []
    worst: list[WorstFrame] = []
    pictures = pictures_of(written.before, options)
    score, compare = ANSWERS[written.before.manifest.spec.task]
    with (
        written.before.open(engine=options.engine, threads=options.threads, allow_rejected=True) as old,
        written.after.open(engine=options.engine, threads=options.threads, allow_rejected=True) as new,
    ):
        engines = (old.engine, new.engine)
        for name, read, sample in pictures:
            compared = compare(name, read(), (old, new), sample)
            frames.append(compared.change)
            if compared.shown is not None:
                worst.append(compared.shown)
                worst.sort(key=lambda frame: (-frame.change.changed_fraction, frame.change.name))
                del worst[options.worst :]
            advance()
    return replace(
        written,
        frames=tuple(frames),
        worst=tuple(frame for frame in worst if frame.change.changed_fraction > 0),
        engines=engines,
        score=score,
        metric=_metric(frames, pictures, options.seed),
    )


def _metric(frames: Sequence[FrameChange], pictures: Pictures, seed: int) -> Interval | None:
    differences = [
        frame.score_after - frame.score_before
        for frame in frames
        if frame.score_before is not None and frame.score_after is not None
    ]
    if not differences:
        return None
    groups = [labelled.group for _, _, labelled in pictures if labelled is not None]
    return mean_interval(differences, groups=groups, generator=np.random.default_rng(seed))
