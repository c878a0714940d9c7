"""Training from voltages alone: the misfit falls, nothing asks for a true image, and bad input is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from physedge.data.synthesize_eit import VoltageSetRequest, synthesize_eit
from physedge.models.eit_post import eit_post
from physedge.physics.eit.embed import embed
from physedge.train.adapt import adapt_to_voltages, measurements
from physedge.train.forward_consistency import AdaptOptions, approximation_error
from physedge_calibrate.voltage_frames import read_arrays, read_voltage_samples
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.voltage_protocol import find_protocol

PROTOCOL = find_protocol("adjacent", 8)
SPEC = VoltageSpec(count=PROTOCOL.count, electrodes=8, protocol="adjacent", reference=True)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("eit") / "sim"
    synthesize_eit(VoltageSetRequest(voltages=SPEC, samples=160, triangles=300, val_fraction=0.2), out, processes=1)
    return out


def test_true_images_leave_a_misfit_of_one(simulated: Path) -> None:
    network = eit_post(voltages=SPEC)
    network.load_physics(embed(SPEC))
    frames, truths = (torch.from_numpy(part) for part in read_arrays(read_voltage_samples(simulated / "train", SPEC)))
    error = approximation_error(network, frames, truths.float())
    rests = network.difference(frames) - network.operator(truths.float()[:, None])
    assert float(error.misfit(rests).mean()) == pytest.approx(1.0, abs=0.2)
    # Without the approximation error the true image looks wrong: most of its rest is no noise.
    plain = rests.square().sum() / network.difference(frames).square().sum()
    assert float(plain) > 0.02


def test_voltages_alone_bring_images_nearer_to_them(simulated: Path, tmp_path: Path) -> None:
    voltages, _ = read_arrays(read_voltage_samples(simulated / "val", SPEC))
    # Larger changes than any that were simulated: a linear body explains them badly.
    voltages[:, 1] += voltages[:, 1] - voltages[:, 0]
    np.save(tmp_path / "measured.npy", voltages)
    done = adapt_to_voltages(
        "eit_post",
        tmp_path / "measured.npy",
        simulated,
        tmp_path / "out/adapted.safetensors",
        reference=None,
        weights=None,
        options=AdaptOptions(steps=30, batch=8, learning_rate=5e-3, anchor=0.0),
    )
    assert done.measurements == 32
    assert done.before > 1.2
    assert done.after < 0.9 * done.before
    assert (tmp_path / "out/adapted.safetensors").is_file()


def test_references_come_from_a_file_or_are_missed(tmp_path: Path) -> None:
    now, rest = np.ones((3, 40), np.float32), np.full((2, 40), 2, np.float32)
    np.save(tmp_path / "now.npy", now)
    np.save(tmp_path / "rest.npy", rest)
    frames = measurements(tmp_path / "now.npy", tmp_path / "rest.npy", SPEC)
    assert frames.shape == (3, 2, 40)
    assert (frames[:, 0] == 2).all()
    with pytest.raises(UsageError, match="PE-TRAIN-021"):
        measurements(tmp_path / "now.npy", None, SPEC)


def test_a_network_without_voltages_is_refused(simulated: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="PE-TRAIN-020"):
        adapt_to_voltages(
            "pmrnet_e",
            tmp_path / "no.npy",
            simulated,
            tmp_path / "out",
            reference=None,
            weights=None,
            options=AdaptOptions(),
        )
