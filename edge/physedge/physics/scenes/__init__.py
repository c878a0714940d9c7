"""Synthetic scenes: deterministic films with exact lesion masks, made by the physics of their instrument.

>>> from physedge.physics.scenes import SCENES
>>> frame = SCENES["endoscopy"](seed=5, height_px=96, width_px=128).frame(30)
>>> frame.image.shape, frame.mask.shape
((96, 128, 3), (96, 128))
"""

from __future__ import annotations

from physedge.physics.scenes.endoscopy import EndoscopyScene
from physedge.physics.scenes.frame import FRAME_RATE_HZ, Scene, SceneFactory, SceneFrame
from physedge.physics.scenes.ultrasound import UltrasoundScene

SCENES: dict[str, SceneFactory] = {"ultrasound": UltrasoundScene, "endoscopy": EndoscopyScene}
"""Every kind of scene by the name it has on the command line."""

__all__ = [
    "FRAME_RATE_HZ",
    "SCENES",
    "EndoscopyScene",
    "Scene",
    "SceneFactory",
    "SceneFrame",
    "UltrasoundScene",
]
