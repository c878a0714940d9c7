"""Which samples train, validate and test: by folder, by list, or by whole patients and sequences.

In this order, the first that is there decides:

    DIR/train/ and DIR/val/        folders, DIR/test/ where there is one
    DIR/splits.toml                train = [...], val = [...], test = [...]: names of samples or of groups
    DIR/train.txt and DIR/val.txt  one name a line, DIR/test.txt where there is one; # starts a comment
    otherwise                      70, 10 and 20 % of the groups, drawn with the seed; no group is divided
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from physedge_calibrate.dataset import SUBSETS, read_labelled
from physedge_calibrate.samples import Sample
from physedge_runtime.errors import UsageError

SHARES = (0.7, 0.1, 0.2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """A data set, divided.

    Attributes:
        train: At least one sample.
        val: At least one sample; chooses the weights.
        test: May be empty; read once, at the end.
        how: How it was divided, for people.
    """

    train: tuple[Any, ...]
    val: tuple[Any, ...]
    test: tuple[Any, ...] = ()
    how: str = ""

    def __add__(self, other: Splits) -> Splits:
        return Splits(
            train=self.train + other.train,
            val=self.val + other.val,
            test=self.test + other.test,
            how=self.how if self.how == other.how else f"{self.how}; {other.how}",
        )


def find_splits(
    folder: Path,
    *,
    class_count: int | None = None,
    seed: int = 0,
    read: Callable[[Path], Sequence[Sample]] | None = None,
) -> Splits:
    """Read a data set and divide it.

    Args:
        folder: The root of the data set.
        class_count: Foreground classes of the masks.
        seed: Of the division into groups, where nothing else decides.
        read: Lists the samples of a folder; pictures with masks where None.

    Raises:
        UsageError: The folder or a list cannot be used (`PE-DATA-001` to `PE-DATA-003`, `PE-DATA-008`), or there
            are too few groups to divide (`PE-DATA-009`).
    """
    reader = read or (lambda part: read_labelled(part, class_count))
    if (folder / "train").is_dir() and (folder / "val").is_dir():
        parts = {subset: tuple(reader(folder / subset)) for subset in SUBSETS if (folder / subset).is_dir()}
        return Splits(**parts, how="by folder")
    samples = reader(folder)
    lists = _read_lists(folder)
    if lists is not None:
        return _by_lists(samples, lists, folder)
    return split_by_group(samples, seed=seed)


def split_by_group(samples: Sequence[Sample], *, seed: int, shares: Sequence[float] = SHARES) -> Splits:
    """Divide whole groups, so that no patient or sequence is on two sides.

    The groups are drawn in a random order; each goes to the part that is furthest below its share of the samples.

    Raises:
        UsageError: There are fewer than three groups (`PE-DATA-009`).
    """
    by_group: dict[str, list[Sample]] = {}
    for sample in samples:
        by_group.setdefault(sample.group, []).append(sample)
    if len(by_group) < len(SUBSETS):
        raise UsageError(
            "PE-DATA-009",
            found=f"{len(by_group)} group(s) of pictures ({', '.join(sorted(by_group)[:3])})",
            expected="at least 3 patients or sequences, so that none is both trained and tested on",
            next_step="divide the set into train/ and val/ by hand, or name the groups in groups.csv",
        )
    names = sorted(by_group)
    order = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    order[len(SUBSETS) :] = sorted(order[len(SUBSETS) :], key=lambda name: -len(by_group[name]))
    parts: dict[str, list[Sample]] = {subset: [] for subset in SUBSETS}
    for position, name in enumerate(order):
        subset = (
            SUBSETS[position]
            if position < len(SUBSETS)  # every part gets one group, however few there are
            else min(SUBSETS, key=lambda part: len(parts[part]) / shares[SUBSETS.index(part)])
        )
        parts[subset].extend(by_group[name])
    how = f"{len(names)} groups drawn with seed {seed}"
    return Splits(train=tuple(parts["train"]), val=tuple(parts["val"]), test=tuple(parts["test"]), how=how)


def _read_lists(folder: Path) -> tuple[str, dict[str, list[str]]] | None:
    toml = folder / "splits.toml"
    try:
        if toml.is_file():
            return toml.name, _checked(tomllib.loads(toml.read_text(encoding="utf-8")), toml)
        if (folder / "train.txt").is_file() and (folder / "val.txt").is_file():
            files = {subset: folder / f"{subset}.txt" for subset in SUBSETS}
            return "train.txt and val.txt", {
                subset: _lines(path.read_text(encoding="utf-8")) for subset, path in files.items() if path.is_file()
            }
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _bad_list(str(toml if toml.is_file() else folder / "train.txt"), f"cannot be read ({error})") from error
    return None


def _checked(content: Mapping[str, object], path: Path) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for subset, names in content.items():
        if subset not in SUBSETS or not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise _bad_list(str(path), f"has {subset!r}, which is no list of names for {', '.join(SUBSETS)}")
        lists[subset] = [str(name) for name in names]
    return lists


def _lines(text: str) -> list[str]:
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _by_lists(samples: Sequence[Sample], lists: tuple[str, dict[str, list[str]]], folder: Path) -> Splits:
    origin, wanted = lists
    known: dict[str, list[Sample]] = {}
    for sample in samples:
        relative = sample.image_path.relative_to(folder).as_posix()
        for name in {sample.name, sample.image_path.name, sample.image_path.stem, relative, sample.group}:
            known.setdefault(name, []).append(sample)
    owner: dict[Path, str] = {}
    parts: dict[str, list[Sample]] = {subset: [] for subset in SUBSETS}
    for subset, names in wanted.items():
        for name in names:
            if name not in known:
                raise _bad_list(f"{folder / origin}", f"names {name!r}, which is no picture and no group of {folder}")
            for sample in known[name]:
                if owner.setdefault(sample.image_path, subset) != subset:
                    other = owner[sample.image_path]
                    raise _bad_list(f"{folder / origin}", f"has {sample.name!r} in both {other} and {subset}")
                if sample not in parts[subset]:
                    parts[subset].append(sample)
    for subset in ("train", "val"):
        if not parts[subset]:
            raise _bad_list(f"{folder / origin}", f"names nothing for {subset}")
    return Splits(train=tuple(parts["train"]), val=tuple(parts["val"]), test=tuple(parts["test"]), how=f"by {origin}")


def _bad_list(where: str, what: str) -> UsageError:
    return UsageError(
        "PE-DATA-008",
        found=f"{where} {what}",
        expected="each picture (or group) once, in one of train, val and test",
        next_step="correct the list",
    )
