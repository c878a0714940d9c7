"""What a training is asked to do: one frozen value, written to `config.toml` and compared on resume."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Colour
from physedge_runtime.spec import Task

Physics = Literal["paper", "strict"]
Augmentation = Literal["strong", "mild", "mri", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOptions:
    """Everything that decides what comes out of a training, and how it is run.

    Attributes:
        model: A built-in network, or `package.module:factory` called with `classes` and `channels`.
        task: What a network of one's own answers; a built-in one knows.
        data: Folders; each is split into training and validation on its own.
        output: The folder of the run.
        weights: Trained weights to begin with, safetensors; None for a fresh network.
        teacher: Folder of a finished run whose answers a segmentation learns besides the truth; None for none.
        classes: Names; of a segmentation the background first.
        height_px: Of the network's input.
        width_px: Of the network's input.
        colour: Channels of the network's input.
        physics: Form of the physics, for networks that offer two.
        growth: `KEY=VALUE` of `[growth]`, for networks with a tumour model; `off` leaves it out.
        densities: Folder that `physedge synth tumour` wrote, for u_0 of a tumour model; None for none.
        epochs: Passes over the training set.
        batch: Pictures a step and device.
        learning_rate: At its highest, after the warm-up.
        weight_decay: Of AdamW, for weights of rank two and more; norms, offsets and angles are left alone.
        augmentation: How far pictures are changed while training; what suits the task where None.
        progressive: Train the first half of the epochs at 0.7 of the size: about twice as fast, then at full size.
        average_decay: Of the running average of the weights, which is what is validated and kept; 0 for none.
        seed: Of the split, the first weights, the order and the augmentation.
        workers: Processes that decode, where the set is too large for the memory.
        devices: As Lightning takes it: a number, or `auto`.
        nodes: Machines.
        strategy: As Lightning takes it: `auto`, `ddp` ...
        accelerator: As Lightning takes it: `auto`, `cpu`, `gpu` ...
        resume: Go on from the last checkpoint of the run, if it has one.
    """

    model: str
    data: tuple[Path, ...]
    output: Path
    task: Task = Task.SEGMENTATION
    weights: Path | None = None
    teacher: Path | None = None
    classes: tuple[str, ...] = ("background", "lesion")
    height_px: int = 256
    width_px: int = 256
    colour: Colour = Colour.RGB
    physics: Physics = "paper"
    growth: tuple[str, ...] = ()
    densities: Path | None = None
    epochs: int = 100
    batch: int = 8
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    augmentation: Augmentation | None = None
    progressive: bool = False
    average_decay: float = 0.99
    seed: int = 0
    workers: int = 0
    devices: str = "auto"
    nodes: int = 1
    strategy: str = "auto"
    accelerator: str = "auto"
    resume: bool = False

    def __post_init__(self) -> None:
        bounds = {
            "epochs": self.epochs >= 1,
            "batch": self.batch >= 1,
            "learning_rate": 0 < self.learning_rate <= 1,
            "weight_decay": self.weight_decay >= 0,
            "average_decay": 0 <= self.average_decay < 1,
            "workers": self.workers >= 0,
            "nodes": self.nodes >= 1,
            "classes": len(self.classes) >= 2 and len(set(self.classes)) == len(self.classes),
            "data": len(self.data) >= 1,
        }
        for name, holds in bounds.items():
            if not holds:
                raise UsageError(
                    "PE-TRAIN-001",
                    found=f"{name} = {getattr(self, name)!r}",
                    expected=_EXPECTED[name],
                    next_step=f"correct --{name.replace('_', '-')}",
                )


_EXPECTED = {
    "epochs": "at least 1",
    "batch": "at least 1",
    "learning_rate": "more than 0, at most 1",
    "weight_decay": "at least 0",
    "average_decay": "0 to below 1",
    "workers": "at least 0",
    "nodes": "at least 1",
    "classes": "two or more different names, of a segmentation the background first",
    "data": "at least one folder",
}
