"""Three published lightweight networks, built in plain form from their papers' text, untrained: for speed side by side.

UNeXt     Valanarasu and Patel, MICCAI 2022: convolutions, then tokenised MLPs with shifts
CMUNeXt   Tang et al., ISBI 2024: large depthwise kernels, inverted bottlenecks, grouped fusion of skips
EMCAD-B0  Rahman et al., CVPR 2024: a PVT v2-B0 encoder (Wang et al., 2022), a decoder of multi-scale depthwise kernels

What a paper leaves open is chosen so that its published count of parameters is met to a few per cent; the counts are
printed beside it. No weights of theirs are used, so nothing is said of their accuracy.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

PUBLISHED = {
    "UNeXt": (1.47e6, "1.47 M"),
    "CMUNeXt": (3.15e6, "3.15 M"),
    "EMCAD-B0": (3.92e6, "3.92 M"),
}
"""Parameters as published."""


def up(x: Tensor) -> Tensor:
    """Twice the side, bilinear."""
    return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def conv_norm(
    inputs: int, outputs: int, size: int = 3, *, act: nn.Module | None = None, **options: int
) -> nn.Sequential:
    """Convolution that keeps the centre, BN, an activation."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, size, padding=size // 2, **options), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([act] if act is not None else []))


# --- UNeXt ------------------------------------------------------------------------------------------------------------


class ShiftedMlp(nn.Module):
    """Shift along the width, linear, depthwise, GELU, shift along the height, linear; with a residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.first, self.second = nn.Linear(channels, channels), nn.Linear(channels, channels)
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)

    @staticmethod
    def shift(x: Tensor, axis: int) -> Tensor:
        """Five groups of channels, moved by -2 to 2 places, zeros coming in."""
        padded = functional.pad(x, (2, 2, 2, 2))
        length = x.shape[axis]
        parts = [
            part.narrow(axis, 2 - by, length).narrow(5 - axis, 2, x.shape[5 - axis])
            for part, by in zip(padded.chunk(5, dim=1), range(-2, 3), strict=True)
        ]
        return torch.cat(parts, dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        normed = self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        first = self.first(self.shift(normed, 3).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        turned = functional.gelu(self.depthwise(first))
        return x + self.second(self.shift(turned, 2).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class UNeXt(nn.Module):
    """Widths 16, 32, 128, 160, 256."""

    def __init__(self) -> None:
        super().__init__()
        widths = (16, 32, 128, 160, 256)
        pairs = list(zip((3, *widths), widths, strict=False))
        self.convolutions = nn.ModuleList(conv_norm(a, b) for a, b in pairs[:3])
        self.patches = nn.ModuleList(conv_norm(a, b, stride=2) for a, b in pairs[3:])
        self.down = nn.ModuleList(ShiftedMlp(width) for width in widths[3:])
        back = (256, 160, 128, 32, 16, 16)
        self.decoder = nn.ModuleList(conv_norm(a, b) for a, b in itertools.pairwise(back))
        self.rise = nn.ModuleList([ShiftedMlp(160), ShiftedMlp(128)])
        self.head = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 1, height, width)."""
        skips = []
        for convolution in self.convolutions:
            x = torch.relu(functional.max_pool2d(convolution(x), 2))
            skips.append(x)
        for patch, block in zip(self.patches, self.down, strict=True):
            x = block(patch(x))
            skips.append(x)
        skips.pop()
        for index, convolution in enumerate(self.decoder):
            x = torch.relu(up(convolution(x)))
            if skips:
                x = x + skips.pop()
            if index < 2:
                x = self.rise[index](x)
        return self.head(x)


# --- CMUNeXt ----------------------------------------------------------------------------------------------------------


class LargeKernelBlock(nn.Module):
    """Depthwise with a residual, then C -> 4C -> C."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.depthwise = nn.Sequential(
            nn.Conv2d(channels, channels, size, padding=size // 2, groups=channels), nn.GELU(), nn.BatchNorm2d(channels)
        )
        self.mix = nn.Sequential(
            nn.Conv2d(channels, 4 * channels, 1), nn.GELU(), nn.BatchNorm2d(4 * channels),
            nn.Conv2d(4 * channels, channels, 1), nn.GELU(), nn.BatchNorm2d(channels),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, channel, height, width) to the same shape."""
        return self.mix(x + self.depthwise(x))


