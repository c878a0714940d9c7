"""The complete electrode model: symmetry, derivatives, convergence, and a solution found without any mesh."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge.physics.eit.forward import CompleteElectrodeModel
from physedge.physics.eit.mesh import DiskMesh, disk_mesh, mesh_of_at_least, mesh_of_at_most
from physedge.physics.eit.tank import Tank
from physedge_runtime.errors import UsageError
from physedge_runtime.voltage_protocol import find_protocol

TANK = Tank(electrodes=16)
ADJACENT = find_protocol("adjacent", 16)
IMPEDANCE = np.full(16, 0.01)


@pytest.fixture(scope="module")
def coarse() -> CompleteElectrodeModel:
    return CompleteElectrodeModel(TANK, disk_mesh(TANK, facets_per_electrode=3))


@pytest.fixture(scope="module")
def conductivity(coarse: CompleteElectrodeModel) -> NDArray[np.float64]:
    return np.exp(np.random.default_rng(0).normal(size=len(coarse.areas)) * 0.3)


def spectral_potentials(tank: Tank, impedance: float, points: int) -> NDArray[np.float64]:
    """Electrode potentials (electrode, electrode) of the homogeneous disk, by Fourier series on the boundary.

    In the unit disk of conductivity 1 a current density cos(k angle) through the boundary makes the potential
    cos(k angle) / k there. The current density lives on the electrodes alone, where potential plus impedance times
    density is the electrode's potential. Unknown are the densities at points, and the potentials.
    """
    angle = 2 * np.pi * (np.arange(points) + 0.5) / points
    wave = np.arange(1, points // 2)
    difference = 2 * np.pi * np.arange(points) / points
    line = (np.cos(np.outer(difference, wave)) / wave).sum(axis=1) * 2 / points
    kernel = line[np.abs(np.subtract.outer(np.arange(points), np.arange(points)))]
    offset = (angle[:, None] - tank.centres_rad + np.pi) % (2 * np.pi) - np.pi
    owner = np.abs(offset) < 0.5 * tank.cover * tank.pitch_rad
    on = owner.any(axis=1)
    members = owner[on].astype(float)
    count, electrodes = members.shape
    system = np.zeros((count + electrodes, count + electrodes))
    system[:count, :count] = kernel[np.ix_(on, on)] + impedance * np.eye(count)
    system[:count, count:] = -members
    system[count:, :count] = members.T * 2 * np.pi / points
    # The mean of the potentials is free: it is set to 0 afterwards.
    driven = np.vstack([np.zeros((count, electrodes)), np.eye(electrodes) - 1 / electrodes])
    answer = np.linalg.lstsq(system, driven, rcond=None)[0][count:]
    return np.asarray(answer - answer.mean(axis=0))


def test_mesh_has_nodes_at_the_edges_of_the_electrodes() -> None:
    tank = Tank(electrodes=16, cover=0.4)
    mesh = disk_mesh(tank, facets_per_electrode=4)
    for centre, facets in zip(tank.centres_rad, mesh.electrode_facets, strict=True):
        first, last = mesh.points[:, facets[0, 0]], mesh.points[:, facets[1, -1]]
        half = 0.5 * 0.4 * tank.pitch_rad
        np.testing.assert_allclose(first, [np.cos(centre - half), np.sin(centre - half)], atol=1e-12)
        np.testing.assert_allclose(last, [np.cos(centre + half), np.sin(centre + half)], atol=1e-12)


def test_mesh_covers_the_disk_once() -> None:
    model = CompleteElectrodeModel(TANK, disk_mesh(TANK, facets_per_electrode=8))
    polygon = 0.5 * 256 * np.sin(2 * np.pi / 256)
    assert model.areas.sum() == pytest.approx(polygon, rel=1e-9)
    assert model.areas.min() > 0.1 * model.areas.max()


def test_meshes_by_their_size() -> None:
    assert 4096 <= mesh_of_at_least(TANK, 4096).triangles.shape[1] < 6000
    assert 700 < mesh_of_at_most(TANK, 1200).triangles.shape[1] <= 1200


def test_deformation_moves_each_electrode_by_its_offset() -> None:
    offsets = np.random.default_rng(1).normal(size=16) * 0.01
    tank = Tank(electrodes=16, angle_offsets_rad=tuple(offsets.tolist()), semi_axes=(1.02, 0.98))
    edge = TANK.centres_rad + 0.25 * TANK.pitch_rad
    moved = tank.deform(np.stack([np.cos(edge), np.sin(edge)]))
    np.testing.assert_allclose(moved, [1.02 * np.cos(edge + offsets), 0.98 * np.sin(edge + offsets)], atol=1e-12)


def test_current_and_voltage_electrodes_change_places(
    coarse: CompleteElectrodeModel, conductivity: NDArray[np.float64]
) -> None:
    frame = coarse.solve(conductivity, IMPEDANCE).frame(ADJACENT)
    first, second, ratio = ADJACENT.reciprocal_pairs()
    assert len(first) == 104
    np.testing.assert_allclose(frame[first], ratio * frame[second], rtol=1e-11)


def test_what_flows_in_is_scaled_by_conductivity(
    coarse: CompleteElectrodeModel, conductivity: NDArray[np.float64]
) -> None:
    once, twice = (coarse.solve(k * conductivity, IMPEDANCE / k).frame(ADJACENT) for k in (1.0, 2.0))
    np.testing.assert_allclose(once, 2 * twice, rtol=1e-10)


def test_jacobian_against_finite_differences(coarse: CompleteElectrodeModel, conductivity: NDArray[np.float64]) -> None:
    direction = np.random.default_rng(2).normal(size=len(conductivity))
    jacobian = coarse.jacobian(coarse.solve(conductivity, IMPEDANCE), ADJACENT)
    step = 1e-5
    up, down = (coarse.solve(conductivity + sign * step * direction, IMPEDANCE).frame(ADJACENT) for sign in (1, -1))
    np.testing.assert_allclose(jacobian @ direction, (up - down) / (2 * step), rtol=1e-5, atol=1e-9)


def test_derivative_by_contact_impedance(coarse: CompleteElectrodeModel, conductivity: NDArray[np.float64]) -> None:
    protocol = find_protocol("ktc2023", 16)
    impedance = np.random.default_rng(3).uniform(0.005, 0.05, 16)
    direction = np.random.default_rng(4).normal(size=16) * impedance
    jacobian = coarse.impedance_jacobian(coarse.solve(conductivity, impedance), protocol, impedance)
    step = 1e-5
    up, down = (coarse.solve(conductivity, impedance + sign * step * direction).frame(protocol) for sign in (1, -1))
    expected = (up - down) / (2 * step)
    np.testing.assert_allclose(jacobian @ direction, expected, rtol=1e-5, atol=1e-8 * np.abs(expected).max())


def test_converges_to_the_solution_without_a_mesh() -> None:
    """First-order triangles beside a singularity at every electrode's edge: the error about halves with the edges."""
    exact = spectral_potentials(TANK, 0.01, 1024)
    errors = []
    for facets in (2, 4, 8):
        model = CompleteElectrodeModel(TANK, disk_mesh(TANK, facets_per_electrode=facets))
        found = model.solve(np.ones(len(model.areas)), IMPEDANCE).electrodes
        errors.append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.6 * errors[1]
    # A first-order error of 7 % at two edges an electrode is a quarter of that, or less, at eight.
    assert errors[2] < 0.25 * errors[0]
    assert errors[2] < 0.015


