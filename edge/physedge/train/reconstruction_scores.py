"""The final scores of a reconstruction: every validation body, from the voltages on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from physedge.train.csv_table import csv_table
from physedge_calibrate.evaluate_reconstruction import METRICS, ReconstructionEvaluation, evaluate_reconstruction
from physedge_calibrate.voltage_frames import VoltageSample
from physedge_runtime.spec import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionScores:
    """Scores of every sample.

    Attributes:
        evaluation: What the network answered and how that scores.
    """

    evaluation: ReconstructionEvaluation

    def means(self) -> dict[str, float]:
        """Mean over the samples of every metric; `relative_error_linear` is that of the linear image."""
        return {name: interval.estimate for name, interval in self.evaluation.figures(seed=0).items()}

    def sentence(self) -> str:
        """For people."""
        means = self.means()
        return (
            f"relative error {means['relative_error']:.4f} (linear image {means['relative_error_linear']:.4f}), "
            f"correlation {means['correlation']:.4f}, SSIM {means['ssim']:.4f} "
            f"(means over {len(self.evaluation)} measurements of {len(set(self.evaluation.groups))} bodies)"
        )

    def table(self) -> str:
        """`validation.csv`: one row a sample, the largest relative error first."""
        scores = {name: self.evaluation.scores(name) for name in METRICS}
        rows = (
            [
                self.evaluation.names[index],
                self.evaluation.groups[index],
                *(f"{scores[name][index]:.6g}" for name in METRICS),
            ]
            for index in np.argsort(-scores["relative_error"], kind="stable")
        )
        return csv_table(["name", "group", *METRICS], rows)

    def to_dict(self) -> dict[str, object]:
        """Means by name."""
        return {"validation": self.means()}


def score_reconstruction(
    network: nn.Module,
    spec: ModelSpec,
    samples: Sequence[VoltageSample],
    *,
    advance: Callable[[], object] = lambda: None,
) -> ReconstructionScores:
    """Score a trained network on the processor, frame by frame, as it will be scored on a device."""
    network = network.cpu().eval()

    @torch.inference_mode()
    def infer(voltages: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        return {name: value.numpy() for name, value in network(torch.from_numpy(voltages)).items()}

    return ReconstructionScores(evaluation=evaluate_reconstruction(infer, samples, spec, advance))
