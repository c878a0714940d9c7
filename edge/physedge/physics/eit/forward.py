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
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge.physics.eit.mesh import DiskMesh
from physedge.physics.eit.tank import Tank
from physedge_runtime.errors import UsageError
from physedge_runtime.voltage_protocol import VoltageProtocol

_RELAX, _PANEL = 10, 4
"""Columns joined at the leaves, and taken at a time: at 5,000 triangles half the time of the defaults."""


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
        like: Another model on the same mesh, prepared: the order of elimination is taken from it.

    Attributes:
        tank: As given.
        points: float64 (2, node), deformed.
        triangles: (3, triangle).
        centroids: float64 (2, triangle), deformed.
        areas: float64 (triangle,).
        order: Place of every unknown in the elimination; None before `prepare` or the first solution.
    """

    def __init__(self, tank: Tank, mesh: DiskMesh, *, like: CompleteElectrodeModel | None = None) -> None:
        from skfem import Basis, BilinearForm, ElementTriP1, MeshTri

        self.tank, self.triangles = tank, mesh.triangles
        self.points = np.ascontiguousarray(tank.deform(mesh.points))
        triangulation = MeshTri(self.points, np.ascontiguousarray(mesh.triangles), validate=False, sort_t=False)
        basis = Basis(triangulation, ElementTriP1(), intorder=0)
        self.centroids: NDArray[np.float64] = self.points[:, mesh.triangles].mean(axis=1)
        self.areas: NDArray[np.float64] = basis.dx.sum(axis=1)
        slopes = [np.asarray(basis.basis[i][0].grad) for i in range(3)]
        self._gradients: NDArray[np.float64] = np.stack([slope[:, :, 0] for slope in slopes])
        stiffness = BilinearForm(_stiffness).coo_data(basis)
        nodes, electrodes = self.points.shape[1], tank.electrodes
        rows, columns, self._contact, self._owner = _contact_entries(self.points, mesh)
        self._local = stiffness.data
        self._contact_place = rows, columns
        all_rows = np.concatenate([stiffness.indices[0], rows])
        all_columns = np.concatenate([stiffness.indices[1], columns])
        # One electrode is taken for the zero of potential: the matrix is then positive definite.
        self._size = nodes + electrodes - 1
        self._used = (all_rows < self._size) & (all_columns < self._size)
        self._place = (all_rows[self._used], all_columns[self._used])
        self.order: NDArray[np.intp] | None = None if like is None else like.order

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
        order = self._elimination_order()
        place = order[self._place[0]], order[self._place[1]]
        matrix = csc_matrix((entries[self._used], place), shape=(self._size, self._size))
        factors = splu(
            matrix,
            permc_spec="NATURAL",
            diag_pivot_thresh=0.0,
            relax=_RELAX,
            panel_size=_PANEL,
            options={"SymmetricMode": True},
        )
        nodes, electrodes = self.points.shape[1], self.tank.electrodes
        currents = np.eye(electrodes) - 1 / electrodes
        driven = np.zeros((self._size, electrodes))
        driven[order[nodes:]] = currents[:-1]
        answer = factors.solve(driven)[order]
        potentials = np.vstack([answer[nodes:], np.zeros((1, electrodes))])
        shift = potentials.mean(axis=0)
        return Fields(potential=answer[:nodes] - shift, electrodes=potentials - shift)

    def prepare(self) -> None:
        """Find what all models on this mesh have in common, once, for those made `like` this one."""
        self._elimination_order()

    def _elimination_order(self) -> NDArray[np.intp]:
        """Place of every unknown: minimum degree, found once a mesh, since finding it costs more than the factors."""
        if self.order is None:
            from scipy.sparse import csc_matrix
            from scipy.sparse.linalg import splu

            ones = csc_matrix((np.ones(len(self._place[0])), self._place), shape=(self._size, self._size))
            ones.setdiag(float(self._size))
            self.order = splu(ones, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).perm_c.astype(np.intp)
        return self.order

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


def _contact_entries(
    points: NDArray[np.float64], mesh: DiskMesh
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64], NDArray[np.intp]]:
    """Row, column, value times contact impedance, and electrode of every entry that a contact makes.

    On an edge of length h between two nodes: h/3 and h/6 for the products of their hat functions, -h/2 between either
    and the electrode, and h for the electrode itself, which stands behind the nodes.
    """
    first, second = (np.concatenate([part[k] for part in mesh.electrode_facets]).astype(np.intp) for k in (0, 1))
    owner = np.repeat(np.arange(len(mesh.electrode_facets)), [part.shape[1] for part in mesh.electrode_facets])
    length = np.hypot(*(points[:, first] - points[:, second]))
    electrode = points.shape[1] + owner
    rows = [first, second, first, second, first, second, electrode, electrode, electrode]
    columns = [first, second, second, first, electrode, electrode, first, second, electrode]
    shares = (1 / 3, 1 / 3, 1 / 6, 1 / 6, -1 / 2, -1 / 2, -1 / 2, -1 / 2, 1.0)
    values = np.concatenate([share * length for share in shares])
    return np.concatenate(rows), np.concatenate(columns), values, np.tile(owner, len(shares))
