"""From files of measured voltages to weights that fit them; the files' part of `forward_consistency`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from physedge.deploy.network import NetworkChoice, find_network, load_weights
from physedge.models.impedance import ImpedanceNetwork
from physedge.models.registry import load_factory
from physedge.train.forward_consistency import AdaptOptions, adapt, approximation_error
from physedge.train.record import save_weights
from physedge_calibrate.dataset import subset_folder
from physedge_calibrate.voltage_frames import read_declaration, read_voltage_samples
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.sources.voltage_files import read_voltages

_MOST_SIMULATED = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """What came out.

    Attributes:
        measurements: That it was fitted to.
        before: Mean misfit of the network as it was.
        after: Of the network as it was written.
    """

    measurements: int
    before: float
    after: float


def adapt_to_voltages(
    model: str,
    data: Path,
    simulated: Path,
    output: Path,
    *,
    reference: Path | None,
    weights: Path | None,
    options: AdaptOptions,
    advance: Callable[[], object] = lambda: None,
) -> Adapted:
    """Fit a network and write its weights.

    Args:
        model: `eit_post` or `eit_unrolled`.
        data: Measured voltages.
        simulated: A set of the same body: its approximation error is learnt from it, and with fresh weights all that
            is known of clean voltages.
        output: Weights to be written.
        reference: The body at rest, where the data hold no references.
        weights: To begin with; a fresh network where None.
        options: How it is fitted.
        advance: Called after every step.

    Raises:
        UsageError: The network takes in no voltages (`PE-TRAIN-020`), the data have no reference (`PE-TRAIN-021`), or
            files do not belong together.
        SourceError: No voltages in the data.
    """
    voltages = read_declaration(simulated)
    network = load_factory(find_network(NetworkChoice(model=model)).factory)
    if not model.startswith("eit_"):
        raise UsageError(
            "PE-TRAIN-020",
            found=f"the network {model}",
            expected="eit_post or eit_unrolled: others take in no voltages",
            next_step="name one of these",
        )
    torch.manual_seed(options.seed)  # of fresh weights
    module = network(voltages=voltages)
    assert isinstance(module, ImpedanceNetwork)
    measured = torch.from_numpy(measurements(data, reference, voltages))
    frames, truths = simulated_measurements(simulated, voltages)
    if weights is not None:
        load_weights(module, weights)
    else:
        module.load_physics()
    error = approximation_error(module, torch.from_numpy(frames), torch.from_numpy(truths))
    before, after = adapt(module, measured, error, options, advance=advance)
    output.parent.mkdir(parents=True, exist_ok=True)
    save_weights(module, output)
    return Adapted(measurements=len(measured), before=before, after=after)


def measurements(data: Path, reference: Path | None, voltages: VoltageSpec) -> NDArray[np.float32]:
    """float32 (measurement, 2, voltage) of a file or folder, each with its reference.

    Raises:
        UsageError: There is no reference (`PE-TRAIN-021`), or the patterns are others (`PE-FRAME-003`).
        SourceError: There are no voltages.
    """
    frames = read_voltages(data, voltages)
    if frames.ndim == 3:
        return frames
    if reference is None:
        raise UsageError(
            "PE-TRAIN-021",
            found=f"{data.name} with frames of {frames.shape[1]} voltages and no reference",
            expected="--reference FILE, measured on the body at rest",
            next_step="add it",
        )
    rest = read_voltages(reference, voltages).reshape(-1, frames.shape[1]).mean(axis=0)
    return np.stack([np.broadcast_to(rest, frames.shape), frames], axis=1).astype(np.float32)


def simulated_measurements(folder: Path, voltages: VoltageSpec) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Frames (sample, 2, voltage) and true images (sample, height, width) of a set, 2,000 at most."""
    samples = read_voltage_samples(subset_folder(folder, "train"), voltages)[:_MOST_SIMULATED]
    return (
        np.stack([sample.picture() for sample in samples]),
        np.stack([sample.truth() for sample in samples]),
    )
