"""The networks with a tumour model: sizes, answers, bounds in every graph, signals, losses, options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from physedge.models.growth_signals import SIGNALS, GrowthSignals
from physedge.models.physnet import PhysNet, physnet, physnet_34, physnet_50, physnet_e
from physedge.models.registry import factory_options, find
from physedge.models.reparameterise import reparameterise
from physedge.train.fit import build_network, spec_of
from physedge.train.growth_loss import growth_loss, mass_loss, region_loss, smooth_loss
from physedge.train.options import TrainOptions
from physedge_calibrate.quantize import quantize_unsigned
from physedge_export.trace import trace
from physedge_runtime.engines import EngineRequest, open_engine
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Fit, FrameSpec
from physedge_runtime.growth import GrowthSpec
from physedge_runtime.spec import ModelSpec, Task
from physedge_runtime.trust import signals_of

CLASSES = ("glioma", "meningioma", "no_tumor", "pituitary")
GROWTH = GrowthSpec(cells=16, field_of_view_mm=100.0, none_class="no_tumor")
SPEC = ModelSpec(
    name="small",
    task=Task.CLASSIFICATION,
    classes=CLASSES,
    frame=FrameSpec(height=64, width=64, fit=Fit.LETTERBOX),
    growth=GROWTH,
)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _network(seed: int = 0, **changes: Any) -> PhysNet:
    torch.manual_seed(seed)
    network = physnet_e(growth=GROWTH.model_copy(update=changes), none_label=2)
    with torch.no_grad():  # a trained fusion takes part
        nn.init.normal_(network.block.fusion.mix.weight, std=0.5)  # type: ignore[union-attr]
        nn.init.normal_(network.block.fusion.gate, std=0.5)  # type: ignore[union-attr]
        nn.init.normal_(network.block.density.output.project.weight, std=2.0)  # type: ignore[union-attr]
    return network


def _pictures(count: int = 4, seed: int = 1) -> torch.Tensor:
    return torch.randn(count, 3, 64, 64, generator=torch.Generator().manual_seed(seed))


def test_sizes() -> None:
    with torch.device("meta"):  # counted, never filled
        builds = (physnet, physnet_34, physnet_50, physnet_e)
        sizes = {build.__name__: _count(build(growth=GrowthSpec())) for build in builds}
        plain = [_count(build()) for build in builds[:3]]
    assert sizes == {"physnet": 11_204_647, "physnet_34": 21_312_807, "physnet_50": 23_611_431, "physnet_e": 1_192_311}
    assert sizes["physnet_e"] <= 1_500_000
    # The plain residual networks are those of He et al. 2016, with four classes.
    assert plain == [11_178_564, 21_286_724, 23_516_228]
    for name, size in sizes.items():
        assert f"{size:,}" in find(name).summary


def test_the_density_lives_on_56_cells_by_default() -> None:
    spec = find("physnet_e").spec
    network = physnet_e(**factory_options(spec)).eval()
    with torch.no_grad():
        answer = network(torch.zeros(1, 3, 224, 224))
    assert {name: tuple(value.shape) for name, value in answer.items()} == {
        "logits": (1, 4),
        "density": (1, 5, 56, 56),
        "D_mm2_per_day": (1, 1),
        "rho_per_day": (1, 1),
        "front_width_mm": (1, 1),
        **{f"trust_{name}": (1, 1) for name in SIGNALS},
    }
    with pytest.raises(UsageError, match=r"PE-MODEL-008: a picture of 448x448 .* expected|PE-MODEL-008"):
        network(torch.zeros(1, 3, 448, 448))


def test_training_begins_with_the_plain_network() -> None:
    torch.manual_seed(3)
    network = physnet_e(growth=GROWTH).eval()
    plain = physnet_e().eval()
    plain.load_state_dict({name: value for name, value in network.state_dict().items() if not name.startswith("block")})
    with torch.no_grad():
        torch.testing.assert_close(network(_pictures())["logits"], plain(_pictures())["logits"])
    assert set(plain(_pictures(1))) == {"logits"}
    assert plain.trust_signals == {}


def test_parameters_stay_within_their_bounds() -> None:
    for seed in range(4):
        with torch.no_grad():
            answer = _network(seed).eval()(50.0 * _pictures())
        for name, (low, high) in (
            ("D_mm2_per_day", GROWTH.diffusivity_mm2_per_day),
            ("rho_per_day", GROWTH.growth_per_day),
        ):
            assert (answer[name] >= low * (1 - 1e-5)).all()
            assert (answer[name] <= high * (1 + 1e-5)).all()
        ratio = torch.sqrt(answer["D_mm2_per_day"] / answer["rho_per_day"])
        torch.testing.assert_close(answer["front_width_mm"], ratio)


def test_where_parameters_come_from() -> None:
    image = [torch.unique(_network().eval()(_pictures())["D_mm2_per_day"]).numel()]
    shared = _network(parameters="global").eval()(_pictures())
    frozen = _network(parameters="frozen").eval()(_pictures())
    assert image == [4]
    assert torch.unique(shared["D_mm2_per_day"]).numel() == 1
    assert shared["rho_per_day"].requires_grad
    assert frozen["D_mm2_per_day"].flatten().tolist() == pytest.approx([0.13] * 4, rel=1e-5)
    assert frozen["rho_per_day"].flatten().tolist() == pytest.approx([0.012] * 4, rel=1e-5)


def test_parameters_are_no_ornament() -> None:
    """Exchanging D and rho between pictures changes the densities."""
    block = _network().eval().block
    assert block is not None
    u = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    D, rho = torch.tensor([0.02, 0.8]).view(2, 1, 1, 1), torch.tensor([0.001, 0.08]).view(2, 1, 1, 1)
    own, exchanged = block.growth(u, D, rho), block.growth(u, D.flip(0), rho.flip(0))
    assert float((own[:, -1] - exchanged[:, -1]).abs().mean()) > 0.01


def test_folding_changes_no_answer() -> None:
    network = _network()
    network(_pictures(8))  # moves the statistics
    network.eval()
    folded = reparameterise(network)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    with torch.no_grad():
        before, after = network(_pictures()), folded(_pictures())
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=2e-4, rtol=2e-4)


@pytest.fixture(scope="module")
def deployed() -> tuple[Any, dict[str, bytes]]:
    """The traced network, and its graph in full precision and in INT8."""
    network = _network()
    network(_pictures(8))
    traced = trace(reparameterise(network.eval()), SPEC)
    frames = [np.random.default_rng(seed).integers(0, 256, (64, 64, 3)).astype(np.uint8) for seed in range(8)]
    quantised = quantize_unsigned(
        traced.model, frames, input_name="frame", float_nodes=traced.float_nodes, engine="openvino"
    )
    assert quantised.int8_mac_share > 0.9
    return traced, {"fp32": traced.model, "int8": quantised.model}


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_whole_network_keeps_the_laws(deployed: tuple[Any, dict[str, bytes]], engine: str, precision: str) -> None:
    """Bounds to 1/255, mass growth to 1 %, snapshots in order: what holds in torch holds in the graph that ships."""
    traced, graphs = deployed
    request = EngineRequest(
        graph=graphs[precision],
        graph_sha256="0" * 64,
        input_shape=(1, 64, 64, 3),
        outputs={output.name: output.shape for output in traced.outputs},
        threads=1,
    )
    with open_engine(engine, request) as opened:
        for seed in range(6):
            frame = np.random.default_rng(90 + seed).integers(0, 256, (1, 64, 64, 3)).astype(np.uint8)
            _check_laws(opened.infer(frame))


def _check_laws(outputs: Any) -> None:
    density: NDArray[np.float64] = outputs["density"][0].astype(np.float64)
    assert density.min() >= -1 / 255
    assert density.max() <= 1 + 1 / 255
    mass = density.mean(axis=(1, 2))
    quarter = np.exp(float(outputs["rho_per_day"][0, 0]) * GROWTH.horizon_days / 4)
    assert (mass[1:] >= mass[:-1] * 0.99).all()
    assert (mass[1:] <= mass[:-1] * quarter * 1.01).all()
    assert mass[-1] > mass[0]
    assert outputs["probability"].sum() == pytest.approx(1, abs=1e-5)
    signals = signals_of(outputs)
    assert set(signals) == set(SIGNALS)
    for name in ("bounds", "mass"):
        assert signals[name] <= float(SIGNALS[name].void_above or 0)


def test_growth_and_heads_stay_float(deployed: tuple[Any, dict[str, bytes]]) -> None:
    import onnx

    traced, graphs = deployed
    islands = set(traced.float_nodes)
    for part in ("block.growth", "block.parameter", "block.density.output", "block.fusion", "block.signals", "head"):
        assert any(part in name for name in islands), part
    model = onnx.load_from_string(graphs["int8"])
    quantised = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    for node in model.graph.node:
        if node.name in islands and node.op_type in ("Conv", "Gemm", "MatMul"):
            assert not quantised.intersection(node.input), node.name


def _signals(none_label: int | None = 2) -> GrowthSignals:
    return GrowthSignals(GROWTH, none_label)


def _signalled(density: torch.Tensor, *, logits: torch.Tensor, D: float = 0.1, rho: float = 0.01) -> dict[str, float]:
    pair = torch.full((1, 1), D), torch.full((1, 1), rho)
    found = _signals()(logits, density, *pair, torch.tensor([[0.5, 0.5]]))
    return {name: float(value) for name, value in found.items()}


TUMOUR, NONE = torch.tensor([[9.0, 0, 0, 0]]), torch.tensor([[0, 0, 9.0, 0]])


def test_a_failure_of_the_arithmetic_is_seen() -> None:
    u = torch.full((1, 1, 16, 16), 0.2)
    growing = torch.cat([u * 1.01**step for step in range(5)], dim=1)
    fine = _signalled(growing, logits=TUMOUR)
    assert fine["bounds"] == fine["mass"] == 0
    outside = growing.clone()
    outside[0, 3, 4, 4] = 1.05
    assert _signalled(outside, logits=TUMOUR)["bounds"] == pytest.approx(0.05)
    assert _signalled(-growing, logits=TUMOUR)["bounds"] > 0.2
    assert _signalled(growing.flip(1), logits=TUMOUR)["mass"] > 1e-3  # it shrinks
    assert _signalled(growing**0.25, logits=TUMOUR)["mass"] == 0
    faster = torch.cat([u, 2 * u, 4 * u, 4 * u, 4 * u], dim=1)
    assert _signalled(faster, logits=TUMOUR)["mass"] > float(SIGNALS["mass"].void_above or 0)


def test_class_and_density_must_agree() -> None:
    much, little = torch.full((1, 5, 16, 16), 0.02), torch.full((1, 5, 16, 16), 1e-4)
    limit = float(SIGNALS["agreement"].doubtful_above or 0)
    assert _signalled(much, logits=NONE)["agreement"] > limit
    assert _signalled(little, logits=TUMOUR)["agreement"] > limit
    assert _signalled(much, logits=TUMOUR)["agreement"] <= limit
    assert _signalled(little, logits=NONE)["agreement"] <= limit
    undecided = torch.zeros(1, 4)
    undecided[0, 2] = 1.1
    assert _signalled(much, logits=undecided)["agreement"] <= limit
    assert "agreement" not in _signals(None)(
        TUMOUR, much, torch.ones(1, 1) * 0.1, torch.ones(1, 1) * 0.01, torch.ones(1, 2) * 0.5
    )


def test_a_saturated_head_is_seen() -> None:
    u, pair = torch.full((1, 5, 16, 16), 0.1), (torch.ones(1, 1) * 0.1, torch.ones(1, 1) * 0.01)
    for place, is_doubtful in ((0.5, False), (0.97, False), (0.99, True), (0.01, True)):
        value = float(_signals()(TUMOUR, u, *pair, torch.tensor([[0.5, place]]))["range"])
        assert (value > float(SIGNALS["range"].doubtful_above or 0)) is is_doubtful


def test_mass_loss_asks_for_nothing_where_the_mass_is_right() -> None:
    tumour, none = torch.tensor([True]), torch.tensor([False])
    assert float(mass_loss(torch.tensor([0.1]), tumour)) == 0
    assert float(mass_loss(torch.tensor([0.0001]), tumour)) > 1
    assert float(mass_loss(torch.tensor([0.6]), tumour)) == pytest.approx(np.log(0.6 / 0.25), rel=1e-4)
    assert float(mass_loss(torch.tensor([0.0]), none)) == 0
    assert float(mass_loss(torch.tensor([0.1]), none)) == pytest.approx(np.log1p(50), rel=1e-5)


def test_region_loss_tells_a_region_from_a_haze() -> None:
    haze, region = torch.full((1, 8, 8), 0.05), torch.zeros(1, 8, 8)
    region[0, 2:4, 2:4] = 0.8
    tumour = torch.tensor([True])
    assert float(region_loss(region, tumour)) == 0
    assert float(region_loss(haze, tumour)) == pytest.approx(np.log(0.5 / 0.05), rel=1e-3)
    assert float(region_loss(haze, torch.tensor([False]))) == 0


def test_growth_loss_moves_every_part_of_the_model() -> None:
    network = _network().train()
    answer = network(_pictures())
    assert network.block is not None
    growth_loss(network.block, answer, torch.tensor([True, False, True, True])).backward()
    for name in ("density.fine.weight", "parameter.layers.0.weight", "density.output.project.bias"):
        gradient = network.block.get_parameter(name).grad
        assert gradient is not None
        assert float(gradient.abs().sum()) > 0
    assert float(smooth_loss(torch.ones(1, 1, 4, 4))) == 0


def _options(tmp_path: Path, **changes: Any) -> TrainOptions:
    plain: dict[str, Any] = {
        "model": "physnet_e",
        "task": Task.CLASSIFICATION,
        "data": (tmp_path,),
        "output": tmp_path,
        "classes": CLASSES,
        "height_px": 64,
        "width_px": 64,
    }
    return TrainOptions(**{**plain, **changes})


def test_growth_follows_the_picture_and_the_words(tmp_path: Path) -> None:
    growth = spec_of(_options(tmp_path)).growth
    assert growth is not None
    assert (growth.cells, growth.none_class, growth.integrator) == (16, "no_tumor", "split")
    words = ("integrator=euler", "steps=24", "parameters=frozen", "diffusivity_mm2_per_day=[0.01, 0.2]", "evolves=true")
    growth = spec_of(_options(tmp_path, growth=words)).growth
    assert growth is not None
    assert (growth.integrator, growth.steps, growth.diffusivity_mm2_per_day) == ("euler", 24, (0.01, 0.2))
    assert spec_of(_options(tmp_path, classes=("a", "b"))).growth.none_class == ""  # type: ignore[union-attr]
    off = spec_of(_options(tmp_path, growth=("off",)))
    assert off.growth is None
    assert build_network(_options(tmp_path), off).block is None


@pytest.mark.parametrize(
    ("words", "size", "message"),
    [
        (("speed=1",), (64, 64), r"'speed=1'.*write KEY=VALUE with one of cells"),
        (("steps",), (64, 64), r"'steps'"),
        (("growth_per_day=[0.2, 0.1]",), (64, 64), r"the first must be smaller"),
        (("diffusivity_mm2_per_day=[-1.0, 0.1]",), (64, 64), r"diffusivity_mm2_per_day\.0: .*greater than 0"),
        (("field_of_view_mm=5",), (64, 64), r"field_of_view_mm: .*greater than or equal to 20"),
        ((), (64, 96), r"64x96 pixels.*square --size"),
    ],
)
def test_words_that_mean_no_growth(tmp_path: Path, words: tuple[str, ...], size: tuple[int, int], message: str) -> None:
    with pytest.raises(UsageError, match=f"PE-TRAIN-009: .*{message}"):
        spec_of(_options(tmp_path, growth=words, height_px=size[0], width_px=size[1]))
    with pytest.raises(UsageError, match="PE-TRAIN-009: a network without a tumour model, pmrnet_e"):
        spec_of(_options(tmp_path, model="pmrnet_e", growth=("off",)))


def test_an_unstable_model_is_refused_when_it_is_built(tmp_path: Path) -> None:
    options = _options(tmp_path, growth=("integrator=euler", "steps=4"))
    with pytest.raises(UsageError, match=r"PE-MODEL-007: .*set steps to \d+ or more in \[growth\]"):
        build_network(options, spec_of(options))


def test_a_specification_holds_frame_and_growth_together() -> None:
    content = SPEC.model_dump()
    for change, words in (
        ({"growth": {"cells": 20}}, "growth needs a frame of four pixels a cell"),
        ({"growth": {"cells": 16, "none_class": "healthy"}}, "growth.none_class is none of the classes"),
    ):
        with pytest.raises(ValueError, match=words):
            ModelSpec.model_validate({**content, **change})


def test_inspect_says_what_is_inside(capsys: pytest.CaptureFixture[str]) -> None:
    from physedge.cli.app import main

    for words_typed, words in (
        (["physnet_e"], "physnet_e (growth in 4 steps on 56 x 56 cells of 4.48 mm), input 224 x 224 x 3"),
        (["pmrnet_s", "--size", "64"], "pmrnet_s, input 64 x 64 x 3"),
        (["pmrnet_e", "--size", "64"], "pmrnet_e (paper physics), input 64 x 64 x 3"),
        (["eit_post"], "eit_post, input 2 x 208 voltages"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["inspect", *words_typed])
        assert ended.value.code in (0, None)
        assert words in capsys.readouterr().out


def test_inspect_shows_the_cost_of_a_classifier(capsys: pytest.CaptureFixture[str]) -> None:
    from physedge.cli.app import main

    with pytest.raises(SystemExit) as ended:
        main(["inspect", "physnet_e", "--size", "64", "--json"])
    assert not ended.value.code
    told = json.loads(capsys.readouterr().out)
    assert (told["parameters"], told["height"]) == (1_192_311, 64)
