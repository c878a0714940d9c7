"""A network that learns in seconds, through the door for networks of one's own; and a task that it can learn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

SIDE_PX = 32


class TinySegmenter(nn.Module):
    multiple = 8

    def __init__(self, *, classes: int, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 12, 3, padding=1, bias=False),
            nn.BatchNorm2d(12),
            nn.ReLU(),
            nn.Dropout(0.05),
            nn.Conv2d(12, 12, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, classes, 1),
        )

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.body(image)
        return logits


def tiny(*, classes: int, channels: int) -> TinySegmenter:
    return TinySegmenter(classes=classes, channels=channels)


def broken(*, classes: int, channels: int) -> TinySegmenter:
    network = tiny(classes=classes, channels=channels)
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    return network


def square_scene(rng: np.random.Generator, *, labels: int = 1) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A noisy grey picture with a bright square; with two labels a dark one beside it."""
    picture = rng.integers(90, 130, (SIDE_PX, SIDE_PX, 3)).astype(np.uint8)
    mask = np.zeros((SIDE_PX, SIDE_PX), np.uint8)
    for label in range(1, labels + 1):
        half = SIDE_PX // labels
        side = int(rng.integers(8, 12))
        top, left = int(rng.integers(2, SIDE_PX - side - 1)), int(rng.integers(1, half - side - 1))
        left += (label - 1) * half
        picture[top : top + side, left : left + side] = 220 if label == 1 else 20
        mask[top : top + side, left : left + side] = label
    return picture, mask


def write_scenes(
    folder: Path, count: int, *, seed: int, labels: int = 1, mask_factor: int = 255, prefix: str = "s"
) -> None:
    """Write `images/` and `masks/`; every two pictures are one sequence."""
    rng = np.random.default_rng(seed)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        picture, mask = square_scene(rng, labels=labels)
        name = f"{prefix}{index // 2:03d}_f{index:04d}.png"
        cv2.imwrite(str(folder / "images" / name), picture)
        cv2.imwrite(str(folder / "masks" / name), mask * np.uint8(mask_factor))


def write_task(root: Path, *, labels: int = 1, train: int = 24, val: int = 8) -> Path:
    factor = 255 if labels == 1 else 1
    write_scenes(root / "train", train, seed=1, labels=labels, mask_factor=factor)
    write_scenes(root / "val", val, seed=2, labels=labels, mask_factor=factor, prefix="video")
    return root
