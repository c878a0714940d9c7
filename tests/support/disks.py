"""A segmentation task that a threshold solves: bright disks on a dark ground, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def disk_pair(index: int, side_px: int = 96) -> tuple[np.ndarray, np.ndarray]:
    """A picture uint8 (height, width, 3) with one red disk, and its mask (height, width) 0/255."""
    generator = np.random.default_rng(index)
    radius = generator.uniform(0.12, 0.3) * side_px
    y, x = generator.uniform(radius, side_px - radius, 2)
    rows, columns = np.mgrid[:side_px, :side_px]
    inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
    picture = generator.integers(0, 60, (side_px, side_px, 3), dtype=np.uint8)
    picture[inside, 0] = generator.integers(190, 250, int(inside.sum()), dtype=np.uint8)
    # A slow ramp makes every picture another one to a near-duplicate search.
    picture[:, :, 1] += (40 * np.sin(columns / side_px * generator.uniform(2, 9) + index) + 40).astype(np.uint8)
    return picture, np.where(inside, 255, 0).astype(np.uint8)


def write_disks(folder: Path, count: int, *, start: int = 0, group_size: int = 2) -> Path:
    """Write `images/` and `masks/` with file names that carry a sequence."""
    import cv2

    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index in range(start, start + count):
        picture, mask = disk_pair(index)
        name = f"disk_s{index // group_size:03d}_f{index % group_size:03d}.png"
        cv2.imwrite(str(folder / "images" / name), picture[:, :, ::-1])
        cv2.imwrite(str(folder / "masks" / name), mask)
    return folder
