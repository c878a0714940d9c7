"""Slices whose tumours the equation grew: its laws, what two dates tell, what one cannot, and the data set."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from physedge.data.synthesize_tumour import TumourRequest, synthesize_tumour
from physedge.models.blocks.growth import Growth
from physedge.physics.tumour.equation import TumourGrowth
from physedge.physics.tumour.recovery import front_radius_mm, front_width_mm, recover
from physedge.physics.tumour.slice import KINDS, draw_slice
from physedge_calibrate.class_folders import class_names, read_class_folders
from physedge_runtime.errors import UsageError
from physedge_runtime.growth import GrowthSpec


def _blob(side: int = 56) -> NDArray[np.float64]:
    rows, columns = np.indices((side, side))
    return np.asarray(0.6 * np.exp(-(((rows - 20.0) / 4) ** 2) - ((columns - 33.0) / 5) ** 2))


def test_the_block_in_the_network_solves_the_same_equation() -> None:
    """An independent integrator in float64, flux form, agrees with the block's, refined."""
    spec = GrowthSpec()
    growth = TumourGrowth(diffusivity=np.full((56, 56), 0.5), growth_per_day=0.05, cell_mm=spec.cell_mm)
    expected = growth.densities(_blob(), (14.4, 28.8, 43.2, 57.6))
    pair = torch.tensor([0.5, 0.05], dtype=torch.float64).view(2, 1, 1, 1, 1)
    u = torch.from_numpy(_blob())[None, None]
    found = Growth(spec).double().evolve(u, pair[0], pair[1], refine=16)[0, 1:]
    np.testing.assert_allclose(found.numpy(), np.stack(expected), atol=2e-3)


def test_tissue_that_nothing_enters_stays_free() -> None:
    field = np.full((56, 56), 0.5)
    field[:, 40:] = 0.0
    start = np.where(field > 0, _blob(), 0.0)
    growth = TumourGrowth(diffusivity=field, growth_per_day=0.0, cell_mm=2.0)
    (later,) = growth.densities(start, (200.0,))
    assert later[:, 40:].max() == 0
    assert later.sum() == pytest.approx(start.sum(), rel=1e-12)
    assert later.max() < start.max()


def test_densities_keep_their_bounds_and_grow() -> None:
    growth = TumourGrowth(diffusivity=np.full((56, 56), 0.9), growth_per_day=0.09, cell_mm=1.0)
    first, second = growth.densities(_blob(), (10.0, 40.0))
    for density in (first, second):
        assert density.min() >= 0
        assert density.max() <= 1
    assert second.sum() > first.sum() > _blob().sum()
    assert second.sum() <= first.sum() * math.exp(0.09 * 30) * (1 + 1e-12)


@pytest.mark.parametrize("kind", ["nodular", "diffuse"])
def test_two_dates_tell_speed_and_ratio(kind: str) -> None:
    drawn = draw_slice(3, kind, uniform=True)
    D, rho = drawn.diffusivity_mm2_per_day, drawn.growth_per_day
    found = recover(drawn.density[0], drawn.density[1], drawn.later_days, drawn.cell_mm)
    assert found.speed_mm_per_day == pytest.approx(2 * math.sqrt(D * rho), rel=0.10)
    assert found.front_width_mm == pytest.approx(math.sqrt(D / rho), rel=0.13)
    assert found.diffusivity_mm2_per_day == pytest.approx(D, rel=0.25)
    assert found.growth_per_day == pytest.approx(rho, rel=0.06)


def test_one_date_cannot_tell_d_from_rho() -> None:
    """k D, k rho and 1/k of the time make the very same picture: no method can tell them apart."""
    densities = []
    for k in (1.0, 0.5, 2.0):
        growth = TumourGrowth(diffusivity=np.full((56, 56), 0.4 * k), growth_per_day=0.03 * k, cell_mm=8.0)
        densities.append(growth.densities(_blob(), (80.0 / k,))[0])
    for density in densities[1:]:
        np.testing.assert_allclose(density, densities[0], atol=2e-3)


def test_a_radius_is_that_of_the_circle() -> None:
    rows, columns = np.indices((96, 96))
    distance = np.hypot(rows - 47.5, columns - 47.5)
    front = 1 / (1 + np.exp((distance - 20) / 2.0))
    assert front_radius_mm(front, 1.0) == pytest.approx(20.0, abs=0.2)
    # Slope at one half: 1 / (4 * 2 cells), so sqrt(D / rho) = 8 cells / 8.
    assert front_width_mm(front, 1.0) == pytest.approx(1.0, rel=0.05)
    assert math.isnan(front_width_mm(np.zeros((9, 9)), 1.0))


def test_pictures_show_what_is_true() -> None:
    drawn = {kind: draw_slice(1, kind, side_px=128) for kind in KINDS}
    for kind, one in drawn.items():
        assert one.picture.shape == (128, 128)
        assert bool(one.density.max() > 0.5) is (kind != "no_tumor")
        assert one.density[1].sum() >= one.density[0].sum()
    widths = {
        kind: math.sqrt(one.diffusivity_mm2_per_day / one.growth_per_day)
        for kind, one in drawn.items()
        if one.growth_per_day
    }
    assert widths["diffuse"] > 1.5 * widths["nodular"]
    lesion = drawn["nodular"].density[0] > 0.6
    assert drawn["nodular"].picture[lesion].mean() > 1.2 * drawn["no_tumor"].picture[lesion].mean()
    np.testing.assert_array_equal(draw_slice(1, "diffuse", side_px=128).picture, drawn["diffuse"].picture)


def test_the_set_is_read_as_class_folders(tmp_path: Path) -> None:
    out = tmp_path / "set"
    request = TumourRequest(slices=6, side_px=96, val_fraction=0.5, seed=2)
    counts = synthesize_tumour(request, out)
    assert counts == {"train": 3, "val": 3}
    assert class_names(out) == ("diffuse", "no_tumor", "nodular")
    assert len(read_class_folders(out / "val", class_names(out))) == 3
    with (out / "truth.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 6
    row = next(row for row in rows if row["kind"] == "diffuse")
    with np.load(out / "truth" / row["split"] / "diffuse" / f"{row['name']}.npz") as truth:
        assert truth["density"].shape == (2, 96, 96)
        assert float(truth["D_mm2_per_day"]) == pytest.approx(float(row["D_mm2_per_day"]), rel=1e-5)
    again = tmp_path / "again"
    synthesize_tumour(request, again)
    for path in sorted(out.rglob("*.*")):
        assert path.read_bytes() == (again / path.relative_to(out)).read_bytes()
    with pytest.raises(UsageError, match="PE-SYNTH-003"):
        synthesize_tumour(TumourRequest(slices=3), out)


@pytest.mark.parametrize("change", [{"slices": 2}, {"val_fraction": 0.9}, {"side_px": 20}, {"seed": -1}])
def test_numbers_out_of_range(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="PE-SYNTH-002"):
        TumourRequest(**{"slices": 12, **change})  # type: ignore[arg-type]
