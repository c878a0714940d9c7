"""Faults of one electrode or channel, planted in measured or simulated frames, to test what a device says of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from physedge_runtime.voltage_protocol import VoltageProtocol

Frame = NDArray[np.floating]
Fault = Callable[[Frame, VoltageProtocol, int, np.random.Generator], NDArray[np.float64]]

_DEAD_LEVEL = 1e-3


def dead(
    frame: Frame, protocol: VoltageProtocol, electrode: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """No contact: what touches the electrode reads noise."""
    changed = np.array(frame, np.float64)
    lost = protocol.touches()[electrode]
    changed[lost] = generator.normal(size=int(lost.sum())) * _DEAD_LEVEL * _level(frame)
    return changed


def channel_of(protocol: VoltageProtocol, electrode: int) -> int:
    """The first channel that measures at an electrode."""
    return int(np.flatnonzero(protocol.voltages[electrode])[0])


def dead_channel(
    frame: Frame, protocol: VoltageProtocol, electrode: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """The amplifier that measures between this electrode and others is broken: it reads noise; currents flow on."""
    changed = np.array(frame, np.float64)
    lost = protocol.index[1] == channel_of(protocol, electrode)
    changed[lost] = generator.normal(size=int(lost.sum())) * _DEAD_LEVEL * _level(frame)
    return changed


def measured_gain(share: float) -> Fault:
    """Voltages that are measured at the electrode are too large by this share; currents are as they should be."""

    def fault(
        frame: Frame, protocol: VoltageProtocol, electrode: int, generator: np.random.Generator
    ) -> NDArray[np.float64]:
        _ = generator
        senses = protocol.voltages[electrode, protocol.index[1]] != 0
        return np.asarray(frame * (1 + share * senses), np.float64)

    return fault


def symmetric_gain(share: float) -> Fault:
    """Current and voltage of the electrode are too large alike: what is reciprocal stays so."""

    def fault(
        frame: Frame, protocol: VoltageProtocol, electrode: int, generator: np.random.Generator
    ) -> NDArray[np.float64]:
        _ = generator
        injections, measurements = protocol.index
        times = (protocol.voltages[electrode, measurements] != 0).astype(int)
        times = times + (protocol.currents[electrode, injections] != 0)
        return np.asarray(frame * (1 + share) ** times, np.float64)

    return fault


def noise(decibel: float) -> Fault:
    """White noise of this ratio to the rms of the frame, on all channels."""

    def fault(
        frame: Frame, protocol: VoltageProtocol, electrode: int, generator: np.random.Generator
    ) -> NDArray[np.float64]:
        _ = protocol, electrode
        return np.asarray(frame + generator.normal(size=frame.shape) * _level(frame) / 10 ** (decibel / 20), np.float64)

    return fault


def _level(frame: Frame) -> float:
    return float(np.sqrt(np.mean(np.square(frame))))


FAULTS: Mapping[str, Fault] = MappingProxyType(
    {
        "dead electrode": dead,
        "dead channel": dead_channel,
        "gain 20 %, measured side": measured_gain(0.2),
        "gain 5 %, measured side": measured_gain(0.05),
        "gain 1 %, measured side": measured_gain(0.01),
        "gain 20 %, symmetric": symmetric_gain(0.2),
        "gain 5 %, symmetric": symmetric_gain(0.05),
        "gain 1 %, symmetric": symmetric_gain(0.01),
        "noise 25 dB": noise(25.0),
        "noise 15 dB": noise(15.0),
    }
)
