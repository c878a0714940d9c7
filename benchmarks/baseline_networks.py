"""The networks that PhysNet is compared with, by their papers, from fresh weights.

For `physedge train` they are networks of one's own: `--task classification baseline_networks:mobilenet_v2`.

MobileNetV2 (Sandler et al. 2018, table 2): a 3x3 convolution, 17 inverted residuals, a 1x1 convolution, mean pool,
linear. VGG16 (Simonyan and Zisserman 2015, configuration D): 13 convolutions of 3x3, five maximum pools, three linear
layers. It has a batch normalisation after every convolution (Ioffe and Szegedy 2015), without which it does not begin
to learn from fresh weights and a few hundred pictures; the first linear layer sees a mean pool to 7x7, so that any side
will do.
"""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn
from torch.nn import functional

N = TypeVar("N", bound=nn.Module)
# Expansion, channels, blocks, stride of the first.
_INVERTED = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


class InvertedResidual(nn.Module):
    """1x1 up, 3x3 depthwise, 1x1 down without activation; added to its input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        up = [] if expansion == 1 else [_convolution(inputs, inner, 1, nn.ReLU6())]
        self.body = nn.Sequential(
            *up,
            _convolution(inner, inner, 3, nn.ReLU6(), stride=stride, groups=inner),
            _convolution(inner, outputs, 1, nn.Identity()),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, inputs, row, column) to (batch, outputs, row/stride, column/stride)."""
        y: Tensor = self.body(x)
        return x + y if self.adds else y


class MobileNetV2(nn.Module):
    """2,228,996 parameters with four classes."""

    multiple = 32

    def __init__(self, *, classes: int, channels: int) -> None:
        super().__init__()
        layers = [_convolution(channels, 32, 3, nn.ReLU6(), stride=2)]
        width = 32
        for expansion, outputs, count, stride in _INVERTED:
            for index in range(count):
                layers.append(InvertedResidual(width, outputs, expansion, stride if index == 0 else 1))  # type: ignore[arg-type]
                width = outputs
        self.features = nn.Sequential(*layers, _convolution(width, 1280, 1, nn.ReLU6()))
        self.head = nn.Sequential(nn.Dropout(0.2), nn.Linear(1280, classes))

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, class) of (batch, channel, height, width)."""
        logits: Tensor = self.head(self.features(image).mean(dim=(2, 3)))
        return logits


class VGG16(nn.Module):
    """134,281,156 parameters with four classes, 119,562,244 of them in the three linear layers."""

    multiple = 32

    def __init__(self, *, classes: int, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = channels
        for outputs, count in _STAGES:
            for _ in range(count):
                layers.append(_convolution(width, outputs, 3, nn.ReLU()))
                width = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.head = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, classes),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Logits (batch, class) of (batch, channel, height, width)."""
        pooled = functional.adaptive_avg_pool2d(self.features(image), 7)
        logits: Tensor = self.head(pooled.flatten(1))
        return logits


def mobilenet_v2(*, classes: int, channels: int) -> MobileNetV2:
    """Build it with weights by He et al. (2015)."""
    return _fresh(MobileNetV2(classes=classes, channels=channels))


def vgg16(*, classes: int, channels: int) -> VGG16:
    """Build it with weights by He et al. (2015)."""
    return _fresh(VGG16(classes=classes, channels=channels))


def _fresh(network: N) -> N:
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)
    return network


def _convolution(
    inputs: int, outputs: int, kernel: int, activation: nn.Module, *, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        activation,
    )
