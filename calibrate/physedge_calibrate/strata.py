"""To which stratum an image belongs: from its folder, from a CSV file, or from a pattern in its name."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from physedge_runtime.errors import UsageError

# One kind of image only.
WHOLE = "all"
_CONTAINERS = {"images", "train", "val", "test"}


def strata_from_folders(paths: Sequence[Path], *, root: Path) -> tuple[str, ...]:
    """The first folder below `root` that says something: `glioma` for `train/glioma/1.jpg`.

    Folders called images, train, val or test say nothing about a stratum and are passed over; images without any
    other folder share one stratum.
    """
    labels = []
    for path in paths:
        folders = [part for part in path.relative_to(root).parts[:-1] if part not in _CONTAINERS]
        labels.append(folders[0] if folders else WHOLE)
    return tuple(labels)


def strata_from_pattern(paths: Sequence[Path], pattern: str) -> tuple[str, ...]:
    r"""What the one group of a regular expression finds in each file name, as `_(benign|malignant)_`.

    Raises:
        UsageError: PE-CALIB-007, not a regular expression with one group; PE-CALIB-008, a name it does not match.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise _bad_pattern(pattern, str(error)) from error
    if compiled.groups != 1:
        raise _bad_pattern(pattern, f"it has {compiled.groups} groups")
    found = [compiled.search(path.name) for path in paths]
    missing = [path.name for path, match in zip(paths, found, strict=True) if match is None]
    if missing:
        raise _without_stratum(missing, len(paths), f"the pattern '{pattern}'")
    return tuple(match.group(1) or WHOLE for match in found if match is not None)


def strata_from_csv(paths: Sequence[Path], table: Path, *, root: Path) -> tuple[str, ...]:
    """The column `stratum` of a CSV file whose column `file` names each image, relative to `root` or by its name.

    Raises:
        UsageError: PE-CALIB-007, not such a file; PE-CALIB-008, an image that it does not name.
    """
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            columns = tuple(reader.fieldnames or ())
            rows = list(reader) if {"file", "stratum"} <= set(columns) else None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad_table(table, str(error)) from error
    if rows is None:
        raise _bad_table(table, f"its columns are: {', '.join(columns) or 'none'}")
    named = {row["file"]: row["stratum"] for row in rows if row["file"] and row["stratum"]}
    labels = [named.get(path.relative_to(root).as_posix(), named.get(path.name)) for path in paths]
    missing = [path.name for path, label in zip(paths, labels, strict=True) if label is None]
    if missing:
        raise _without_stratum(missing, len(paths), table.name)
    return tuple(label for label in labels if label is not None)


def _bad_pattern(pattern: str, why: str) -> UsageError:
    return UsageError(
        "PE-CALIB-007",
        found=f"'{pattern}' is no pattern of strata ({why})",
        expected="a regular expression with one group in brackets, as '_(benign|malignant)_'",
        next_step="correct the pattern",
    )


def _bad_table(table: Path, why: str) -> UsageError:
    return UsageError(
        "PE-CALIB-007",
        found=f"{table.name} is no table of strata ({why})",
        expected="a CSV file in UTF-8 with the columns file and stratum",
        next_step="correct the file",
    )


def _without_stratum(missing: list[str], total: int, source: str) -> UsageError:
    shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return UsageError(
        "PE-CALIB-008",
        found=f"{len(missing)} of {total} images have no stratum by {source}: {shown}",
        expected="a stratum for every image",
        next_step="extend it, or leave strata out",
    )