class CMUNeXt(nn.Module):
    """Widths 16, 32, 128, 160, 256; depths 1, 1, 1, 3, 1; kernels 3, 3, 7, 7, 7."""

    def __init__(self) -> None:
        super().__init__()
        widths, depths, sizes = (16, 32, 128, 160, 256), (1, 1, 1, 3, 1), (3, 3, 7, 7, 7)
        self.stem = conv_norm(3, 16, act=nn.ReLU())
        self.encoder = nn.ModuleList(
            nn.Sequential(
                *(LargeKernelBlock(before, size) for _ in range(depth)), conv_norm(before, width, act=nn.ReLU())
            )
            for before, width, depth, size in zip((16, *widths), widths, depths, sizes, strict=False)
        )
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.rise = nn.ModuleList(conv_norm(coarse, fine, act=nn.ReLU()) for coarse, fine in pairs)
        self.fuse = nn.ModuleList(self._fusion(fine) for _, fine in pairs)
        self.head = nn.Conv2d(16, 1, 1)

    @staticmethod
    def _fusion(width: int) -> nn.Sequential:
        """Skip and enlarged map apart in two groups, then mixed."""
        double = 2 * width
        return nn.Sequential(
            nn.Conv2d(double, double, 3, padding=1, groups=2), nn.GELU(), nn.BatchNorm2d(double),
            nn.Conv2d(double, 4 * width, 1), nn.GELU(), nn.BatchNorm2d(4 * width),
            nn.Conv2d(4 * width, width, 1), nn.GELU(), nn.BatchNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 1, height, width)."""
        x = self.stem(x)
        skips = []
        for index, stage in enumerate(self.encoder):
            x = stage(functional.max_pool2d(x, 2) if index else x)
            skips.append(x)
        skips.pop()
        for rise, fuse in zip(self.rise, self.fuse, strict=True):
            x = fuse(torch.cat((skips.pop(), rise(up(x))), dim=1))
        return self.head(x)


# --- EMCAD-B0 ---------------------------------------------------------------------------------------------------------


class PyramidBlock(nn.Module):
    """PVT v2: attention over a reduced map, then an MLP with a depthwise kernel inside."""

    def __init__(self, width: int, heads: int, ratio: int, reduction: int) -> None:
        super().__init__()
        self.heads, self.reduction = heads, reduction
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.pair, self.out = nn.Linear(width, width), nn.Linear(width, 2 * width), nn.Linear(width, width)
        self.reduce = nn.Conv2d(width, width, reduction, stride=reduction) if reduction > 1 else None
        self.norm_reduced = nn.LayerNorm(width) if reduction > 1 else nn.Identity()
        hidden = width * ratio
        self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)

    def attention(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Tokens (batch, place, channel) to the same shape."""
        batch, places, channels = tokens.shape
        source = tokens
        if self.reduce is not None:
            grid = tokens.transpose(1, 2).reshape(batch, channels, height, width)
            source = self.norm_reduced(self.reduce(grid).flatten(2).transpose(1, 2))
        split = (batch, -1, self.heads, channels // self.heads)
        query = self.query(tokens).reshape(split).transpose(1, 2)
        key, value = (part.reshape(split).transpose(1, 2) for part in self.pair(source).chunk(2, dim=2))
        scores = torch.softmax(query @ key.transpose(2, 3) * (channels // self.heads) ** -0.5, dim=-1)
        return self.out((scores @ value).transpose(1, 2).reshape(batch, places, channels))

    def forward(self, tokens: Tensor, height: int, width: int) -> Tensor:
        """Tokens (batch, place, channel) to the same shape."""
        tokens = tokens + self.attention(self.norm1(tokens), height, width)
        hidden = self.first(self.norm2(tokens))
        grid = hidden.transpose(1, 2).reshape(hidden.shape[0], hidden.shape[2], height, width)
        return tokens + self.second(functional.gelu(self.depthwise(grid).flatten(2).transpose(1, 2)))


class PyramidStage(nn.Module):
    """Overlapping patches, then two blocks."""

    def __init__(self, inputs: int, width: int, heads: int, ratio: int, reduction: int, *, first: bool) -> None:
        super().__init__()
        size, stride = (7, 4) if first else (3, 2)
        self.patches = nn.Conv2d(inputs, width, size, stride=stride, padding=size // 2)
        self.norm_in, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.blocks = nn.ModuleList(PyramidBlock(width, heads, ratio, reduction) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, height, width) to (batch, width, height/stride, width/stride)."""
        x = self.patches(x)
        batch, channels, height, width = x.shape
        tokens = self.norm_in(x.flatten(2).transpose(1, 2))
        for block in self.blocks:
            tokens = block(tokens, height, width)
        return self.norm_out(tokens).transpose(1, 2).reshape(batch, channels, height, width)


class MultiScaleBlock(nn.Module):
    """Channel attention, spatial attention, then depthwise kernels of 1, 3 and 5 in an inverted bottleneck."""

    def __init__(self, width: int) -> None:
        super().__init__()
        inner = max(width // 16, 1)
        self.squeeze = nn.Sequential(
            nn.Conv2d(width, inner, 1, bias=False), nn.ReLU(), nn.Conv2d(inner, width, 1, bias=False)
        )
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)
        self.widen = conv_norm(width, 2 * width, 1, act=nn.ReLU6())
        self.scales = nn.ModuleList(
            conv_norm(2 * width, 2 * width, size, act=nn.ReLU6(), groups=2 * width) for size in (1, 3, 5)
        )
        self.narrow = conv_norm(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, width, height, width) to the same shape."""
        mean, peak = x.mean(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
        x = x * torch.sigmoid(self.squeeze(mean) + self.squeeze(peak))
        pooled = torch.cat((x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)), dim=1)
        x = x * torch.sigmoid(self.spatial(pooled))
        wide = self.widen(x)
        total = self.scales[0](wide) + self.scales[1](wide) + self.scales[2](wide)
        return x + self.narrow(total)


class EMCADB0(nn.Module):
    """PVT v2-B0 with widths 32, 64, 160, 256; a decoder of the same widths."""

    def __init__(self) -> None:
        super().__init__()
        widths = (32, 64, 160, 256)
        self.encoder = nn.ModuleList(
            PyramidStage(before, width, heads, ratio, reduction, first=index == 0)
            for index, (before, width, heads, ratio, reduction) in enumerate(
                zip((3, *widths), widths, (1, 2, 5, 8), (8, 8, 4, 4), (8, 4, 2, 1), strict=False)
            )
        )
        self.blocks = nn.ModuleList(MultiScaleBlock(width) for width in reversed(widths))
        pairs = list(zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.spread = nn.ModuleList(conv_norm(coarse, coarse, act=nn.ReLU(), groups=coarse) for coarse, _ in pairs)
        self.reduce = nn.ModuleList(nn.Conv2d(coarse, fine, 1) for coarse, fine in pairs)
        self.gate_up = nn.ModuleList(conv_norm(fine, fine // 2, groups=fine // 2) for _, fine in pairs)
        self.gate_skip = nn.ModuleList(conv_norm(fine, fine // 2, groups=fine // 2) for _, fine in pairs)
        self.gate = nn.ModuleList(conv_norm(fine // 2, 1, 1) for _, fine in pairs)
        self.head = nn.Conv2d(32, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (batch, 1, height, width)."""
        skips = []
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        x = self.blocks[0](skips.pop())
        for index, (spread, reduce) in enumerate(zip(self.spread, self.reduce, strict=True)):
            x, skip = reduce(spread(up(x))), skips.pop()
            both = torch.relu(self.gate_up[index](x) + self.gate_skip[index](skip))
            x = self.blocks[index + 1](x + skip * torch.sigmoid(self.gate[index](both)))
        return up(up(self.head(x)))


NETWORKS: dict[str, Callable[[], nn.Module]] = {"UNeXt": UNeXt, "CMUNeXt": CMUNeXt, "EMCAD-B0": EMCADB0}
