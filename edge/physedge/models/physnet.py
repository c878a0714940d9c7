"""PhysNet: a residual network with a tumour's growth inside its features.

    picture -> stem, stage 1 (F1) -> stage 2 (F2) -> fusion -> stages 3 and 4 -> mean -> logits
                          |              |             ^
                          +-- u_0, D, rho +-> growth --+   u_t = div(D grad u) + rho u (1 - u)

After arXiv 2603.28057 (abstract): which residual network, where the model sits and how it is trained is this project's
choice. The density lives on a grid of four pixels a cell, since a front of width sqrt(D / rho), some millimetres, is
not resolved on a coarser one. Without masks to learn from it is an attention map that obeys the equation, not a
measured density.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.models.blocks.convolution import ConvNorm, initialise
from physedge.models.blocks.density import DensityHead, ParameterHead
from physedge.models.blocks.growth import Growth
from physedge.models.blocks.residual import dense, stage
from physedge.models.growth_signals import SIGNALS, GrowthSignals
from physedge.models.segmentation import check_image, check_options
from physedge_runtime.errors import UsageError
from physedge_runtime.growth import GrowthSpec
from physedge_runtime.spec import SignalSpec
from physedge_runtime.trust import PREFIX


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """A residual network.

    Attributes:
        stem: Channels after the first convolution.
        widths: Channels of the four stages.
        blocks: Residual blocks of each stage.
        bottleneck: 1x1, 3x3, 1x1 instead of two 3x3.
        pools: A maximum pool halves the map after the stem; without it stage 1 does.
    """

    stem: int
    widths: tuple[int, int, int, int]
    blocks: tuple[int, int, int, int]
    bottleneck: bool = False
    pools: bool = True


BACKBONES: Mapping[str, Backbone] = {
    "18": Backbone(stem=64, widths=(64, 128, 256, 512), blocks=(2, 2, 2, 2)),
    "34": Backbone(stem=64, widths=(64, 128, 256, 512), blocks=(3, 4, 6, 3)),
    "50": Backbone(stem=64, widths=(256, 512, 1024, 2048), blocks=(3, 4, 6, 3), bottleneck=True),
    "e": Backbone(stem=16, widths=(32, 64, 128, 192), blocks=(1, 1, 2, 1), pools=False),
}


class Fusion(nn.Module):
    """F2 (1 + tanh(gamma) e_T) + W e, e the mean over 2x2 cells of [u_0; u_T; u_T - u_0]; begins as the identity."""

    keep_float: ClassVar[bool] = True  # Densities of a thousandth matter; it is three channels.

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.mix = nn.Conv2d(3, channels, 1, bias=False)

    def forward(self, features: Tensor, density: Tensor) -> Tensor:
        """Map F2 (batch, channel, row, column) and the densities (batch, 5, 2 row, 2 column) to F2's shape."""
        pooled = functional.avg_pool2d(density, 2)
        first, last = pooled[:, :1], pooled[:, -1:]
        seen = torch.cat([first, last, last - first], dim=1)
        mixed: Tensor = self.mix(seen)
        return features * (1.0 + torch.tanh(self.gate) * last) + mixed


class ClassHead(nn.Linear):
    """Pooled features to logits, in floating point: it decides."""

    keep_float: ClassVar[bool] = True