def test_adjacent_data_have_104_independent_values(coarse: CompleteElectrodeModel) -> None:
    jacobian = coarse.jacobian(coarse.solve(np.ones(len(coarse.areas)), IMPEDANCE), ADJACENT)
    values = np.linalg.svd(jacobian, compute_uv=False)
    assert values[103] / values[0] > 1e-9
    assert values[104] / values[0] < 1e-12


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan])
def test_a_conductivity_that_is_none(coarse: CompleteElectrodeModel, bad: float) -> None:
    values = np.ones(len(coarse.areas))
    values[7] = bad
    with pytest.raises(UsageError, match=r"1 of .* conductivities are not above 0") as caught:
        coarse.solve(values, IMPEDANCE)
    assert caught.value.identifier == "PE-EIT-002"


def test_a_tank_that_is_none() -> None:
    with pytest.raises(UsageError, match="PE-EIT-001"):
        Tank(electrodes=2)


def test_two_meshes_agree_on_a_body(coarse: CompleteElectrodeModel) -> None:
    """Independent of the rings: a mesh whose interior points are drawn at random."""
    from scipy.spatial import Delaunay

    regular = disk_mesh(TANK, facets_per_electrode=8)
    generator = np.random.default_rng(5)
    radius = np.hypot(*regular.points)
    inner = regular.points[:, radius < 0.9]
    shaken = regular.points.copy()
    shaken[:, radius < 0.9] = inner + generator.normal(size=inner.shape) * 0.008
    triangles = Delaunay(shaken.T).simplices.T.astype(np.int64)
    corner = shaken[:, triangles]
    area = (corner[0, 1] - corner[0, 0]) * (corner[1, 2] - corner[1, 0])
    area -= (corner[0, 2] - corner[0, 0]) * (corner[1, 1] - corner[1, 0])
    triangles = triangles[:, np.abs(area) > 1e-6]
    other = DiskMesh(points=shaken, triangles=triangles, electrode_facets=regular.electrode_facets)
    frames = []
    for mesh in (regular, other):
        model = CompleteElectrodeModel(TANK, mesh)
        body = np.where(np.hypot(model.centroids[0] - 0.3, model.centroids[1]) < 0.3, 0.3, 1.0)
        frames.append(model.solve(body, IMPEDANCE).frame(ADJACENT))
    assert np.linalg.norm(frames[0] - frames[1]) < 0.01 * np.linalg.norm(frames[0])
