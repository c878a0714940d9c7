"""The sizes that the specification fixes: totals, stages and blocks of both networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from physedge.models.blocks.boundary_blend import BoundaryBlend
from physedge.models.blocks.convolution import SeparableNorm
from physedge.models.blocks.downsample import StridedDownsample
from physedge.models.blocks.edge_form import (
    AtrousContext,
    BoundaryFusion,
    EdgeCoupling,
    FoldingDownsample,
    Refinement,
)
from physedge.models.blocks.gated_residual import GatedResiduals
from physedge.models.blocks.global_flow import AveragingFlow, LearnedFlow
from physedge.models.blocks.gradient_coupling import GradientCoupling
from physedge.models.blocks.memory import PrototypeMemory
from physedge.models.blocks.rotation import RotatedScales
from physedge.models.pmrnet import pmrnet
from physedge.models.pmrnet_e import pmrnet_e
from physedge.models.registry import REGISTRY, factory_options


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("name", REGISTRY)
def test_the_registry_says_how_many_parameters_there_are(name: str) -> None:
    entry = REGISTRY[name]
    assert f"{parameters(entry.build(**factory_options(entry.spec))):,} parameters" in entry.summary


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (lambda: pmrnet(), 867_337),
        (lambda: pmrnet(classes=2), 867_362),
        (lambda: pmrnet(physics="strict"), 786_148),
        (lambda: pmrnet_e(), 862_387),
        (lambda: pmrnet_e(auxiliary=True), 862_387 + 195),
        (lambda: pmrnet_e(physics="strict"), 677_267),
    ],
    ids=["pmrnet", "pmrnet K=2", "pmrnet strict", "pmrnet_e", "pmrnet_e with auxiliary heads", "pmrnet_e strict"],
)
def test_totals(network: Callable[[], nn.Module], expected: int) -> None:
    assert parameters(network()) == expected


def test_stages_of_pmrnet() -> None:
    assert {name: parameters(stage) for name, stage in pmrnet().named_children()} == {
        "stem": 147,
        "encoder1": 12_031,
        "downsample1": 12_553,
        "encoder2": 23_743,
        "downsample2": 49_297,
        "encoder3": 99_709,
        "downsample3": 195_361,
        "bottleneck": 392_256,
        "decoder3": 18_432 + 31_908 + 10_272,
        "decoder2": 4_608 + 8_754 + 2_832,
        "decoder1": 1_152 + 2_577 + 840,
        "head": 865,
    }


def test_stages_of_pmrnet_e() -> None:
    assert {name: parameters(stage) for name, stage in pmrnet_e().named_children()} == {
        "stem": 464,
        "stage1": 2_225,
        "stage2": 17_154,
        "stage3": 98_788,
        "stage4": 214_660,
        "stage5": 400_611,
        "decoder4": 78_433,
        "decoder3": 35_905,
        "decoder2": 10_785,
        "decoder1": 3_345,
        "head": 17,
        "auxiliary": 0,
    }


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (GradientCoupling(24, "paper"), 7_431),
        (RotatedScales(24, "paper"), 3_447),
        (RotatedScales(48, "paper"), 8_190),
        (RotatedScales(96, "paper"), 21_564),
        (PrototypeMemory(24, 8), 1_153),
        (PrototypeMemory(48, 12), 3_649),
        (PrototypeMemory(96, 16), 13_057),
        (GatedResiduals(48, 2), 11_904),
        (GatedResiduals(96, 3), 65_088),
        (GatedResiduals(192, 3), 247_680),
        (LearnedFlow(192), 144_576),
        (AveragingFlow(192), 65_664),
        (StridedDownsample(24, 48, "paper"), 12_553),
        (BoundaryBlend(96), 31_908),
        (BoundaryBlend(48), 8_754),
        (BoundaryBlend(24), 2_577),
        (SeparableNorm(24, 24), 840),
        (EdgeCoupling(16, "paper"), 2_225),
        (EdgeCoupling(32, "paper"), 7_521),
        (EdgeCoupling(64, "paper"), 27_329),
        (EdgeCoupling(96, "paper"), 59_425),
        (EdgeCoupling(160, "paper"), 160_481),
        (FoldingDownsample(16, 32), 2_112),
        (FoldingDownsample(96, 160), 61_760),
        (AtrousContext(64), 8_481),
        (AtrousContext(96), 11_617),
        (AtrousContext(160), 17_889),
        (BoundaryFusion(160, 96), 38_401),
        (BoundaryFusion(96, 64), 17_409),
        (BoundaryFusion(64, 32), 5_633),
        (BoundaryFusion(32, 16), 1_793),
        (Refinement(96), 40_032),
        (Refinement(64), 18_496),
        (Refinement(32), 5_152),
        (Refinement(16), 1_552),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else str(value),
)
def test_blocks(block: nn.Module, expected: int) -> None:
    assert parameters(block) == expected


@pytest.mark.parametrize("factory", [pmrnet, pmrnet_e])
def test_a_grey_picture_needs_fewer_weights_in_the_stem_only(factory: Callable[..., nn.Module]) -> None:
    colour, grey = factory(), factory(channels=1)
    lost = {name: parameters(stage) - parameters(getattr(grey, name)) for name, stage in colour.named_children()}
    assert lost.pop("stem") > 0
    assert set(lost.values()) == {0}
