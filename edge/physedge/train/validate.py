"""The final scores of trained weights: per image, on the network's grid and at the size of the raw pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from physedge.train.csv_table import csv_table
from physedge.train.inputs import Normaliser, logits_of, planar, probabilities
from physedge_calibrate.dataset import LabelledFile
from physedge_calibrate.evaluate_segmentation import SegmentationEvaluation, evaluate_segmentation
from physedge_runtime.spec import ModelSpec

_SCORES = ("dice", "iou", "hd95_px", "asd_px")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Scores of every sample.

    Attributes:
        evaluation: What the network answered and how that scores.
    """

    evaluation: SegmentationEvaluation

    def mean(self, score: str, *, native: bool = False) -> float:
        """Mean over the samples of `dice`, `iou`, `hd95_px` or `asd_px`."""
        table = self.evaluation.native if native else self.evaluation.grid
        return float(np.mean(getattr(table, score)))

    def sentence(self) -> str:
        """For people; distances at the size of the raw pictures."""
        groups = len(set(self.evaluation.groups))
        return (
            f"Dice {self.mean('dice'):.4f}, IoU {self.mean('iou'):.4f}, "
            f"HD95 {self.mean('hd95_px', native=True):.1f} px, ASD {self.mean('asd_px', native=True):.1f} px "
            f"(means over {len(self.evaluation)} pictures in {groups} groups)"
        )

    def table(self) -> str:
        """`validation.csv`: one row a sample, the worst Dice first."""
        sizes = [f"{score}_{size}" for size in ("grid", "native") for score in _SCORES]
        return csv_table(["name", "group", "stratum", *sizes], map(self._row, self.worst(len(self.evaluation))))

    def _row(self, index: int) -> list[str]:
        evaluation = self.evaluation
        values = [
            f"{getattr(table, score)[index]:.6g}" for table in (evaluation.grid, evaluation.native) for score in _SCORES
        ]
        return [evaluation.names[index], evaluation.groups[index], evaluation.strata[index], *values]

    def to_dict(self) -> dict[str, object]:
        """Means over the pictures."""
        return {
            "validation_grid": {name: self.mean(name) for name in _SCORES},
            "validation_native": {name: self.mean(name, native=True) for name in _SCORES},
        }

    def worst(self, count: int) -> list[int]:
        """Indices of the samples with the lowest Dice, the lowest first."""
        return [int(index) for index in np.argsort(self.evaluation.grid.dice, kind="stable")[:count]]


def score_weights(
    network: nn.Module,
    spec: ModelSpec,
    samples: Sequence[LabelledFile],
    *,
    advance: Callable[[], object] = lambda: None,
) -> Scores:
    """Score a trained network on the processor, picture by picture, as it will be scored on a device.

    Args:
        network: With its weights.
        spec: Its declaration.
        samples: In the order of the scores.
        advance: Called after every sample.
    """
    network = network.cpu().eval()
    normalise = Normaliser(spec)

    @torch.inference_mode()
    def infer(frame: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        return {"probability": probabilities(logits_of(network(normalise(planar(torch.from_numpy(frame))))))}

    return Scores(evaluation=evaluate_segmentation(infer, samples, spec, advance))
