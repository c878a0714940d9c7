"""The measured tanks: the model fits the homogeneous ones, for reasons that are known, and images find the targets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from physedge.physics.eit.absolute import fit_background
from physedge.physics.eit.forward import CompleteElectrodeModel
from physedge.physics.eit.linear import linearise, noise_deviation, noser
from physedge.physics.eit.mesh import mesh_of_at_most
from physedge.physics.eit.tank import Tank
from physedge_calibrate.metrics.ktc import ktc_score, segment
from physedge_calibrate.metrics.reconstruction import correlation
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.sources.voltage_files import read_matlab, read_voltages
from physedge_runtime.voltage_protocol import VoltageProtocol, find_protocol

UEF = Tank(electrodes=16, cover=0.455)
KTC = Tank(electrodes=32, cover=0.5)
_SIXTEEN_PAIRS = 16


@pytest.fixture(scope="module")
def tanks(development_data: Path) -> Path:
    folder = development_data / "eit"
    if not folder.is_dir():
        pytest.skip("the measured tanks are not here (PHYSEDGE_DATA)")
    return folder


def test_a_homogeneous_tank_of_16_electrodes_is_fitted(tanks: Path) -> None:
    protocol = find_protocol("adjacent", 16)
    spec = VoltageSpec(count=protocol.count, electrodes=16, protocol="adjacent")
    frame = read_voltages(tanks / "uef2d/datamat_1_0.mat", spec)[0].astype(np.float64)
    model = CompleteElectrodeModel(UEF, mesh_of_at_most(UEF, 1500))
    fit = fit_background(model, protocol, frame, accuracy=1e-2, steps=5)
    assert fit.misfit < 0.04
    assert (fit.contact_impedance > 1e-6).all()


def test_the_channels_of_the_ktc_tank_have_offsets(tanks: Path) -> None:
    """What no homogeneous body explains is the same for all currents: constants of single channels, up to 0.09 V."""
    measured = read_matlab(tanks / "ktc2023/ref.mat")
    kept = np.ones(measured.voltages.shape, bool)
    kept[_SIXTEEN_PAIRS::3] = False
    protocol = VoltageProtocol(
        name="ktc2023 as measured", currents=measured.currents, voltages=measured.measurements, kept=kept
    )
    frame = measured.voltages[kept]
    model = CompleteElectrodeModel(KTC, mesh_of_at_most(KTC, 2000))
    plain = fit_background(model, protocol, frame, accuracy=2e-2, steps=3)
    fit = fit_background(model, protocol, frame, accuracy=2e-2, steps=3, has_offsets=True)
    assert plain.misfit > 0.055
    assert fit.misfit < 0.04
    # Both channels of one electrode, against each other: its potential reads 0.08 V too low.
    assert fit.offsets[29] == pytest.approx(0.08, abs=0.02)
    assert fit.offsets[30] == pytest.approx(-0.09, abs=0.02)


@pytest.mark.parametrize("number", [1, 3])
def test_ktc_targets_are_found_by_differences(tanks: Path, number: int) -> None:
    """Sixteen adjacent injections only, which keeps the matrices small; offsets cancel in a difference."""
    from scipy.io import loadmat

    full = find_protocol("ktc2023", 32)
    kept = np.zeros(full.kept.shape, bool)
    kept[:_SIXTEEN_PAIRS] = True
    body = linearise(
        KTC,
        VoltageProtocol(name="part", currents=full.currents, voltages=full.voltages, kept=kept),
        largest_triangles=2000,
    )
    spec = VoltageSpec(count=full.count, electrodes=32, protocol="ktc2023")
    rest, frame = (
        read_voltages(tanks / "ktc2023" / name, spec)[0].astype(np.float64)[: kept.sum()]
        for name in ("ref.mat", f"data{number}.mat")
    )
    gain = (rest @ body.frame) / (rest @ rest)
    noise = noise_deviation(body.frame, relative=5e-3, absolute=5e-3)
    image = noser(body, noise=noise).reconstruction()((frame - rest) * gain).reshape(64, 64)
    truth = loadmat(tanks / f"ktc2023/true{number}.mat")["truth"].astype(np.int64)
    signed = np.where(truth == 1, -1.0, np.where(truth == 2, 1.0, 0.0)).reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert correlation(image, signed) > 0.7
    assert correlation(image[:, ::-1], signed) < 0.5
    assert ktc_score(segment(image), truth) > ktc_score(np.zeros_like(truth), truth) + 0.1


@pytest.mark.parametrize("target", ["1_1", "2_4", "3_4"])
def test_targets_in_the_tank_of_16_electrodes_are_found(tanks: Path, target: str) -> None:
    from PIL import Image

    protocol = find_protocol("adjacent", 16)
    spec = VoltageSpec(count=protocol.count, electrodes=16, protocol="adjacent")
    body = linearise(UEF, protocol)
    rest, frame = (
        read_voltages(tanks / f"uef2d/datamat_{name}.mat", spec)[0].astype(np.float64) for name in ("1_0", target)
    )
    image = noser(body).reconstruction()((frame - rest) * body.frame / rest).reshape(64, 64)
    labels = np.asarray(Image.open(tanks / f"uef2d/truth/truth_{target}.png"))[:, ::-1]
    signed = np.where(labels == 1, -1.0, np.where(labels == 2, 1.0, 0.0)).reshape(64, 4, 64, 4).mean(axis=(1, 3))
    assert correlation(image, signed) > 0.75
