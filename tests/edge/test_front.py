"""What a density's front tells of D / rho, and that the head of D and rho reads it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from physedge.models.blocks.density import ParameterHead
from physedge.models.blocks.front import FrontReading, crossing
from physedge_runtime.growth import GrowthSpec

SPEC = GrowthSpec(cells=32, field_of_view_mm=96.0)
MIDDLE_MM = FrontReading(SPEC).middle_mm


def _disks(width_mm: torch.Tensor, radius_mm: torch.Tensor) -> torch.Tensor:
    """u = 1 / (1 + e^((x - radius) / 2 w)), the front to first order; (disk, 1, 32, 32)."""
    rows, columns = np.indices((32, 32)) - 15.5
    distance = torch.from_numpy(np.hypot(rows, columns)).float() * SPEC.cell_mm
    return torch.sigmoid((radius_mm - distance) / (2.0 * width_mm))[:, None]


def _column(*values: float) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1)


def test_the_middle_is_that_of_both_ranges() -> None:
    assert MIDDLE_MM == pytest.approx(math.sqrt(math.sqrt(0.005 * 0.9) / math.sqrt(0.0005 * 0.09)))


@pytest.mark.parametrize("width_mm", [2.0, 3.0, 5.0])
def test_a_front_of_known_width_is_read(width_mm: float) -> None:
    read = FrontReading(SPEC)(_disks(_column(width_mm), _column(24.0)))
    assert MIDDLE_MM * math.exp(float(read)) == pytest.approx(width_mm, rel=0.12)


def test_a_faint_haze_changes_little() -> None:
    disk = _disks(_column(2.0), _column(24.0))
    hazy = torch.maximum(disk, torch.tensor(0.05))
    assert float((FrontReading(SPEC)(hazy) - FrontReading(SPEC)(disk)).abs()) < 0.05


def test_cells_that_do_not_count_tell_nothing() -> None:
    left, right = _disks(_column(2.0), _column(24.0)), _disks(_column(5.0), _column(24.0))
    both, half = torch.cat([left[..., :16], right[..., 16:]], dim=3), torch.zeros_like(left)
    half[..., :15] = 1.0  # the slope at a cell sees its neighbours
    reading = FrontReading(SPEC)
    torch.testing.assert_close(reading(both, half), reading(left, half))
    assert float(reading(both)) > float(reading(both, half))


def test_the_steepness_is_the_slope() -> None:
    ramp = (torch.arange(32.0) * 0.01).expand(1, 1, 32, 32)
    steepness = FrontReading(SPEC).steepness(ramp)[..., 1:-1]
    torch.testing.assert_close(steepness, torch.full_like(steepness, 0.01 / SPEC.cell_mm))


def test_without_a_front_the_middle_is_read() -> None:
    empty = torch.cat([torch.zeros(1, 1, 32, 32), torch.ones(1, 1, 32, 32)])
    assert FrontReading(SPEC)(empty).flatten().tolist() == pytest.approx([0, 0], abs=1e-3)
    assert crossing(torch.tensor([0.0, 0.5, 1.0])).tolist() == [0, 1, 0]


def test_mirrored_and_turned_the_same_is_read() -> None:
    u = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    reading = FrontReading(SPEC)
    for changed in (u.flip(2), u.flip(3), u.transpose(2, 3)):
        torch.testing.assert_close(reading(changed), reading(u))


def test_the_head_sees_features_where_the_density_is() -> None:
    """A feature within the lesion reaches D and rho as strongly in a large picture as in a small one."""
    torch.manual_seed(0)
    head = ParameterHead(4, SPEC)
    disk = _disks(_column(1.0), _column(9.0))
    plain = torch.zeros(1, 4, 16, 16)
    marked, beside = plain.clone(), plain.clone()
    marked[:, :, 7:9, 7:9] = 8.0
    beside[:, :, :2, :2] = 8.0
    with torch.no_grad():
        seen, inside, outside = (head(features, disk)[2] for features in (plain, marked, beside))
    assert float((inside - seen).abs().max()) > 5 * float((outside - seen).abs().max())


def test_the_head_learns_the_ratio_of_fronts_it_never_saw() -> None:
    generator = torch.Generator().manual_seed(1)
    torch.manual_seed(1)
    head = ParameterHead(4, SPEC)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.01)

    def drawn(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        width = torch.exp(math.log(1.5) + math.log(4.0) * torch.rand(count, 1, 1, generator=generator))
        radius = 12.0 + 18.0 * torch.rand(count, 1, 1, generator=generator)
        return _disks(width, radius), 2.0 * width.log().flatten()

    def missed(count: int) -> torch.Tensor:
        density, log_ratio = drawn(count)
        D, rho, _ = head(torch.zeros(count, 4, 16, 16), density)
        return (D / rho).log().flatten() - log_ratio

    for _ in range(120):
        optimiser.zero_grad()
        missed(32).square().mean().backward()
        optimiser.step()
    with torch.no_grad():
        assert float(missed(128).square().mean().sqrt()) < 0.2  # of values from 0.8 to 3.6


def test_reading_does_not_move_the_density() -> None:
    density = _disks(_column(2.0), _column(20.0)).requires_grad_()
    features = torch.rand(1, 4, 16, 16, requires_grad=True)
    sum(value.sum() for value in ParameterHead(4, SPEC)(features, density)).backward()  # type: ignore[union-attr]
    assert density.grad is None
    assert features.grad is not None
