"""Pictures in one folder a class: `glioma/1.jpg` shows what its folder is called. Nothing of torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.dataset import SUBSETS, check_folder, group_from_name, read_groups, read_picture
from physedge_runtime.errors import UsageError
from physedge_runtime.sources.folder import find_pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedFile:
    """A picture whose class is known.

    Attributes:
        image_path: The picture.
        name: Path below the folder that was listed, without suffix; for people and reports.
        group: Patient or sequence; kept whole when a set is split, and resampled whole by the statistics.
        stratum: Name of the class, so that no class is lost behind the mean.
        label: Index of the class.
    """

    image_path: Path
    name: str
    group: str
    stratum: str
    label: int

    def picture(self) -> NDArray[np.uint8]:
        """The picture, uint8 (height, width, 3), RGB."""
        return read_picture(self.image_path)


def class_names(folder: Path) -> tuple[str, ...]:
    """Names of the class folders, in the order of the alphabet; those of `train/` where the folder has one.

    Raises:
        UsageError: No such folder (`PE-DATA-001`), or fewer than two classes in it (`PE-DATA-011`).
    """
    root = folder / SUBSETS[0] if (folder / SUBSETS[0]).is_dir() else folder
    check_folder(root)
    names = tuple(sorted(path.name for path in _subfolders(root)))
    if len(names) < 2:
        raise UsageError(
            "PE-DATA-011",
            found=f"{root} holds {len(names)} folder(s): {', '.join(names) or 'none'}",
            expected="one folder of pictures for each of two or more classes",
            next_step="sort the pictures into folders named by their class",
        )
    return names


def read_class_folders(folder: Path, classes: Sequence[str]) -> list[ClassifiedFile]:
    """Every picture of every class folder, in natural order within the class; no pixel is read.

    Args:
        folder: Holds one folder a class, pictures at any depth below it.
        classes: Names in the order of the network's answers.

    Raises:
        UsageError: No such folder (`PE-DATA-001`), a class has no folder (`PE-DATA-011`) or no picture in it
            (`PE-DATA-012`), a folder is of a class that the network does not know (`PE-DATA-013`), or `groups.csv`
            cannot be used (`PE-DATA-010`).
    """
    check_folder(folder)
    said = read_groups(folder)
    found = {path.name: path for path in _subfolders(folder)}
    _check_names(folder, list(found), classes)
    samples: list[ClassifiedFile] = []
    for label, name in enumerate(classes):
        pictures = find_pictures(found[name])
        if not pictures:
            raise UsageError(
                "PE-DATA-012",
                found=f"the class folder {found[name]} holds no picture",
                expected="at least one picture (bmp, jpg, png, tif, webp) of every class",
                next_step="add pictures of this class, or take it out of the network's classes",
            )
        for path in pictures:
            key = path.relative_to(folder).with_suffix("").as_posix()
            group, _ = said.get(key) or said.get(path.stem) or (group_from_name(key), "")
            samples.append(ClassifiedFile(image_path=path, name=key, group=group, stratum=name, label=label))
    return samples


def _subfolders(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]


def _check_names(folder: Path, found: Sequence[str], classes: Sequence[str]) -> None:
    missing = [name for name in classes if name not in found]
    if missing:
        raise UsageError(
            "PE-DATA-011",
            found=f"{folder} has no folder for {', '.join(missing)}",
            expected=f"one folder a class: {', '.join(classes)}",
            next_step="add the folder, or check the path",
        )
    unknown = sorted(set(found) - set(classes))
    if unknown:
        raise UsageError(
            "PE-DATA-013",
            found=f"{folder} has the folder {unknown[0]}, a class that the network does not know",
            expected=f"the classes {', '.join(classes)}",
            next_step="move the folder away, rename it, or train a network with this class",
        )
