"""Networks small enough to be traced in a second, one for every form that export must take."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge_runtime.frame import Colour, FrameSpec, VoltageSpec
from physedge_runtime.spec import ModelSpec, Normalise, Task


def segmentation_spec(*, classes: int = 2, colour: Colour = Colour.RGB, side: int = 16, **more: object) -> ModelSpec:
    names = ("background", "lesion", "tool", "vessel")[:classes]
    return ModelSpec(
        name="tiny",
        task=Task.SEGMENTATION,
        classes=names,
        frame=FrameSpec(height=side, width=side + 8, colour=colour),
        normalise=Normalise(mean=(0.4,), std=(0.2,)),
        **more,  # type: ignore[arg-type]
    )


VOLTAGES = ModelSpec(
    name="tank", task=Task.RECONSTRUCTION, voltages=VoltageSpec(count=12, electrodes=8, protocol="adjacent")
)


class Diffusion(nn.Module):
    keep_float: ClassVar[bool] = True

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.neighbours = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)

    def forward(self, u: Tensor) -> Tensor:
        return u + 0.1 * (self.neighbours(u) - u)


class Segmenter(nn.Module):
    """Convolution, batch normalisation, a float island, pooling, a linear enlargement and a head."""

    def __init__(self, planes: int = 1, channels: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(channels, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.flow = Diffusion(8)
        self.head = nn.Conv2d(8, planes, 1)
        nn.init.normal_(self.head.weight, std=0.5)

    def forward(self, picture: Tensor) -> Tensor:
        x = functional.avg_pool2d(self.flow(self.stem(picture)), 2)
        return self.head(functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False))


class DataDependent(Segmenter):
    def forward(self, picture: Tensor) -> Tensor:
        logits = super().forward(picture)
        return logits if bool(logits.mean() > 0) else -logits


class WarnsLikeATracer(Segmenter):
    def forward(self, picture: Tensor) -> Tensor:
        warnings.warn("a Python value was frozen", torch.jit.TracerWarning, stacklevel=1)
        return super().forward(picture)


class Remembers(Segmenter):
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, picture: Tensor) -> Tensor:
        self.count.add_(1.0)
        return super().forward(picture) + self.count


class DrawsNumbers(Segmenter):
    def forward(self, picture: Tensor) -> Tensor:
        logits = super().forward(picture)
        return logits + torch.rand_like(logits)


class Wrapped(Segmenter):
    """Answers with whatever `form` makes of the logits."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, picture: Tensor) -> object:
        return FORMS[self.form](super().forward(picture))


class NamedAnswer(NamedTuple):
    trust: Tensor
    logits: Tensor


@dataclass
class DataAnswer:
    logits: Tensor
    boundary: Tensor


FORMS = {
    "mapping": lambda x: {"logits": x, "peak": x.amax(dim=(1, 2, 3))},
    "named tuple": lambda x: NamedAnswer(trust=x.mean(dim=(1, 2, 3)), logits=x),
    "data class": lambda x: DataAnswer(logits=x, boundary=x.abs()),
    "pair": lambda x: (x, x),
    "no logits": lambda x: {"mask": x},
    "a number": lambda x: {"logits": x, "scale": 2},
    "double": lambda x: {"logits": x, "probability": x},
}


class Tank(nn.Module):
    """Voltages to an image and a linear image."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 64, bias=False)
        self.refine = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, voltages: Tensor) -> dict[str, Tensor]:
        linear = self.linear(voltages).reshape(-1, 1, 8, 8)
        return {"image": linear + self.refine(linear), "linear_image": linear[:, 0]}
