"""How a classifier is trained: class folders, cross-entropy balanced over the classes, a confusion to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from physedge.data.prepared import Advance, Example, PreparedExamples
from physedge.data.splits import Splits, find_splits
from physedge.models.physnet import PhysNet
from physedge.train.augment import STRENGTHS, augment_pictures
from physedge.train.class_pictures import draw_class_curves, draw_confusion, draw_worst_classified
from physedge.train.class_scores import ClassScores, score_classifier
from physedge.train.growth_loss import clear_loss, graft_loss, growth_loss, outside_loss
from physedge.train.inputs import Normaliser, logits_of, planar
from physedge.train.lesions import SHARE, Lesions
from physedge.train.options import TrainOptions
from physedge.train.recipe import Row
from physedge_calibrate.class_folders import ClassifiedFile, read_class_folders
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import Frame
from physedge_runtime.resize import prepare
from physedge_runtime.spec import ModelSpec

LABEL_SMOOTHING = 0.05


class ClassificationRecipe:
    """See `physedge.train.recipe.Recipe`; the truth is int64 (), the index of the class.

    Cross-entropy with 5 % label smoothing, each class weighted by the inverse of its share of the training set; of a
    network with a tumour model `growth_loss` besides, and with `--densities` what lesions of known density teach.
    """

    scores: tuple[str, ...] = ("loss", "accuracy")
    shown: tuple[str, str] = ("accuracy", "accuracy")

    def __init__(self, spec: ModelSpec, options: TrainOptions) -> None:
        self._spec, self._options = spec, options
        self._strength = STRENGTHS[options.augmentation or "mri"]
        self._normalise = Normaliser(spec)
        self._weights = torch.ones(len(spec.classes))
        none_class = spec.growth.none_class if spec.growth else ""
        self._none_label = spec.classes.index(none_class) if none_class else -1
        self._lesions = _lesions_of(spec, options)

    def split(self, folder: Path) -> Splits:
        """By folder, list, or whole patients."""
        return find_splits(
            folder,
            seed=self._options.seed,
            read=lambda part: read_class_folders(part, self._spec.classes),
        )

    def prepare(
        self, samples: Sequence[ClassifiedFile], *, where: str, advance: Advance
    ) -> PreparedExamples[ClassifiedFile]:
        """Pictures on the grid with the index of their class."""
        frame = self._spec.frame
        assert frame is not None
        missing = sorted(set(range(len(self._spec.classes))) - {sample.label for sample in samples})
        if missing:
            raise UsageError(
                "PE-DATA-012",
                found=f"{where} has no picture of {self._spec.classes[missing[0]]}",
                expected="at least one picture of every class",
                next_step="divide the set otherwise, or add pictures of this class",
            )

        def example(sample: ClassifiedFile) -> Example:
            pixels = prepare(Frame(pixels=sample.picture()), frame)
            return Example(frame=pixels, truth=np.asarray(sample.label, np.int64))

        return PreparedExamples(samples, example, advance=advance)

    def fit_to(self, examples: PreparedExamples[ClassifiedFile]) -> None:
        """Weigh the classes by the inverse of their shares; the mean weight of a sample is 1."""
        labels = np.array([sample.label for sample in examples.samples])
        counts = np.bincount(labels, minlength=len(self._spec.classes))
        self._weights = torch.from_numpy(len(labels) / (len(counts) * counts)).float()

    def begin(self, network: nn.Module, examples: PreparedExamples[ClassifiedFile]) -> None:
        """Everything is learnt by descent."""
        _ = network, examples

    def end(self, network: nn.Module, examples: PreparedExamples[ClassifiedFile]) -> bool:
        """Nothing follows."""
        _ = network, examples
        return False

    def loss(
        self, network: nn.Module, frames: Tensor, truths: Tensor, generator: torch.Generator, size: tuple[int, int]
    ) -> Tensor:
        """Of the classes, and of the growth where the network has one."""
        changed = augment_pictures(planar(frames), self._strength, generator, size)
        answer = network(self._normalise(changed))
        logits = logits_of(answer)
        total = functional.cross_entropy(
            logits, truths, weight=self._weights.to(logits.device), label_smoothing=LABEL_SMOOTHING
        )
        if isinstance(network, PhysNet) and network.block is not None:
            is_tumour = truths != self._none_label
            total = total + growth_loss(network.block, answer, is_tumour, asks_for_region=self._lesions is None)
            if self._lesions is not None:
                total = total + outside_loss(answer["density"][:, :1], changed)
                total = total + clear_loss(answer["density"][:, :1], is_tumour)
                total = total + self._learned_from(self._lesions, network, changed, is_tumour, generator)
        return total

    def _learned_from(
        self, lesions: Lesions, network: PhysNet, pictures: Tensor, is_tumour: Tensor, generator: torch.Generator
    ) -> Tensor:
        assert network.block is not None
        some = torch.randperm(len(pictures), generator=generator)[: max(1, round(SHARE * len(pictures)))]
        some = some.to(pictures.device)
        grafted = lesions.set_into(pictures[some], is_tumour[some], generator)
        density, place = network.first_density(self._normalise(grafted.pictures))
        return graft_loss(network.block, density, place, grafted)

    def score(self, network: nn.Module, frames: Tensor, truths: Tensor) -> NDArray[np.float64]:
        """Cross-entropy and rightness of every picture."""
        logits = logits_of(network(self._normalise(planar(frames))))
        losses = functional.cross_entropy(logits, truths, reduction="none")
        right = (logits.argmax(dim=1) == truths).float()
        return torch.stack([losses, right], dim=1).double().cpu().numpy()

    def rank(self, row: Row) -> tuple[float, ...]:
        """The highest accuracy; of equal ones the lowest cross-entropy."""
        return row["val_accuracy"], -row["val_loss"]

    def final(
        self, network: nn.Module, samples: Sequence[ClassifiedFile], *, advance: Advance = lambda: None
    ) -> ClassScores:
        """As a device answers: from the raw picture on."""
        return score_classifier(network, self._spec, samples, advance=advance)

    def draw(self, rows: Sequence[Row], scores: ClassScores, samples: Sequence[ClassifiedFile], folder: Path) -> None:
        """Curves, the confusion matrix with reliability, and the pictures that went worst, with their densities."""
        draw_class_curves(rows, max(rows, key=self.rank), folder / "curves.png")
        draw_confusion(scores.evaluation, folder / "confusion.png")
        draw_worst_classified(scores, samples, self._spec, folder / "worst.png")


def _lesions_of(spec: ModelSpec, options: TrainOptions) -> Lesions | None:
    if options.densities is None:
        return None
    if spec.growth is None:
        raise UsageError(
            "PE-TRAIN-009",
            found=f"--densities for a network without a tumour model, {options.model}",
            expected="a network with one, for example physnet_e",
            next_step="leave --densities out",
        )
    return Lesions(options.densities, spec.growth)
