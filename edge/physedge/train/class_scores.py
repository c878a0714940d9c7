"""The final scores of a trained classifier: per picture, and over the whole set with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from physedge.train.csv_table import csv_table
from physedge.train.inputs import Normaliser, logits_of, planar, probabilities
from physedge_calibrate.class_folders import ClassifiedFile
from physedge_calibrate.evaluate_classification import ClassificationEvaluation, evaluate_classification
from physedge_calibrate.statistics import Interval
from physedge_runtime.spec import ModelSpec

TITLES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "auroc": "AUROC",
    "ece": "expected calibration error",
    "accuracy_of_tumours": "accuracy among tumours",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScores:
    """Scores of every picture.

    Attributes:
        evaluation: What the network answered and how that scores.
        figures: Over the whole set, by name, with 95 % intervals.
    """

    evaluation: ClassificationEvaluation
    figures: dict[str, Interval]

    def sentence(self) -> str:
        """For people."""
        said = [f"{title} {_interval(self.figures[name])}" for name, title in TITLES.items() if name in self.figures]
        groups = len(set(self.evaluation.groups))
        return f"{', '.join(said)} (95 %, {len(self.evaluation)} pictures in {groups} groups)"

    def table(self) -> str:
        """`validation.csv`: one row a picture, the least probability of the true class first."""
        evaluation = self.evaluation
        scalars = [name for name, values in evaluation.outputs.items() if values[0].size == 1]
        titles = [f"probability_{name}" for name in evaluation.classes]
        rows = (self._row(index, scalars) for index in self.worst(len(evaluation)))
        return csv_table(["name", "group", "truth", "answer", *titles, *scalars], rows)

    def _row(self, index: int, scalars: Sequence[str]) -> list[str]:
        evaluation = self.evaluation
        probability = evaluation.probability[index]
        return [
            evaluation.names[index],
            evaluation.groups[index],
            evaluation.strata[index],
            evaluation.classes[int(probability.argmax())],
            *(f"{value:.6g}" for value in probability),
            *(f"{float(evaluation.outputs[name][index].reshape(-1)[0]):.6g}" for name in scalars),
        ]

    def to_dict(self) -> dict[str, object]:
        """Figures with intervals, and the confusion matrix (true class, predicted class)."""
        return {
            "validation": {
                name: {"value": found.estimate, "low": _finite(found.low), "high": _finite(found.high)}
                for name, found in self.figures.items()
            },
            "classes": list(self.evaluation.classes),
            "confusion": self.evaluation.confusion().tolist(),
        }

    def worst(self, count: int) -> list[int]:
        """Indices of the pictures whose true class got the least probability, the least first."""
        evaluation = self.evaluation
        own = evaluation.probability[np.arange(len(evaluation)), evaluation.truths]
        return [int(index) for index in np.argsort(own, kind="stable")[:count]]


def score_classifier(
    network: nn.Module,
    spec: ModelSpec,
    samples: Sequence[ClassifiedFile],
    *,
    advance: Callable[[], object] = lambda: None,
    seed: int = 0,
) -> ClassScores:
    """Score a trained classifier on the processor, picture by picture.

    Args:
        network: With its weights.
        spec: Its declaration.
        samples: In the order of the scores.
        advance: Called after every picture.
        seed: Of the bootstrap.
    """
    network = network.cpu().eval()
    normalise = Normaliser(spec)

    @torch.inference_mode()
    def infer(frame: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        answer = network(normalise(planar(torch.from_numpy(frame))))
        others = {name: value.numpy() for name, value in answer.items()} if isinstance(answer, Mapping) else {}
        others.pop("logits", None)
        return {"probability": probabilities(logits_of(answer)), **others}

    evaluation = evaluate_classification(infer, samples, spec, advance)
    return ClassScores(evaluation=evaluation, figures=evaluation.figures(seed))


def _interval(found: Interval) -> str:
    return f"{found.estimate:.3f} ({found.low:.3f} to {found.high:.3f})"


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
