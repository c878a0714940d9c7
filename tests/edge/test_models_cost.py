"""Costs against the tables of the specification, and against networks small enough to count by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from physedge.models.cost import OUTSIDE, count
from physedge.models.pmrnet import pmrnet
from physedge.models.pmrnet_e import pmrnet_e
from physedge_runtime.errors import UsageError


def test_pmrnet_costs_what_the_table_says() -> None:
    cost = count(pmrnet(), (256, 256))
    assert cost.input_shape == (1, 3, 256, 256)
    assert cost.parameters == 867_337
    assert cost.macs == 3_273_100_736
    assert cost.flops == 2 * cost.macs
    assert round(cost.flops / 1e9, 3) == 6.546
    assert round(cost.profiler_macs / 1e9, 3) == 3.427
    gflop = {stage.name: round(2 * stage.macs / 1e9, 3) for stage in cost.stages}
    decoders = [gflop.pop(f"decoder{level}") for level in (3, 2, 1)]
    assert sum(decoders) == pytest.approx(1.252, abs=0.001)
    assert gflop == {
        "stem": 0.013,
        "encoder1": 1.520,
        "downsample1": 0.481,
        "encoder2": 0.740,
        "downsample2": 0.467,
        "encoder3": 0.776,
        "downsample3": 0.460,
        "bottleneck": 0.730,
        "head": 0.107,
    }


def test_two_classes_as_a_profiler_counts() -> None:
    assert round(count(pmrnet(classes=2)).profiler_macs / 1e9, 3) == 3.429


def test_prototype_products_are_the_difference_to_the_convolutions_alone() -> None:
    products = sum(
        (query + channels) * prototypes * side**2
        for channels, query, prototypes, side in ((24, 16, 8, 256), (48, 16, 12, 128), (96, 24, 16, 64))
    )
    convolutions = count(pmrnet()).macs - products
    assert round(convolutions / 1e9, 3) == 3.232


def test_pmrnet_e_costs_what_the_table_says() -> None:
    cost = count(pmrnet_e(), (256, 256))
    assert cost.parameters == 862_387
    assert round(cost.macs / 1e9, 3) == 1.715
    assert round(cost.profiler_macs / 1e9, 2) == 1.76
    mflop = {stage.name: 2 * stage.macs / 1e6 for stage in cost.stages}
    expected = {
        "stem": 56.6,
        "stage1": 291.5,
        "stage2": 559.9,
        "stage3": 807.4,  # The table counts the sum of the entropy too: one more per pixel and channel.
        "stage4": 438.9,
        "stage5": 204.8,
        "decoder4": 136.2,
        "decoder3": 254.3,
        "decoder2": 298.8,
        "decoder1": 379.6,
        "head": 2.1,
    }
    assert mflop == pytest.approx(expected, abs=0.3)
    assert cost.stages[-1].output_shape == (1, 1, 256, 256)
    assert "auxiliary" not in mflop


@pytest.mark.parametrize(("side", "mflop"), [(224, 2626), (256, 3430), (352, 6485)])
def test_pmrnet_e_at_other_sizes(side: int, mflop: int) -> None:
    assert round(count(pmrnet_e(), (side, side)).flops / 1e6) == mflop


class ByHand(nn.Module):
    """A convolution, a normalisation, a mean, a product with a computed kernel, a linear layer."""

    channels = 2

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.linear = nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.convolution(x))
        y = torch.nn.functional.conv2d(y, torch.ones(4, 4, 1, 1, device=y.device))
        out: Tensor = self.linear(y.mean(dim=(2, 3)))
        return out


def test_a_network_counted_by_hand() -> None:
    pixels = 6 * 10
    cost = count(ByHand(), (6, 10))
    convolution, computed, linear = 2 * 4 * 9 * pixels, 16 * pixels, 20
    assert cost.macs == convolution + computed + linear
    assert cost.profiler_macs == convolution + linear + 4 * 4 * pixels + 4 * pixels + 4
    assert cost.parameters == 2 * 4 * 9 + 4 + 8 + 25
    rows = {stage.name: (stage.parameters, stage.macs, stage.output_shape) for stage in cost.stages}
    assert rows == {
        "convolution": (76, convolution, (1, 4, 6, 10)),
        "norm": (8, 0, (1, 4, 6, 10)),
        "linear": (25, linear, (1, 5)),
        OUTSIDE: (0, computed, ()),
    }


def test_counting_leaves_the_network_as_it_was() -> None:
    network = ByHand().train()
    count(network, (4, 4))
    assert network.training
    assert network.convolution.weight.device.type == "cpu"
    assert not network.convolution._forward_hooks


def test_sizes_that_cannot_be_counted() -> None:
    with pytest.raises(UsageError, match="PE-MODEL-005: an input of 0x10 pixels"):
        count(ByHand(), (0, 10))
    with pytest.raises(UsageError, match=r"PE-MODEL-001: .*multiples of 16; resize to 96x112"):
        count(pmrnet_e(), (100, 110))
