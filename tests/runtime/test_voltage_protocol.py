"""Patterns of currents and voltages: counts, order, reciprocal pairs, frames made of other devices' measurements."""

from __future__ import annotations

import numpy as np
import pytest

from physedge_runtime.errors import UsageError
from physedge_runtime.voltage_protocol import find_protocol


@pytest.mark.parametrize(
    ("name", "electrodes", "count", "pairs"),
    [("adjacent", 16, 208, 104), ("adjacent", 32, 928, 464), ("opposite", 16, 192, 0), ("skip-2", 16, 192, 0)],
)
def test_counts(name: str, electrodes: int, count: int, pairs: int) -> None:
    protocol = find_protocol(name, electrodes)
    assert protocol.count == count
    assert len(protocol.reciprocal_pairs()[0]) == pairs
    assert (protocol.currents.sum(axis=0) == 0).all()


def test_ktc2023_is_76_injections_of_31_voltages() -> None:
    protocol = find_protocol("ktc2023", 32)
    assert protocol.kept.shape == (76, 31)
    assert protocol.count == 2356
    assert (protocol.currents[1::2] == 0).all()


def test_no_driven_electrode_is_measured() -> None:
    protocol = find_protocol("skip-1", 16)
    injections, measurements = protocol.index
    both = (protocol.currents[:, injections] != 0) & (protocol.voltages[:, measurements] != 0)
    assert not both.any()


def test_reciprocal_pairs_hold_for_any_symmetric_transfer() -> None:
    protocol = find_protocol("adjacent", 8)
    transfer = np.random.default_rng(0).normal(size=(8, 8))
    frame = protocol.frame_from_potentials((transfer + transfer.T) @ protocol.currents)
    first, second, ratio = protocol.reciprocal_pairs()
    np.testing.assert_allclose(frame[first], ratio * frame[second])
    assert not set(first) & set(second)


def test_a_frame_is_found_in_other_patterns_whatever_their_order_sign_and_size() -> None:
    protocol = find_protocol("adjacent", 16)
    transfer = np.random.default_rng(1).normal(size=(16, 16))
    order = np.random.default_rng(2).permutation(16)
    currents = -2.5 * protocol.currents[:, order]
    voltages = 0.5 * protocol.voltages[:, ::-1]
    measured = (transfer @ currents).T @ voltages
    place = protocol.place_in(currents, voltages)
    frame = measured[place[:, 0].astype(int), place[:, 1].astype(int)] * place[:, 2]
    np.testing.assert_allclose(frame, protocol.frame_from_potentials(transfer @ protocol.currents))


def test_a_pattern_that_is_missing() -> None:
    protocol = find_protocol("adjacent", 16)
    with pytest.raises(UsageError, match="lack 1 of the patterns of 'adjacent'") as caught:
        protocol.place_in(protocol.currents[:, :15], protocol.voltages)
    assert caught.value.identifier == "PE-FRAME-003"
    with pytest.raises(UsageError, match="patterns of 32 electrodes"):
        protocol.place_in(np.zeros((32, 1)), np.zeros((32, 1)))


@pytest.mark.parametrize(
    ("name", "electrodes"), [("adjacent", 3), ("opposite", 15), ("skip-9", 16), ("ktc2023", 12), ("x", 16)]
)
def test_protocols_that_do_not_suit(name: str, electrodes: int) -> None:
    with pytest.raises(UsageError, match=f"'{name}' for {electrodes} electrodes") as caught:
        find_protocol(name, electrodes)
    assert caught.value.identifier == "PE-SPEC-005"
