"""Simulated measurements: a reference frame and a frame, with every error that a real device has on its own switch.

Each error draws from a generator of its own, so that switching one off leaves all others as they were.
"""

from __future__ import annotations

import enum
import zlib
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from physedge.physics.eit.forward import CompleteElectrodeModel
from physedge.physics.eit.linear import CONTACT_IMPEDANCE, SIMULATION_TRIANGLES
from physedge.physics.eit.mesh import DiskMesh, mesh_of_at_least
from physedge.physics.eit.phantoms import SHAPES, UNSEEN_SHAPES, Phantom, draw_phantom
from physedge.physics.eit.tank import Tank
from physedge_runtime.errors import UsageError
from physedge_runtime.voltage_protocol import VoltageProtocol


class MeasurementError(enum.StrEnum):
    """What is not as the model says."""

    NOISE = "noise"
    CONTACT = "contact"
    ANGLE = "angle"
    SHAPE = "shape"
    GAIN = "gain"
    DEAD = "dead"


FRAMES_PER_SESSION = 4
"""Frames of one body with one reference, as they are measured; they share electrodes, gains and background."""

DEAD_LEVEL = 1e-3
"""What a channel without contact reads, as a share of the rms of all voltages."""

USUAL_ERRORS = tuple(error for error in MeasurementError if error is not MeasurementError.DEAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How bodies and measurements are drawn.

    Attributes:
        errors: Those that are switched on.
        shapes: Of the inclusions.
        counts: Fewest and most inclusions.
        small_share: Share of bodies that hold a single small target, 2 to 10 % of the radius.
        noise_db: Range of the ratio of the voltages' rms to the white noise.
        contact_deviation: Of ln of every contact impedance.
        contact_drift: The same from reference to frame.
        angle_deg: Range of the standard deviation of the electrodes' displacement along the boundary.
        shape_deviation: Of the ratio of the axes from 1.
        gain_deviation: Of every channel's gain from 1; a channel is one measurement pattern.
        reference_share: Share of the displacements that differs between reference and frame.
    """

    errors: tuple[MeasurementError, ...] = USUAL_ERRORS
    shapes: tuple[str, ...] = SHAPES
    counts: tuple[int, int] = (1, 4)
    small_share: float = 0.2
    noise_db: tuple[float, float] = (30.0, 70.0)
    contact_deviation: float = 0.3
    contact_drift: float = 0.02
    angle_deg: tuple[float, float] = (0.5, 1.0)
    shape_deviation: float = 0.015
    gain_deviation: float = 0.005
    reference_share: float = 0.05


OUT_OF_DISTRIBUTION: dict[str, Scenario] = {
    "unseen_shapes": Scenario(shapes=UNSEEN_SHAPES, small_share=0.0),
    "five_inclusions": Scenario(counts=(5, 5), small_share=0.0),
    "double_jitter": Scenario(angle_deg=(1.0, 2.0)),
    "noise_25_db": Scenario(noise_db=(25.0, 25.0)),
    "dead_electrode": Scenario(errors=(*USUAL_ERRORS, MeasurementError.DEAD)),
}
"""Sets that a network was not trained for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One simulated measurement.

    Attributes:
        voltages: float64 (2, voltage): reference and frame.
        phantom: What was in the body.
        dead: The electrode without contact; -1 for none.
    """

    voltages: NDArray[np.float64]
    phantom: Phantom
    dead: int


def generator_for(seed: int, number: int, purpose: str) -> np.random.Generator:
    """A generator of its own for every seed, sample and purpose."""
    return np.random.default_rng([seed, number, zlib.crc32(purpose.encode())])


@dataclass(slots=True, kw_only=True)
class Simulator:
    """Draws and measures bodies in one tank.

    Attributes:
        tank: Undisturbed.
        protocol: What is measured.
        scenario: How bodies and measurements are drawn.
        seed: Of everything.
        triangles: The fewest of the mesh.
    """

    tank: Tank
    protocol: VoltageProtocol
    scenario: Scenario
    seed: int
    triangles: int = SIMULATION_TRIANGLES
    mesh: DiskMesh = field(init=False)
    _like: CompleteElectrodeModel = field(init=False)
    _session: _Session | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.mesh = mesh_of_at_least(self.tank, self.triangles)
        self._like = CompleteElectrodeModel(self.tank.ideal(), self.mesh)
        self._like.prepare()

    def sample(self, number: int) -> Sample:
        """The sample of this number; the same whichever were drawn before."""
        scenario = self.scenario
        session = self._session_of(number)
        phantom = draw_phantom(
            self._generator(number, "phantom"),
            shapes=scenario.shapes,
            counts=scenario.counts,
            small_share=scenario.small_share,
        )
        phantom = replace(phantom, background=session.empty.background, texture=session.empty.texture)
        impedance = session.impedance
        if MeasurementError.CONTACT in scenario.errors:
            drift = self._generator(number, "drift").normal(size=self.tank.electrodes) * scenario.contact_drift
            impedance = impedance * np.exp(drift)
        model = session.model
        conductivity = phantom.conductivity(model.points, model.triangles)
        frame = model.solve(conductivity, impedance).frame(self.protocol)
        voltages = np.stack([session.reference, frame]) * session.gain
        level = np.sqrt(np.mean(voltages[0] ** 2))
        if MeasurementError.NOISE in scenario.errors:
            noise = self._generator(number, "noise").normal(size=voltages.shape)
            voltages = voltages + noise * level / session.noise_ratio
        dead = -1
        if MeasurementError.DEAD in scenario.errors:
            draw = self._generator(number, "dead")
            dead = int(draw.integers(self.tank.electrodes))
            lost = self.protocol.touches()[dead]
            voltages[1, lost] = draw.normal(size=int(lost.sum())) * DEAD_LEVEL * level
        return Sample(voltages=voltages, phantom=phantom, dead=dead)

    def _session_of(self, number: int) -> _Session:
        """One body: its electrodes, its reference; kept until another one is asked for."""
        place = number // FRAMES_PER_SESSION
        if self._session is not None and self._session.place == place:
            return self._session
        scenario = self.scenario
        empty = draw_phantom(self._generator(place, "background"), counts=(0, 0))
        impedance = self._impedance(place)
        first, second = (CompleteElectrodeModel(tank, self.mesh, like=self._like) for tank in self._tanks(place))
        reference = first.solve(empty.reference(first.centroids), impedance).frame(self.protocol)
        gain = np.ones(self.protocol.count)
        if MeasurementError.GAIN in scenario.errors:
            draw = self._generator(place, "gain").normal(size=self.protocol.voltages.shape[1])
            gain = (1 + scenario.gain_deviation * np.asarray(draw))[self.protocol.index[1]]
        ratio = 10 ** (self._generator(place, "noise ratio").uniform(*scenario.noise_db) / 20)
        self._session = _Session(
            place=place,
            model=second,
            empty=empty,
            impedance=impedance,
            reference=reference,
            gain=gain,
            noise_ratio=float(ratio),
        )
        return self._session

    def _generator(self, number: int, purpose: str) -> np.random.Generator:
        return generator_for(self.seed, number, purpose)

    def _tanks(self, place: int) -> tuple[Tank, Tank]:
        """Deformed for the reference, and a little otherwise for the frame."""
        scenario, electrodes = self.scenario, self.tank.electrodes
        angles, axes = np.zeros((2, electrodes)), np.ones((2, 2))
        if MeasurementError.ANGLE in scenario.errors:
            draw = self._generator(place, "angle")
            deviation = np.deg2rad(draw.uniform(*scenario.angle_deg))
            # No electrode may reach its neighbour.
            limit = 0.3 * (1 - self.tank.cover) * self.tank.pitch_rad
            common, own = draw.normal(size=electrodes), draw.normal(size=electrodes)
            angles = np.clip(deviation * np.stack([common, common + scenario.reference_share * own]), -limit, limit)
        if MeasurementError.SHAPE in scenario.errors:
            draw = self._generator(place, "shape")
            common, own = draw.normal(size=2), draw.normal(size=2)
            axes = 1 + scenario.shape_deviation * np.stack([common, common + scenario.reference_share * own])
        first, second = (
            Tank(
                electrodes=electrodes,
                cover=self.tank.cover,
                angle_offsets_rad=tuple(angles[k].tolist()),
                semi_axes=(float(axes[k, 0]), float(axes[k, 1])),
            )
            for k in range(2)
        )
        return first, second

    def _impedance(self, place: int) -> NDArray[np.float64]:
        """(electrode,) contact impedances at the reference."""
        logarithm = np.zeros(self.tank.electrodes)
        if MeasurementError.CONTACT in self.scenario.errors:
            draw = self._generator(place, "contact")
            logarithm = draw.normal(size=len(logarithm)) * self.scenario.contact_deviation + draw.normal(scale=0.5)
        return CONTACT_IMPEDANCE * np.exp(logarithm)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """What the frames of one body share."""

    place: int
    model: CompleteElectrodeModel
    empty: Phantom
    impedance: NDArray[np.float64]
    reference: NDArray[np.float64]
    gain: NDArray[np.float64]
    noise_ratio: float


def errors_from_words(words: str) -> tuple[MeasurementError, ...]:
    """The errors that are meant by `noise,gain`, `usual` or `none`, in the order of the enumeration.

    Raises:
        UsageError: A word is none of them (`PE-EIT-003`).

    Example:
        >>> [error.value for error in errors_from_words("gain,noise")]
        ['noise', 'gain']
    """
    if words in ("usual", "none"):
        return USUAL_ERRORS if words == "usual" else ()
    asked = {word.strip() for word in words.split(",") if word.strip()}
    unknown = asked - {error.value for error in MeasurementError}
    if unknown:
        raise UsageError(
            "PE-EIT-003",
            found=f"the error '{sorted(unknown)[0]}'",
            expected=f"some of {', '.join(MeasurementError)}, or usual, or none",
            next_step="correct --errors",
        )
    return tuple(error for error in MeasurementError if error.value in asked)
