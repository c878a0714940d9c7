"""Writes a data set of slices whose tumours the growth equation made.

    OUT/train/KIND/s00003.png, OUT/val/KIND/...   pictures in class folders: diffuse, nodular, no_tumor
    OUT/truth/train/KIND/s00003.npz               density float32 (2, row, column): that of the picture, and a later one
    OUT/truth.csv                                 D, rho, sqrt(D / rho), cell size and days for every picture
    OUT/about.json                                what was asked for

The same arguments give the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from physedge.physics.tumour.slice import KINDS, TumourSlice, draw_slice
from physedge_runtime.errors import UsageError, missing_extra

ABOUT, TRUTH = "about.json", "truth"
COLUMNS: tuple[str, ...] = (
    "name",
    "split",
    "kind",
    "D_mm2_per_day",
    "rho_per_day",
    "front_width_mm",
    "cell_mm",
    "later_days",
    "mass_fraction",
)
_SLICES_PER_SEED = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class TumourRequest:
    """What a set is made from.

    Attributes:
        slices: In both splits together, divided evenly over the kinds.
        seed: Chooses all of them; two seeds share none.
        val_fraction: Share that validates, 0 to 0.5.
        side_px: Side of a picture.
        uniform: One D everywhere and no borders nearby, for which theory is exact.

    Raises:
        UsageError: A number is out of range (`PE-SYNTH-002`).
    """

    slices: int
    seed: int = 0
    val_fraction: float = 0.25
    side_px: int = 192
    uniform: bool = False

    def __post_init__(self) -> None:
        for name, value, holds, expected in (
            ("slices", self.slices, len(KINDS) <= self.slices < _SLICES_PER_SEED, f"{len(KINDS)} to 1048575"),
            ("seed", self.seed, 0 <= self.seed < 2**40, "0 to 2^40 - 1"),
            ("val_fraction", self.val_fraction, 0 <= self.val_fraction <= 0.5, "0 to 0.5"),
            ("size", self.side_px, 96 <= self.side_px <= 384, "96 to 384 pixels"),
        ):
            if not holds:
                raise UsageError(
                    "PE-SYNTH-002",
                    found=f"{name} is {value}",
                    expected=expected,
                    next_step=f"change --{name.replace('_', '-')}",
                )

    def jobs(self) -> Iterator[tuple[str, str, str, int]]:
        """Split, kind, name and seed of every slice; every fourth or so validates, the same share of every kind."""
        for number in range(self.slices):
            kind, place = KINDS[number % len(KINDS)], number // len(KINDS)
            validates = math.floor((place + 1) * self.val_fraction) > math.floor(place * self.val_fraction)
            yield "val" if validates else "train", kind, f"s{number:05d}", self.seed * _SLICES_PER_SEED + number


def synthesize_tumour(
    request: TumourRequest, out: Path, *, progress: Callable[[int], object] = lambda _count: None
) -> dict[str, int]:
    """Write the set; gives the number of pictures by split.

    Args:
        request: What is asked for.
        out: New or empty.
        progress: Called with 1 after every slice.

    Raises:
        UsageError: The folder is not empty (`PE-SYNTH-003`) or cannot be written (`PE-SYNTH-004`).
        EnvironmentFault: OpenCV is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise missing_extra("opencv-python-headless", "train") from error
    if out.is_dir() and any(out.iterdir()):
        raise UsageError(
            "PE-SYNTH-003",
            found=f"{out} is not empty",
            expected="a new or empty folder",
            next_step="choose another folder with --out, or remove this one",
        )
    counts = {"train": 0, "val": 0}
    rows = []
    try:
        for split, kind, name, seed in request.jobs():
            drawn = draw_slice(seed, kind, side_px=request.side_px, uniform=request.uniform)
            for folder in (out / split / kind, out / TRUTH / split / kind):
                folder.mkdir(parents=True, exist_ok=True)
            done, data = cv2.imencode(".png", drawn.picture)
            assert done, "PNG takes any uint8 picture"
            (out / split / kind / f"{name}.png").write_bytes(data.tobytes())
            (out / TRUTH / split / kind / f"{name}.npz").write_bytes(_truth(drawn))
            rows.append(_row(split, name, drawn))
            counts[split] += 1
            progress(1)
        (out / "truth.csv").write_text(_table(rows), encoding="utf-8")
        about = {"schema_version": 1, "request": asdict(request), "pictures": counts}
        (out / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(
            "PE-SYNTH-004",
            found=f"{out} cannot be written ({error.strerror or error})",
            expected="a folder with room and permission to write",
            next_step="choose another folder with --out",
        ) from error
    return counts


def _truth(drawn: TumourSlice) -> bytes:
    memory = io.BytesIO()
    np.savez_compressed(
        memory,
        density=drawn.density.astype(np.float32),
        D_mm2_per_day=np.float64(drawn.diffusivity_mm2_per_day),
        rho_per_day=np.float64(drawn.growth_per_day),
        cell_mm=np.float64(drawn.cell_mm),
        later_days=np.float64(drawn.later_days),
    )
    return memory.getvalue()


def _row(split: str, name: str, drawn: TumourSlice) -> dict[str, str]:
    D, rho = drawn.diffusivity_mm2_per_day, drawn.growth_per_day
    values = (D, rho, math.sqrt(D / rho) if rho else 0.0, drawn.cell_mm, drawn.later_days, drawn.density[0].mean())
    return dict(zip(COLUMNS, (name, split, drawn.kind, *(f"{value:.6g}" for value in values)), strict=True))


def _table(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
