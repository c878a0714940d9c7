"""What every synthetic scene hands out, and what it must be able to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

FRAME_RATE_HZ = 30


@dataclass(frozen=True, slots=True)
class SceneFrame:
    """One picture with its exact lesion mask.

    Attributes:
        image: `(height, width, 3)` uint8, RGB.
        mask: `(height, width)` uint8, 255 where the pixel shows a lesion, else 0.
    """

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.image.shape != (*self.mask.shape, 3) or self.image.dtype != np.uint8:
            raise ValueError(f"image {self.image.dtype} {self.image.shape} does not match mask {self.mask.shape}")


class Scene(Protocol):
    """A deterministic film: the seed chooses what is seen, the index when, at 30 frames a second."""

    @property
    def seed(self) -> int:
        """The number that chose anatomy, lesion, motion and machine."""
        ...

    def frame(self, index: int) -> SceneFrame:
        """The frame at `index / 30` seconds; any order, always the same bytes."""
        ...


class SceneFactory(Protocol):
    """How a scene is made: the classes of the scene table are such factories."""

    def __call__(self, seed: int, height_px: int = 480, width_px: int = 640) -> Scene:
        """A scene of this seed and picture size."""
        ...


def check_size(seed: int, height_px: int, width_px: int) -> None:
    """Refuse a seed below 0 and pictures too small to show anything.

    Raises:
        ValueError: A number is out of range.
    """
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    if min(height_px, width_px) < 64:
        raise ValueError(f"picture is {height_px} x {width_px} pixels, expected at least 64 x 64")
