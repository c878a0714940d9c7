"""A finished run as the teacher of another network: its answers are what the other one learns to give.

    L = L(truth) + T^2 KL(teacher's softened answer | student's softened answer),   T = 2

Softened: the logits divided by T before the sigmoid or softmax (Hinton, Vinyals and Dean 2015); T^2 keeps the size of
the gradient. Where the teacher is unsure, at borders above all, its answer says more than a mask of zeros and ones.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from physedge.deploy.network import load_weights
from physedge.models.registry import find, load_factory
from physedge.models.reparameterise import reparameterise
from physedge.train.inputs import Normaliser
from physedge.train.run_files import BEST_WEIGHTS, CONFIG, SPEC
from physedge_runtime.errors import UsageError
from physedge_runtime.spec import ModelSpec, read_spec

TEMPERATURE = 2.0


class Teacher:
    """A trained network that only answers; no part of what is trained, saved or averaged.

    Attributes:
        spec: The declaration of the teacher.
        name: Of its network.
    """

    def __init__(self, network: nn.Module, spec: ModelSpec, name: str) -> None:
        # In channels_last and with folded kernels it costs a training step a third of what it would cost as trained.
        self._network = reparameterise(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.spec = spec
        self.name = name
        self._normalise = Normaliser(spec)

    @torch.no_grad()
    def __call__(self, pictures: Tensor) -> Tensor:
        """Logits (batch, plane, height, width) for pictures (batch, channel, height, width) from 0 to 1."""
        logits: Tensor = self._network.to(pictures.device)(self._normalise(pictures))
        return logits


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """T^2 times the divergence of the student's softened answer from the teacher's, mean over pixels, at least 0.

    Args:
        student: Logits (batch, plane, height, width).
        teacher: Logits of the same shape.
        temperature: T.
    """
    soft, wanted = student / temperature, teacher / temperature
    if student.shape[1] == 1:
        target = torch.sigmoid(wanted)
        cross = functional.binary_cross_entropy_with_logits(soft, target)
        own = functional.binary_cross_entropy_with_logits(wanted, target)
    else:
        target = torch.softmax(wanted, dim=1)
        cross = functional.cross_entropy(soft, target)
        own = functional.cross_entropy(wanted, target)
    return (cross - own) * temperature**2


def read_teacher(run: Path, student: ModelSpec) -> Teacher:
    """The network of a finished run with its best weights.

    Args:
        run: Folder of the run, as `physedge train` leaves it.
        student: Declaration of the network that learns; classes and channels must be the teacher's.

    Raises:
        UsageError: It is no finished run (`PE-TRAIN-010`), or answers another question (`PE-TRAIN-011`).
    """
    try:
        asked = tomllib.loads((run / CONFIG).read_text(encoding="utf-8"))
        model, physics = str(asked["model"]), str(asked["physics"])
        spec = read_spec(run / SPEC)
        if not (run / BEST_WEIGHTS).is_file():
            raise FileNotFoundError(f"no {BEST_WEIGHTS}")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, UsageError) as error:
        raise UsageError(
            "PE-TRAIN-010",
            found=f"{run} is no finished run ({error})",
            expected=f"a folder with {CONFIG}, {SPEC} and {BEST_WEIGHTS}, as physedge train leaves it",
            next_step="name the folder of a trained network with --teacher",
        ) from error
    assert spec.frame is not None and student.frame is not None
    mine = (spec.classes, spec.frame.colour.channels)
    theirs = (student.classes, student.frame.colour.channels)
    if mine != theirs:
        raise UsageError(
            "PE-TRAIN-011",
            found=f"a teacher for {', '.join(spec.classes)} on {mine[1]} channel(s)",
            expected=f"the classes {', '.join(student.classes)} on {theirs[1]} channel(s), as for the network trained",
            next_step="train both on the same question, or correct --classes and --grey",
        )
    network = _build(model, spec, physics)
    load_weights(network, run / BEST_WEIGHTS)
    return Teacher(network, spec, model)


def _build(model: str, spec: ModelSpec, physics: str) -> nn.Module:
    assert spec.frame is not None
    asked = {"classes": spec.output_channels, "channels": spec.frame.colour.channels}
    return load_factory(model)(**asked) if ":" in model else find(model).build(**asked, physics=physics)
