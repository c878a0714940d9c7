"""Golden frames: raw inputs that every start replays. Synthetic, so that no patient's picture travels unasked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.frame import VoltageSpec
from physedge_runtime.spec import ModelSpec

MOST_REAL_FRAMES = 8
_SCENES = (("endoscopy", 3), ("ultrasound", 5))
_SCENE_HEIGHT_PX = 240
_SCENE_WIDTH_PX = 320
_GOLDEN_TRIANGLES = 1000


def golden_frames(spec: ModelSpec, folder: Path | None = None) -> list[NDArray[Any]]:
    """The frames of a bundle.

    Args:
        spec: The declaration of the network.
        folder: Real pictures to take instead (at most 8, in the order of their names); synthetic frames where None.

    Returns:
        uint8 (height, width, 3) pictures of several sizes, or float32 (voltage,) or (2, voltage) frames.

    Raises:
        UsageError: The folder has no picture (`PE-DATA-002`).
    """
    if spec.voltages is not None:
        return _measurements(spec.voltages) if spec.voltages.reference else _voltages(spec.voltages.count)
    if folder is not None:
        return _real(folder)
    return [*_scenes(), _texture(96, 131)]


def _scenes() -> list[NDArray[np.uint8]]:
    from physedge.physics.scenes import SCENES

    return [
        SCENES[kind](seed, height_px=_SCENE_HEIGHT_PX, width_px=_SCENE_WIDTH_PX).frame(0).image
        for kind, seed in _SCENES
    ]


def _texture(height_px: int, width_px: int) -> NDArray[np.uint8]:
    """Noise over a ramp, at an odd size: what no scene shows, so that no graph answers it by chance."""
    generator = np.random.default_rng(20)
    ramp = (
        np.linspace(0, 200, width_px)[np.newaxis, :, np.newaxis]
        + np.linspace(0, 30, height_px)[:, np.newaxis, np.newaxis]
    )
    return (ramp + generator.integers(0, 25, (height_px, width_px, 3))).clip(0, 255).astype(np.uint8)


def _measurements(spec: VoltageSpec) -> list[NDArray[np.float32]]:
    """References and frames of two simulated bodies, one of them with a dead electrode."""
    from physedge.physics.eit.simulate import OUT_OF_DISTRIBUTION, Scenario, Simulator
    from physedge.physics.eit.tank import Tank
    from physedge_runtime.voltage_protocol import find_protocol

    protocol, tank = find_protocol(spec.protocol, spec.electrodes), Tank(electrodes=spec.electrodes, cover=spec.cover)
    scenarios = (Scenario(), OUT_OF_DISTRIBUTION["dead_electrode"])
    simulators = [
        Simulator(tank=tank, protocol=protocol, scenario=scenario, seed=22, triangles=_GOLDEN_TRIANGLES)
        for scenario in scenarios
    ]
    return [simulator.sample(0).voltages.astype(np.float32) for simulator in simulators]


def _voltages(count: int) -> list[NDArray[np.float32]]:
    generator = np.random.default_rng(21)
    smooth = np.cumsum(generator.normal(size=(2, count)), axis=1)
    return list((smooth / np.abs(smooth).max() * 1e-3).astype(np.float32))


def _real(folder: Path) -> list[NDArray[np.uint8]]:
    from physedge_calibrate.dataset import list_pictures, read_picture

    return [read_picture(path) for path in list_pictures(folder)[:MOST_REAL_FRAMES]]
