"""Run a classifier over pictures of known class and score its answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from physedge_calibrate.answer_loss import AnswerLoss
from physedge_calibrate.class_folders import ClassifiedFile
from physedge_calibrate.gate import SetLoss
from physedge_calibrate.metrics.classification import (
    confusion_matrix,
    macro_f1,
    macro_f1_drop_interval,
    macro_f1_interval,
    macro_f1_shares,
)
from physedge_calibrate.metrics.confidence import auroc_interval, calibration_error_interval
from physedge_calibrate.samples import OF_THE_SET, Advance, Infer, largest_signals
from physedge_calibrate.statistics import Interval, mcnemar_p_value, mean_interval
from physedge_runtime.frame import Frame
from physedge_runtime.resize import prepare
from physedge_runtime.spec import ModelSpec

SAME_ARITHMETIC = 1e-3
"""Probabilities that agree to this with every answer the same come from one network in another order of additions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationEvaluation:
    """What a network answered for every picture, and how that scores.

    Attributes:
        names: Of the samples, in order.
        groups: Patient or sequence of each.
        strata: Name of the true class of each.
        classes: Names in the order of the probabilities.
        probability: float64 (sample, class).
        truths: int64 (sample,), indices of the true classes.
        none_class: The class without a tumour, where the network has one.
        outputs: Every further output by its name, float32 (sample, ...), in the order of the samples.
    """

    names: tuple[str, ...]
    groups: tuple[str, ...]
    strata: tuple[str, ...]
    classes: tuple[str, ...] = field(metadata={OF_THE_SET: True})
    probability: NDArray[np.float64] = field(repr=False)
    truths: NDArray[np.int64] = field(repr=False)
    none_class: str = ""
    outputs: dict[str, NDArray[np.float32]] = field(repr=False, default_factory=dict)

    @property
    def answers(self) -> tuple[NDArray[np.float64], ...]:
        """The probabilities (class,) of each sample."""
        return tuple(self.probability)

    @property
    def found_from(self) -> None:
        """A classifier always names a class."""
        return

    @property
    def predictions(self) -> NDArray[np.int64]:
        """(sample,) indices of the most probable classes."""
        return np.asarray(self.probability.argmax(axis=1), np.int64)

    @property
    def signals(self) -> dict[str, NDArray[np.float64]]:
        """The trust signals by name, (sample,) each."""
        return largest_signals(self.outputs)

    def __len__(self) -> int:
        return len(self.names)

    def confusion(self) -> NDArray[np.int64]:
        """Counts (true class, predicted class)."""
        return confusion_matrix(self.predictions, self.truths, class_count=len(self.classes))

    def scores(self, metric: str) -> NDArray[np.float64]:
        """Per-sample scores (sample,): `accuracy`, 1 where the most probable class is the true one, or `macro_f1`.

        Macro F1 is a function of the whole set: given is what each sample contributes, whose mean it is.

        Raises:
            KeyError: Another metric.
        """
        if metric == "macro_f1":
            return macro_f1_shares(self.predictions, self.truths, class_count=len(self.classes))
        if metric != "accuracy":
            raise KeyError(metric)
        return np.asarray(self.predictions == self.truths, np.float64)

    def figures(self, seed: int) -> dict[str, Interval]:
        """Accuracy, macro F1, AUROC (one against the rest), expected calibration error, and each class's recall.

        Where a class means "no tumour", the accuracy among the others too: that class often comes from elsewhere.
        """

        def fresh() -> np.random.Generator:
            return np.random.default_rng(seed)

        groups = list(self.groups)
        right = self.scores("accuracy")
        found = {
            "accuracy": mean_interval(right, groups=groups, generator=fresh()),
            "macro_f1": macro_f1_interval(
                self.predictions, self.truths, class_count=len(self.classes), groups=groups, generator=fresh()
            ),
        }
        if len(np.unique(self.truths)) > 1:
            found["auroc"] = auroc_interval(self.probability, self.truths, groups=groups, generator=fresh())
        found["ece"] = calibration_error_interval(self.probability, self.truths, groups=groups, generator=fresh())
        parts = {f"recall_{name}": self.truths == label for label, name in enumerate(self.classes)}
        if self.none_class:
            tumours = self.truths != self.classes.index(self.none_class)
            parts = {"accuracy_of_tumours": tumours, **parts}
        for name, inside in parts.items():
            if inside.sum() > 1:
                own = [group for group, is_own in zip(groups, inside, strict=True) if is_own]
                found[name] = mean_interval(right[inside], groups=own, generator=fresh())
        return {name: interval.within(0.0, 1.0) for name, interval in found.items()}


def evaluate_classification(
    infer: Infer, samples: Sequence[ClassifiedFile], spec: ModelSpec, advance: Advance
) -> ClassificationEvaluation:
    """Score a classifier.

    Args:
        infer: From (1, height, width, channel) uint8 to the outputs by name.
        samples: In the order in which they are scored; the same for every network that is compared.
        spec: The declaration of the network.
        advance: Called after every sample.
    """
    assert spec.frame is not None
    probability: list[NDArray[np.float64]] = []
    others: dict[str, list[NDArray[np.float32]]] = {}
    for sample in samples:
        outputs = infer(prepare(Frame(pixels=sample.picture()), spec.frame)[np.newaxis])
        probability.append(outputs["probability"][0].astype(np.float64))
        for name, values in outputs.items():
            if name != "probability":
                others.setdefault(name, []).append(np.array(values[0], np.float32))
        advance()
    return ClassificationEvaluation(
        names=tuple(sample.name for sample in samples),
        groups=tuple(sample.group for sample in samples),
        strata=tuple(sample.stratum for sample in samples),
        classes=spec.classes,
        probability=np.stack(probability),
        truths=np.array([sample.label for sample in samples], np.int64),
        none_class=spec.growth.none_class if spec.growth else "",
        outputs={name: np.stack(values) for name, values in others.items()},
    )


def hold_classification(
    reference: ClassificationEvaluation, candidate: ClassificationEvaluation, seed: int
) -> tuple[tuple[SetLoss, ...], tuple[str, ...]]:
    """What a candidate lost in macro F1, and McNemar's test on the pictures on which only one of both is right."""
    drop = macro_f1_drop_interval(
        reference.predictions,
        candidate.predictions,
        reference.truths,
        class_count=len(reference.classes),
        groups=list(candidate.groups),
        generator=np.random.default_rng(seed),
    )
    full = macro_f1(reference.predictions, reference.truths, class_count=len(reference.classes))
    before, after = reference.scores("accuracy") > 0, candidate.scores("accuracy") > 0
    lost, won = int((before & ~after).sum()), int((~before & after).sum())
    remark = (
        f"only full precision is right in {lost} of {len(candidate)} pictures, only the candidate in {won} "
        f"(McNemar p = {mcnemar_p_value(before, after):.3g}); "
        f"answers differ in {int((reference.predictions != candidate.predictions).sum())}"
    )
    losses: tuple[SetLoss, ...] = (SetLoss(title="macro F1", reference=full, drop=drop),)
    same_answers = np.array_equal(reference.predictions, candidate.predictions)
    farthest = float(np.abs(reference.probability - candidate.probability).max(initial=0.0))
    if not (same_answers and farthest <= SAME_ARITHMETIC):
        losses = (*losses, AnswerLoss.counted(before, after))
    return losses, (remark,)
