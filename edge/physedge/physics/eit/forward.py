"""The complete electrode model of impedance tomography on first-order triangles, and its derivatives by adjoint fields.

    div(s grad u) = 0 inside;  u + z_l s du/dn = U_l on electrode l;  the current through electrode l is I_l;
    no current elsewhere on the boundary;  sum of U = 0      (Somersalo, Cheney, Isaacson, SIAM J. Appl. Math. 52, 1992)

In units of the disk's radius: a conductivity of 1 is that of the background, a contact impedance z is relative to
radius over background conductivity.

Everything that a protocol measures is linear in the currents, so the model is solved once for a unit current into each
electrode (out of all, evenly), with one sparse factorisation; currents of any protocol are combinations of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from physedge.physics.eit.mesh import DiskMesh
from physedge.physics.eit.tank import Tank
from physedge_runtime.errors import UsageError
from physedge_runtime.voltage_protocol import VoltageProtocol

if TYPE_CHECKING:
    from skfem import MeshTri


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """Answers to a unit current into every electrode.

    Attributes:
        potential: float64 (node, electrode): potential in the body.
        electrodes: float64 (electrode, electrode), symmetric: potential of the electrodes, mean 0.
    """

    potential: NDArray[np.float64]
    electrodes: NDArray[np.float64]

    def frame(self, protocol: VoltageProtocol) -> NDArray[np.float64]:
        """(voltage,) as the protocol measures them."""
        return protocol.frame_from_potentials(self.electrodes @ protocol.currents)


class CompleteElectrodeModel:
    """The forward model of one tank on one mesh.

    Args:
        tank: Its deformations move the nodes of the mesh.
        mesh: Of the ideal disk.

    Attributes:
        tank: As given.
        points: float64 (2, node), deformed.
        triangles: (3, triangle).
        centroids: float64 (2, triangle), deformed.
        areas: float64 (triangle,).
    """

    def __init__(self, tank: Tank, mesh: DiskMesh) -> None:
        from skfem import Basis, BilinearForm, ElementTriP1, FacetBasis, LinearForm, MeshTri

        self.tank, self.triangles = tank, mesh.triangles
        self.points = np.ascontiguousarray(tank.deform(mesh.points))
        triangulation = MeshTri(self.points, np.ascontiguousarray(mesh.triangles), validate=False, sort_t=False)
        basis = Basis(triangulation, ElementTriP1(), intorder=0)
        self.centroids: NDArray[np.float64] = self.points[:, mesh.triangles].mean(axis=1)
        self.areas: NDArray[np.float64] = basis.dx.sum(axis=1)
        slopes = [np.asarray(basis.basis[i][0].grad) for i in range(3)]
        self._gradients: NDArray[np.float64] = np.stack([slope[:, :, 0] for slope in slopes])
        stiffness = BilinearForm(_stiffness).coo_data(basis)
        mass, load = BilinearForm(lambda u, v, _: u * v), LinearForm(lambda v, _: 1.0 * v)
        nodes, electrodes = self.points.shape[1], tank.electrodes
        facets, facet_owner = _facet_numbers(triangulation, mesh)
        on_electrodes = FacetBasis(triangulation, ElementTriP1(), facets=facets, intorder=2)
        block, vector = mass.coo_data(on_electrodes), load.coo_data(on_electrodes)
        block_owner = np.tile(facet_owner, len(block.data) // len(facets))
        load_owner = np.tile(facet_owner, len(vector.data) // len(facets))
        load_nodes, load_place = vector.indices[0], nodes + load_owner
        lengths = np.bincount(facet_owner, on_electrodes.dx.sum(axis=1), minlength=electrodes)
        own = np.arange(nodes, nodes + electrodes)
        rows = [block.indices[0], load_nodes, load_place, own]
        columns = [block.indices[1], load_place, load_nodes, own]
        self._local = stiffness.data
        self._contact = np.concatenate([block.data, -vector.data, -vector.data, lengths])
        self._owner = np.concatenate([block_owner, load_owner, load_owner, np.arange(electrodes)])
        self._contact_place = np.concatenate(rows), np.concatenate(columns)
        all_rows = np.concatenate([stiffness.indices[0], self._contact_place[0]])
        all_columns = np.concatenate([stiffness.indices[1], self._contact_place[1]])
        # One electrode is taken for the zero of potential: the matrix is then positive definite.
        self._size = nodes + electrodes - 1
        self._used = (all_rows < self._size) & (all_columns < self._size)
        self._place = (all_rows[self._used], all_columns[self._used])

    def solve(self, conductivity: NDArray[np.float64], contact_impedance: NDArray[np.float64]) -> Fields:
        """The answers to unit currents.

        Args:
            conductivity: (triangle,), above 0.
            contact_impedance: (electrode,), above 0.

        Raises:
            UsageError: A value is not above 0 or no number (`PE-EIT-002`).
        """
        from scipy.sparse import csc_matrix
        from scipy.sparse.linalg import splu

        for name, values in (("conductivities", conductivity), ("contact impedances", contact_impedance)):
            if not (np.isfinite(values).all() and (values > 0).all()):
                bad = int((~(np.isfinite(values) & (values > 0))).sum())
                raise UsageError(
                    "PE-EIT-002",
                    found=f"{bad} of {values.size} {name} are not above 0",
                    expected="positive numbers",
                    next_step="correct the phantom or the tank",
                )
        entries = np.concatenate(
            [self._local * np.tile(conductivity, 9), self._contact / contact_impedance[self._owner]]
        )
        matrix = csc_matrix((entries[self._used], self._place), shape=(self._size, self._size))
        factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        nodes, electrodes = self.points.shape[1], self.tank.electrodes
        currents = np.eye(electrodes) - 1 / electrodes
        driven = np.zeros((self._size, electrodes))
        driven[nodes:] = currents[:-1]
        answer = factors.solve(driven)
        potentials = np.vstack([answer[nodes:], np.zeros((1, electrodes))])
        shift = potentials.mean(axis=0)
        return Fields(potential=answer[:nodes] - shift, electrodes=potentials - shift)

    def jacobian(self, fields: Fields, protocol: VoltageProtocol) -> NDArray[np.float64]:
        """D voltage / d conductivity, float64 (voltage, triangle): minus the integral of grad u . grad w.

        u is the field of the injection, w that of the measurement taken for an injection.
        """
        corner = fields.potential[self.triangles]
        gradient = np.einsum("idt,itl->tdl", self._gradients, corner)
        drive, sense = gradient @ protocol.currents, gradient @ protocol.voltages
        injections, measurements = protocol.index
        product = np.einsum("tdv,tdv->vt", drive[:, :, injections], sense[:, :, measurements], optimize=True)
        jacobian: NDArray[np.float64] = -product * self.areas
        return jacobian

    def impedance_jacobian(
        self, fields: Fields, protocol: VoltageProtocol, contact_impedance: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """D voltage / d contact impedance, float64 (voltage, electrode)."""
        injections, measurements = protocol.index
        out = np.empty((protocol.count, self.tank.electrodes))
        for number in range(self.tank.electrodes):
            touched, mass = self._electrode_mass(number)
            jump = fields.potential[touched] - fields.electrodes[number]
            drive, sense = jump @ protocol.currents, jump @ protocol.voltages
            product = drive.T @ mass @ sense
            out[:, number] = product[injections, measurements] / contact_impedance[number] ** 2
        return out

    def _electrode_mass(self, number: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The nodes that bear on an electrode, and their mass matrix along it."""
        nodes = self.points.shape[1]
        rows, columns = self._contact_place
        mine = (self._owner == number) & (rows < nodes) & (columns < nodes) & (self._contact != 0)
        touched, place = np.unique(np.stack([rows[mine], columns[mine]]), return_inverse=True)
        mass = np.zeros((len(touched), len(touched)))
        np.add.at(mass, tuple(place.reshape(2, -1)), self._contact[mine])
        return touched, mass


def _stiffness(u: Any, v: Any, _: object) -> NDArray[np.float64]:
    product: NDArray[np.float64] = np.einsum("i...,i...->...", u.grad, v.grad)
    return product


def _facet_numbers(triangulation: MeshTri, mesh: DiskMesh) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The library's numbers of all edges that lie on electrodes, and the electrode of each; both (facet,)."""
    known = np.asarray(triangulation.facets)
    span = int(known.max()) + 1
    keys = np.minimum(*known) * span + np.maximum(*known)
    order = np.argsort(keys)
    pairs = np.concatenate(mesh.electrode_facets, axis=1)
    wanted = np.minimum(*pairs) * span + np.maximum(*pairs)
    place = order[np.searchsorted(keys[order], wanted)]
    if not (keys[place] == wanted).all():
        raise ValueError("an electrode's edge is no edge of the mesh")
    return place, np.repeat(np.arange(len(mesh.electrode_facets)), [part.shape[1] for part in mesh.electrode_facets])
