"""Lesions of known density in training pictures: what is drawn, what is known of it, what is learned."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from class_pictures import CLASSES, write_class_task

from physedge.data.synthesize_tumour import TumourRequest, synthesize_tumour
from physedge.models.physnet import physnet_e
from physedge.train import growth_loss as loss_module
from physedge.train.classification import ClassificationRecipe
from physedge.train.fit import build_network, spec_of
from physedge.train.growth_loss import clear_loss, front_loss, graft_loss, location_loss, outside_loss
from physedge.train.lesions import UNKNOWN, Lesions, draw_lesions, inside_head, outside_of_brain
from physedge.train.options import TrainOptions
from physedge_runtime.errors import UsageError
from physedge_runtime.growth import GrowthSpec
from physedge_runtime.spec import Task

SPEC = GrowthSpec(cells=16)


@pytest.fixture(scope="module")
def densities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tumours")
    synthesize_tumour(TumourRequest(slices=6, seed=3, val_fraction=0, side_px=96, uniform=True), folder / "set")
    return folder / "set"


def _heads(count: int) -> torch.Tensor:
    """A bright disk in a dark picture of 64 pixels."""
    rows, columns = np.indices((64, 64)) - 31.5
    head = np.where(np.hypot(rows, columns) < 28, 0.5, 0.0)
    return torch.from_numpy(head).float().expand(count, 3, 64, 64).clone()


def test_the_drawn_lesion_is_where_its_density_is(densities: Path) -> None:
    lesions = Lesions(densities, SPEC)
    assert len(lesions) == 4  # of six slices, two have no tumour
    heads, is_tumour = _heads(24), torch.arange(24) % 2 == 0
    grafted = lesions.set_into(heads, is_tumour, torch.Generator().manual_seed(0))
    assert grafted.density.shape == grafted.known.shape == (24, 1, 16, 16)
    assert 0 <= float(grafted.density.min()) <= float(grafted.density.max()) <= 1
    moved = (grafted.pictures - heads).abs().amax(dim=1, keepdim=True)
    by_cell = torch.nn.functional.max_pool2d(moved, 4)
    assert float(by_cell[grafted.density == 0].max()) == 0
    dense = torch.nn.functional.avg_pool2d(moved, 4)[grafted.density > 0.6]
    assert len(dense) > 50
    assert float((dense > 0.02).float().mean()) > 0.95
    assert bool((grafted.known[~is_tumour] == 1).all())
    known = grafted.known[is_tumour]
    assert bool((known[grafted.density[is_tumour] > 0.05] == 1).all())
    assert bool((known[:, :, 0] == 1).all())  # air
    unknown = (known == UNKNOWN).float().mean()  # of the brain besides the lesion nothing is known
    assert 0.1 < float(unknown) < 0.8
    assert bool(((known == UNKNOWN) | (known == 1)).all())


def test_what_is_seen_twice_as_large_has_four_times_the_ratio(densities: Path) -> None:
    """D / rho is an area: a set of 192 mm seen at the assumed field of view, and scaled by the warp."""
    lesions = Lesions(densities, SPEC)
    file = sorted((densities / "truth" / "train").glob("nodular/*.npz"))[0]
    with np.load(file) as truth:
        own = math.log(float(truth["D_mm2_per_day"]) / float(truth["rho_per_day"]))
    heads = torch.ones(200, 3, 64, 64)
    grafted = lesions.set_into(heads, torch.zeros(200, dtype=torch.bool), torch.Generator().manual_seed(1))
    at_assumed = own + 2 * math.log(SPEC.field_of_view_mm / 192.0)
    assert min(float((grafted.log_ratio - at_assumed).abs().min()), 1.0) < 0.05
    # Of the same ratios, the larger picture of a lesion is the one that was scaled up.
    order = grafted.density.sum(dim=(1, 2, 3)).argsort()
    small, large = grafted.log_ratio[order[:50]].mean(), grafted.log_ratio[order[-50:]].mean()
    assert float(large) > float(small)


def test_a_head_is_what_is_bright_on_all_sides() -> None:
    picture = _heads(1)
    picture[:, :, 20:40, 20:40] = 0.0  # a ventricle
    inside = inside_head(picture, 0.0)
    rows, columns = np.indices((64, 64)) - 31.5
    disk = torch.from_numpy(np.hypot(rows, columns) < 26).float()[None, None]
    assert bool((inside[disk == 1] == 1).all())
    assert float(inside[0, 0, 0].max()) == 0
    assert float(inside_head(picture, 0.1).sum()) < float(inside.sum())
    outside = outside_of_brain(picture)
    assert outside.shape == (1, 1, 16, 16)
    assert (float(outside[0, 0, 0, 0]), float(outside[0, 0, 8, 8])) == (1, 0)
    everywhere = torch.full((1, 1, 16, 16), 0.5)
    assert float(outside_loss(everywhere, picture)) > 0
    assert float(outside_loss(everywhere * (1 - outside), picture)) == 0


def test_nothing_is_drawn_where_nothing_grows() -> None:
    heads = _heads(3)
    assert torch.equal(draw_lesions(heads, torch.zeros(3, 1, 64, 64), torch.Generator().manual_seed(0)), heads)


def test_the_density_itself_costs_least() -> None:
    truth = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    known = torch.ones_like(truth)
    answer = truth.clone().requires_grad_()
    location_loss(answer, known, truth).backward()
    assert answer.grad is not None
    assert float(answer.grad.abs().max()) < 1e-5
    least = float(location_loss(truth, known, truth))
    for other in (truth * 0.8, (truth * 1.2).clamp(max=1), 1 - truth):
        assert float(location_loss(other, known, truth)) > least
    known[:, :, :4] = 0
    elsewhere = truth.clone()
    elsewhere[:, :, :4] = 0.9
    assert float(location_loss(elsewhere, known, truth)) == pytest.approx(float(location_loss(truth, known, truth)))


def test_what_is_taken_for_the_pictures_own_tumour_is_not_held_against_it(
    densities: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_module, "FRONT_WEIGHT", 0.0)  # which asks for another front, not for more or less
    block = physnet_e(growth=SPEC).block
    assert block is not None
    grafted = Lesions(densities, SPEC).set_into(_heads(4), torch.ones(4, dtype=torch.bool), torch.Generator())
    place, unknown = torch.full((4, 2), 0.5), grafted.known == UNKNOWN
    pushes = {}
    for answered in (0.1, 0.95):
        u = torch.where(unknown, torch.tensor(answered), grafted.density).requires_grad_()
        graft_loss(block, u, place, grafted).backward()
        assert u.grad is not None
        pushes[answered] = float(u.grad[unknown].mean())
    assert pushes[0.1] > 10 * pushes[0.95] > 0
    u = torch.where(unknown, grafted.density, torch.tensor(0.95)).requires_grad_()  # where it is known that none is
    graft_loss(block, u, place, grafted).backward()
    assert u.grad is not None
    assert float(u.grad[grafted.known == 1].mean()) > pushes[0.1]


def test_the_ratio_counts_where_a_front_is_seen(densities: Path) -> None:
    block = physnet_e(growth=SPEC).block
    assert block is not None
    grafted = Lesions(densities, SPEC).set_into(_heads(8), torch.zeros(8, dtype=torch.bool), torch.Generator())
    faint = dataclasses.replace(grafted, density=0.4 * grafted.density)
    places = torch.full((8, 2), 0.5), torch.tensor([[0.9, 0.1]]).expand(8, 2)
    one, other = (float(graft_loss(block, grafted.density, place, grafted)) for place in places)
    assert one != other
    one, other = (float(graft_loss(block, faint.density, place, faint)) for place in places)
    assert one == other


def test_a_front_as_steep_as_the_known_one_costs_nothing(densities: Path) -> None:
    block = physnet_e(growth=SPEC).block
    assert block is not None
    heads, is_tumour = _heads(8), torch.arange(8) % 2 == 0
    grafted = Lesions(densities, SPEC).set_into(heads, is_tumour, torch.Generator().manual_seed(4))
    seen = torch.ones(8, 1)
    assert float(front_loss(block, grafted.density, grafted, seen)) == 0
    costs = []
    for cells in (3, 5):
        blurred = torch.nn.functional.avg_pool2d(grafted.density, cells, 1, cells // 2).requires_grad_()
        cost = front_loss(block, blurred, grafted, seen)
        cost.backward()
        assert blurred.grad is not None
        assert float(blurred.grad.abs().sum()) > 0
        costs.append(float(cost.detach()))
    assert 0 < costs[0] < costs[1]
    elsewhere = torch.where(grafted.known == 1, grafted.density, torch.tensor(0.5))
    assert float(front_loss(block, elsewhere, grafted, 0 * seen)) == 0
    frozen = physnet_e(growth=SPEC.model_copy(update={"parameters": "frozen"})).block
    assert frozen is not None
    assert float(front_loss(frozen, elsewhere, grafted, seen)) == 0


def test_haze_costs_where_there_is_no_tumour() -> None:
    u = torch.full((3, 1, 16, 16), 0.2)
    none, mixed = torch.zeros(3, dtype=torch.bool), torch.tensor([True, False, True])
    assert float(clear_loss(u, none)) == pytest.approx(-math.log(0.8), rel=1e-5)
    assert float(clear_loss(u, mixed)) == pytest.approx(-math.log(0.8) / 3, rel=1e-5)
    assert float(clear_loss(torch.zeros_like(u), none)) == 0
    assert math.isfinite(float(clear_loss(torch.ones_like(u), none)))


def test_density_and_ratio_are_learned(densities: Path) -> None:
    torch.manual_seed(0)
    network = physnet_e(growth=SPEC)
    assert network.block is not None
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    lesions, generator = Lesions(densities, SPEC), torch.Generator().manual_seed(2)
    losses = []
    for _ in range(30):
        grafted = lesions.set_into(_heads(8), torch.zeros(8, dtype=torch.bool), generator)
        loss = graft_loss(network.block, *network.first_density(grafted.pictures), grafted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def _options(task: Path, densities: Path | None, **changes: object) -> TrainOptions:
    return TrainOptions(
        model="physnet_e",
        task=Task.CLASSIFICATION,
        data=(task,),
        output=task / "run",
        classes=CLASSES,
        height_px=64,
        width_px=64,
        densities=densities,
        **changes,  # type: ignore[arg-type]
    )


def test_training_adds_what_lesions_teach(densities: Path, tmp_path: Path) -> None:
    write_class_task(tmp_path, train=4, val=2)
    frames, truths = torch.randint(0, 255, (4, 64, 64, 3), dtype=torch.uint8), torch.tensor([0, 1, 2, 0])
    values = {}
    for given in (None, densities):
        options = _options(tmp_path, given)
        spec = spec_of(options)
        torch.manual_seed(0)
        network = build_network(options, spec).eval()
        recipe = ClassificationRecipe(spec, options)
        loss = recipe.loss(network, frames, truths, torch.Generator().manual_seed(0), (64, 64))
        values[given] = float(loss.detach())
    assert values[densities] > values[None]


def test_densities_that_cannot_be_used(densities: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"PE-TRAIN-012.*no density in truth/train.*physedge synth tumour"):
        Lesions(tmp_path, SPEC)
    folder = tmp_path / "truth" / "train" / "diffuse"
    folder.mkdir(parents=True)
    (folder / "s0.npz").write_bytes(b"no zip")
    with pytest.raises(UsageError, match=r"PE-TRAIN-012.*s0.npz cannot be read"):
        Lesions(tmp_path, SPEC)
    numbers = {"D_mm2_per_day": 0.1, "rho_per_day": 0.01, "cell_mm": 1.0}
    np.savez(folder / "s0.npz", density=np.full((2, 8, 8), 3.0), **numbers)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"PE-TRAIN-012.*from 3 to 3"):
        Lesions(tmp_path, SPEC)
    options = _options(tmp_path, densities, growth=("off",))
    with pytest.raises(UsageError, match=r"PE-TRAIN-009.*--densities for a network without a tumour model"):
        ClassificationRecipe(spec_of(options), options)
