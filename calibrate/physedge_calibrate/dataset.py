"""Pictures and their masks on disk: `images/` beside `masks/`, paired by name, read when asked for.

Nothing of torch: a device lists, pairs and decodes with the same code as training does. A picture and its mask have
the same path below the two folders, up to the suffix.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Colour
from physedge_runtime.sources.folder import find_pictures
from physedge_runtime.sources.picture import read_picture as _decode

IMAGES, MASKS, GROUPS = "images", "masks", "groups.csv"
SUBSETS = ("train", "val", "test")
_GROUP = re.compile(
    r"^(?:.*[/_.-])?(?:case|patient|pat|p|scene|sequence|seq|subject|sub|s|video|vid|v)[_-]?\d+(?=[/_.-])",
    re.IGNORECASE,
)
_STRATUM = re.compile(r"(?:^|[_-])(benign|malignant|normal)(?:[_-]|$)", re.IGNORECASE)
_LARGEST_LABEL = 31
_HALF = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFile:
    """A picture with its mask, both on disk; frozen, and small enough to be listed by the thousand.

    Attributes:
        image_path: The picture.
        mask_path: Its mask, single-channel, of the same size.
        name: Path below the folder that was listed, without `images/` and suffix; for people and reports.
        group: Patient or sequence; kept whole when a set is split, and resampled whole by the statistics.
        stratum: Kind of sample, empty where there is one kind only.
        class_count: Foreground classes of the masks; None where nobody said (see `labels_from_mask`).
    """

    image_path: Path
    mask_path: Path
    name: str
    group: str
    stratum: str = ""
    class_count: int | None = None

    def picture(self) -> NDArray[np.uint8]:
        """The picture, uint8 (height, width, 3), RGB."""
        return read_picture(self.image_path)

    def labels(self) -> NDArray[np.uint8]:
        """The truth, uint8 (height, width): 0 background, else the class index.

        Raises:
            UsageError: The mask holds values that are no classes (`PE-DATA-006`).
        """
        return labels_from_mask(read_mask(self.mask_path), self.class_count, name=self.mask_path.name)

    def pair(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Picture and labels, of one size.

        Raises:
            UsageError: The two differ in size (`PE-DATA-004`).
        """
        picture, labels = self.picture(), self.labels()
        if picture.shape[:2] != labels.shape:
            raise UsageError(
                "PE-DATA-004",
                found=f"the mask {self.mask_path} of {labels.shape[1]}x{labels.shape[0]} pixels",
                expected=f"{picture.shape[1]}x{picture.shape[0]} pixels like its picture (width x height)",
                next_step="export the mask again at the picture's size, or remove the pair",
            )
        return picture, labels


def list_pictures(folder: Path) -> list[Path]:
    """Every picture of a folder at any depth, masks left out, in natural order.

    Raises:
        UsageError: There is no such folder (`PE-DATA-001`) or no picture in it (`PE-DATA-002`).
    """
    check_folder(folder)
    pictures = [path for path in find_pictures(folder) if MASKS not in path.relative_to(folder).parts[:-1]]
    if not pictures:
        raise _empty(folder, "at least one picture (bmp, jpg, png, tif, webp) at any depth")
    return pictures


def subset_folder(folder: Path, subset: str) -> Path:
    """The folder of a subset (`train`, `val`, `test`) where there is one, else the folder itself.

    `DIR/val/images` is `DIR/val`, and so is `DIR` where it holds both `train/` and `val/`.
    """
    chosen = folder / subset
    return chosen if chosen.is_dir() else folder


def read_labelled(folder: Path, class_count: int | None = None) -> list[LabelledFile]:
    """The pairs of every `images/` and `masks/` at or below a folder, in natural order; no pixel is read.

    The `images/` folder itself may be named too, where `masks/` lies beside it.

    Args:
        folder: Holds `images/` and `masks/`, at any depth.
        class_count: Foreground classes of the masks; None where nobody said.

    Raises:
        UsageError: No such folder (`PE-DATA-001`), no picture in an `images/` (`PE-DATA-002`), a picture has no mask
            (`PE-DATA-003`), or `groups.csv` cannot be used (`PE-DATA-010`).
    """
    check_folder(folder)
    root = folder.parent if folder.name == IMAGES and (folder.parent / MASKS).is_dir() else folder
    said = read_groups(root)
    samples: list[LabelledFile] = []
    for images in sorted(path for path in (root / IMAGES, *root.rglob(f"*/{IMAGES}")) if path.is_dir()):
        masks = images.parent / MASKS
        by_name = {_key(path, masks): path for path in find_pictures(masks)} if masks.is_dir() else {}
        prefix = images.parent.relative_to(root).as_posix()
        for path in find_pictures(images):
            key = _key(path, images)
            if key not in by_name:
                raise UsageError(
                    "PE-DATA-003",
                    found=f"the picture {path} has no mask",
                    expected=f"{masks / key}.png",
                    next_step="add the mask (all 0 where there is nothing to find) or remove the picture",
                )
            name = key if prefix == "." else f"{prefix}/{key}"
            group, stratum = said.get(name) or said.get(path.stem) or (group_from_name(name), stratum_from_name(name))
            samples.append(
                LabelledFile(
                    image_path=path,
                    mask_path=by_name[key],
                    name=name,
                    group=group,
                    stratum=stratum,
                    class_count=class_count,
                )
            )
    if not samples:
        raise _empty(folder, f"pictures in {IMAGES}/ and their masks in {MASKS}/")
    return samples