class PhysNet(nn.Module):
    """A classifier; with `growth`, one that answers with a density and its evolution as well.

    Attributes:
        multiple: Both sides of a picture are this long where there is growth, else multiples of it.
        channels: Of the picture.
    """

    def __init__(
        self, *, classes: int, channels: int, growth: GrowthSpec | None, backbone: Backbone, none_label: int | None
    ) -> None:
        super().__init__()
        self.channels = channels
        self.multiple = 32 if growth is None else 4 * growth.cells
        w1, w2, w3, w4 = backbone.widths
        b1, b2, b3, b4 = backbone.blocks
        bottleneck = backbone.bottleneck
        kernel = 7 if backbone.pools else 3
        self.stem = ConvNorm(dense(channels, backbone.stem, kernel, 2), activation=nn.ReLU())
        self.pool = nn.MaxPool2d(3, stride=2, padding=1) if backbone.pools else nn.Identity()
        self.stage1 = stage(backbone.stem, w1, b1, stride=1 if backbone.pools else 2, bottleneck=bottleneck)
        self.stage2 = stage(w1, w2, b2, stride=2, bottleneck=bottleneck)
        self.stage3 = stage(w2, w3, b3, stride=2, bottleneck=bottleneck)
        self.stage4 = stage(w3, w4, b4, stride=2, bottleneck=bottleneck)
        self.drop = nn.Dropout(0.2)
        self.head = ClassHead(w4, classes)
        initialise(self)
        self.block = TumourModel(w1, w2, growth, none_label) if growth is not None else None

    @property
    def spec(self) -> GrowthSpec | None:
        """Of the growth; None for the plain network."""
        return None if self.block is None else self.block.spec

    @property
    def trust_signals(self) -> Mapping[str, SignalSpec]:
        """What each of its signals means."""
        if self.block is None:
            return {}
        return {name: signal for name, signal in SIGNALS.items() if name in self.block.signals.names}

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Return named answers to a float32 picture (batch, channel, height, width).

        `logits` (batch, class); with growth also `density` (batch, 5, row, column) at 0, 1/4, 1/2, 3/4 and all of the
        horizon, `D_mm2_per_day`, `rho_per_day` and `front_width_mm`, sqrt(D / rho), (batch, 1) each, and the signals
        `trust_NAME`.
        """
        check_image(image, channels=self.channels, multiple=self.multiple)
        f1 = self.stage1(self.pool(self.stem(image)))
        f2 = self.stage2(f1)
        if self.block is None:
            return {"logits": self._classify(f2)}
        self._check_grid(f1)
        f2, answers = self.block(f1, f2)
        logits = self._classify(f2)
        place = answers.pop("place")
        signals = self.block.signals(
            logits, answers["density"], answers["D_mm2_per_day"], answers["rho_per_day"], place
        )
        return {"logits": logits, **answers, **{PREFIX + name: value for name, value in signals.items()}}

    def first_density(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return u_0 (batch, 1, row, column) and the places of D and rho in their ranges (batch, 2), nothing else."""
        assert self.block is not None
        f1 = self.stage1(self.pool(self.stem(image)))
        f2 = self.stage2(f1)
        density = self.block.density(f1, f2)
        return density, self.block.parameter(f2, density)[2]

    def _classify(self, f2: Tensor) -> Tensor:
        f4 = self.stage4(self.stage3(f2))
        logits: Tensor = self.head(self.drop(f4.mean(dim=(2, 3))))
        return logits

    def _check_grid(self, f1: Tensor) -> None:
        assert self.block is not None
        cells = self.block.spec.cells
        if tuple(f1.shape[2:]) != (cells, cells):
            raise UsageError(
                "PE-MODEL-008",
                found=f"a picture of {4 * f1.shape[2]}x{4 * f1.shape[3]} pixels",
                expected=f"{4 * cells}x{4 * cells}: growth was set up on {cells}x{cells} cells of four pixels",
                next_step="set [frame] and cells in [growth] to belong together",
            )


class TumourModel(nn.Module):
    """From two feature maps to a density, its evolution, and features that know of it."""

    def __init__(self, fine: int, coarse: int, spec: GrowthSpec, none_label: int | None) -> None:
        super().__init__()
        self.spec = spec
        self.density = DensityHead(fine, coarse)
        self.parameter = ParameterHead(coarse, spec)
        self.growth = Growth(spec)
        self.fusion = Fusion(coarse)
        self.signals = GrowthSignals(spec, none_label)
        nn.init.zeros_(self.fusion.mix.weight)  # training begins with the plain network

    def forward(self, f1: Tensor, f2: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return F2 with the density fused in, and the answers; `place` is that of D and rho in their ranges."""
        first = self.density(f1, f2)
        diffusivity, growth, place = self.parameter(f2, first)
        density = self.growth(first, diffusivity[:, :, None, None], growth[:, :, None, None])
        answers = {
            "density": density,
            "D_mm2_per_day": diffusivity,
            "rho_per_day": growth,
            "front_width_mm": torch.sqrt(diffusivity / growth),
            "place": place,
        }
        return self.fusion(f2, density), answers


def _build(name: str, classes: int, channels: int, growth: GrowthSpec | None, none_label: int | None) -> PhysNet:
    check_options(classes=classes, channels=channels, physics="paper")
    return PhysNet(classes=classes, channels=channels, growth=growth, backbone=BACKBONES[name], none_label=none_label)


def physnet(
    *, classes: int = 4, channels: int = 3, growth: GrowthSpec | None = None, none_label: int | None = None
) -> PhysNet:
    """Build `physnet` on ResNet-18.

    Args:
        classes: Logits.
        channels: Of the picture.
        growth: The tumour model; None leaves the plain residual network.
        none_label: Index of the class without a tumour, for the signal that compares class and density.

    Raises:
        UsageError: PE-MODEL-003, PE-MODEL-007.
    """
    return _build("18", classes, channels, growth, none_label)


def physnet_34(
    *, classes: int = 4, channels: int = 3, growth: GrowthSpec | None = None, none_label: int | None = None
) -> PhysNet:
    """Build it on ResNet-34; see `physnet`."""
    return _build("34", classes, channels, growth, none_label)


def physnet_50(
    *, classes: int = 4, channels: int = 3, growth: GrowthSpec | None = None, none_label: int | None = None
) -> PhysNet:
    """Build it on ResNet-50; see `physnet`."""
    return _build("50", classes, channels, growth, none_label)


def physnet_e(
    *, classes: int = 4, channels: int = 3, growth: GrowthSpec | None = None, none_label: int | None = None
) -> PhysNet:
    """Build `physnet_e`, for small devices; see `physnet`."""
    return _build("e", classes, channels, growth, none_label)
