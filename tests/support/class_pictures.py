"""A task of classes that is learned in seconds: where a bright spot lies."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

CLASSES = ("left", "none", "right")


def write_class_folders(folder: Path, count: int, *, seed: int, side_px: int = 40) -> Path:
    """Write `count` pictures a class into `folder/CLASS/`; odd sizes, some grey, with alpha, or of 16 bits."""
    rng = np.random.default_rng(seed)
    for name in CLASSES:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            height, width = side_px + int(rng.integers(0, 9)), side_px + int(rng.integers(0, 9))
            picture = rng.integers(60, 110, (height, width, 3)).astype(np.uint8)
            if name != "none":
                across = width // 4 if name == "left" else 3 * width // 4
                cv2.circle(picture, (across, height // 2), 6, (230, 230, 230), -1)
            if index % 4 == 1:
                picture = picture[:, :, 0]
            elif index % 4 == 2:
                picture = np.dstack([picture, np.full((height, width), 255, np.uint8)])
            elif index % 4 == 3:
                picture = picture.astype(np.uint16) * 257
            cv2.imwrite(str(folder / name / f"p{index:03d}.png"), picture)
    return folder


def write_class_task(root: Path, *, train: int = 12, val: int = 4) -> Path:
    write_class_folders(root / "train", train, seed=1)
    write_class_folders(root / "val", val, seed=2)
    return root