def read_groups(folder: Path) -> dict[str, tuple[str, str]]:
    """Group and stratum by the name of the sample (or of its file, without suffix), where a `groups.csv` says so.

    The file stands in the folder or, for a subset, in the folder above; it has the columns `name` and `group`, and
    `stratum` where there is one. Further columns are left alone.

    Raises:
        UsageError: The file cannot be read, or lacks a column (`PE-DATA-010`).
    """
    places = [folder / GROUPS, *([folder.parent / GROUPS] if folder.name in SUBSETS else [])]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = list(csv.DictReader(lines))
        return {
            Path(row["name"]).with_suffix("").as_posix(): (row["group"], row.get("stratum") or "")
            for row in rows
            if row["name"] and row["group"]
        }
    except (OSError, UnicodeDecodeError, KeyError, csv.Error) as error:
        raise UsageError(
            "PE-DATA-010",
            found=f"{path} cannot be used ({error})",
            expected="a table with the columns name and group",
            next_step="correct the file, or remove it to take the groups from the names",
        ) from error


def group_from_name(name: str) -> str:
    """Patient or sequence of a picture: its name up to a numbered patient, case, sequence, scene or video.

    A name without one is a group of its own.

    Example:
        >>> group_from_name("cvc_s21_f0429")
        'cvc_s21'
        >>> group_from_name("patient07/0003")
        'patient07'
        >>> group_from_name("busi_benign_001")
        'busi_benign_001'
    """
    found = _GROUP.match(name)
    return found.group(0) if found else name


def stratum_from_name(name: str) -> str:
    """Kind of sample, where the name tells it.

    Example:
        >>> stratum_from_name("busi_benign_012")
        'benign'
    """
    found = _STRATUM.search(name)
    return found.group(1).lower() if found else ""


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Decode a picture to uint8 (height, width, 3), RGB.

    OpenCV decodes where it is installed, else Pillow: the same bytes for PNG, BMP and TIFF. For JPEG too where both
    were built with libjpeg-turbo, as their wheels are; its standard fixes no bits, so another build may differ by a
    level or two.

    Raises:
        SourceError: The file is no picture, or is damaged (`PE-SRC-005`).
        EnvironmentFault: No decoder is installed (`PE-ENV-001`).
    """
    pixels, colour = _decode(path)
    return pixels if colour is Colour.RGB else np.ascontiguousarray(pixels[:, :, ::-1])


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Decode a mask to uint8 (height, width), its values as they were stored.

    Raises:
        UsageError: The mask has colours (`PE-DATA-005`).
        SourceError: The file is no picture, or is damaged (`PE-SRC-005`).
    """
    pixels, _ = _decode(path)
    if not ((pixels[:, :, 0] == pixels[:, :, 1]) & (pixels[:, :, 0] == pixels[:, :, 2])).all():
        raise UsageError(
            "PE-DATA-005",
            found=f"the mask {path} has colours",
            expected="one channel: 0 for the background, 255 or the class index for the rest",
            next_step="write the class indices as a grey picture",
        )
    return np.ascontiguousarray(pixels[:, :, 0])


def labels_from_mask(
    mask: NDArray[np.uint8], class_count: int | None = None, *, name: str = "the mask"
) -> NDArray[np.uint8]:
    """Class indices from the values of a mask.

    One foreground class: 0/1 as it is, else everything from 128 on (so 0/255, and masks that were saved as JPEG).
    Several: the values are the class indices, 255 alone means 1. Where nobody said how many there are, values up to 31
    are class indices and any other mask has one class.

    Args:
        mask: uint8 (height, width).
        class_count: Foreground classes, or None.
        name: For the message.

    Raises:
        UsageError: A value lies above the last class (`PE-DATA-006`).
    """
    largest = int(mask.max(initial=0))
    is_binary = class_count == 1 or (class_count is None and largest > _LARGEST_LABEL)
    if largest <= 1 or (not is_binary and largest <= (class_count or _LARGEST_LABEL)):
        return mask
    if is_binary:
        return (mask >= min(_HALF, largest)).view(np.uint8)
    if not np.any((mask > 0) & (mask < largest)) and largest == np.iinfo(np.uint8).max:
        return (mask > 0).view(np.uint8)
    raise UsageError(
        "PE-DATA-006",
        found=f"{name} holds the value {largest}",
        expected=f"class indices from 0 to {class_count}",
        next_step="name every class with --classes, or correct the mask",
    )


def check_classes(truths: Sequence[NDArray[np.uint8]], where: str) -> None:
    """Refuse a set of masks in which there is nothing to tell apart.

    Args:
        truths: Labels (height, width) of every sample.
        where: For the message: which set.

    Raises:
        UsageError: All masks are empty, or all are full (`PE-DATA-007`).
    """
    has_background = any(bool((np.asarray(truth) == 0).any()) for truth in truths)
    has_foreground = any(bool(np.asarray(truth).any()) for truth in truths)
    if has_background and has_foreground:
        return
    raise UsageError(
        "PE-DATA-007",
        found=f"all {len(truths)} masks of {where} are {'full' if has_foreground else 'empty'}",
        expected="background and foreground in at least one of them",
        next_step="check how the masks were written",
    )


def _key(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def check_folder(folder: Path) -> None:
    """Refuse what is no folder.

    Raises:
        UsageError: PE-DATA-001.
    """
    if not folder.is_dir():
        raise UsageError(
            "PE-DATA-001",
            found=f"{folder} is {'no folder' if folder.exists() else 'not there'}",
            expected="a folder of pictures",
            next_step="check the path",
        )


def _empty(folder: Path, expected: str) -> UsageError:
    return UsageError(
        "PE-DATA-002", found=f"{folder} holds no pictures", expected=expected, next_step="name another folder"
    )
