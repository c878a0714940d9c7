"""How a reconstruction is trained: simulated bodies in all symmetries, and a loss that knows the forward model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physedge.data.prepared import Advance, Example, PreparedExamples
from physedge.data.splits import Splits, find_splits
from physedge.models.impedance import ImpedanceNetwork
from physedge.physics.eit.embed import protocol_of
from physedge.physics.eit.symmetry import Symmetry, symmetries
from physedge.train.options import TrainOptions
from physedge.train.recipe import Row
from physedge.train.reconstruction_scores import ReconstructionScores, score_reconstruction
from physedge.train.turned_bodies import changed_frames, changed_images, smoothed_images
from physedge_calibrate.voltage_frames import VoltageSample, read_declaration, read_voltage_samples
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import VoltageSpec
from physedge_runtime.spec import ModelSpec

PHYSICS_WEIGHT = 0.02
"""Of the forward model's part of the loss; 0 leaves the image alone."""

TURN_WEIGHT, LATER_TURN_WEIGHT = 10.0, 40.0
"""Of the part of the loss that holds images of turned voltages against the turned images; 0 leaves it out.

The second is of a training that begins with trained weights: a fresh network learns more slowly under it.
"""

_TURNED_SHARE = 0.25
"""Of the batches that are shown in a second turn, too: every one would cost more than twice the time."""

_LEFT_OUT_SHARE = 0.15
_LEAST_SIZE = 0.03
"""Root mean square of ln conductivity below which a body is not held against its own size."""
_BATCH = 128


class ReconstructionRecipe:
    """See `physedge.train.recipe.Recipe`; the truth is float32 (height, width).

    The squared error of the image over that of the truth, and `physics_weight` times that of what the error of the
    image would answer, J (image - truth), over the squared differences. The misfit J image - difference itself would be
    a wrong target: of the true image it is not 0, since the body is no linear one.

    The bodies of every fourth batch, by chance, are shown in a second turn or mirror, too; `turn_weight` times the
    squared distance of the two images, one turned onto the other and both smoothed, over the squared truth is added.
    """

    scores: tuple[str, ...] = ("loss", "relative_error", "correlation")
    shown: tuple[str, str] = ("relative_error", "relative error")

    def __init__(
        self,
        spec: ModelSpec,
        options: TrainOptions,
        *,
        physics_weight: float = PHYSICS_WEIGHT,
        turn_weight: float | None = None,
    ) -> None:
        assert spec.voltages is not None
        self._voltages, self._options = spec.voltages, options
        self._physics_weight = physics_weight
        self._spec = spec
        known = symmetries(protocol_of(spec.voltages)) if options.augmentation != "none" else ()
        self._symmetries = known[:1] if options.augmentation == "none" else known
        if turn_weight is None:
            turn_weight = TURN_WEIGHT if options.weights is None else LATER_TURN_WEIGHT
        self._turn_weight = turn_weight if len(self._symmetries) > 1 else 0.0
        self._variance = 1.0

    def split(self, folder: Path) -> Splits:
        """By folder."""
        return find_splits(
            folder, seed=self._options.seed, read=lambda part: read_voltage_samples(part, self._voltages)
        )

    def prepare(
        self, samples: Sequence[VoltageSample], *, where: str, advance: Advance
    ) -> PreparedExamples[VoltageSample]:
        """Voltages with their images."""
        _ = where
        return PreparedExamples(
            samples, lambda sample: Example(frame=sample.picture(), truth=sample.truth()), advance=advance
        )

    def fit_to(self, examples: PreparedExamples[VoltageSample]) -> None:
        """Nothing of a set is looked at before the network is there."""
        _ = examples

    def begin(self, network: nn.Module, examples: PreparedExamples[VoltageSample]) -> None:
        """Load the body's physics, and learn how clean differences look."""
        assert isinstance(network, ImpedanceNetwork)
        network.load_physics()
        differences = differences_of(network, examples)
        self._variance = float(differences.var())
        touches = torch.from_numpy(protocol_of(self._voltages).touches())
        network.doubts.learn(differences, touches)

    def end(self, network: nn.Module, examples: PreparedExamples[VoltageSample]) -> bool:
        """Learn what the trained network's images leave unexplained on clean data."""
        assert isinstance(network, ImpedanceNetwork)
        learn_doubts(network, differences_of(network, examples))
        return True

    def loss(
        self, network: nn.Module, frames: Tensor, truths: Tensor, generator: torch.Generator, size: tuple[int, int]
    ) -> Tensor:
        """Of the image, of what its error would answer, and of its turn; some samples without one electrode."""
        _ = size
        assert isinstance(network, ImpedanceNetwork)
        count = len(frames)
        change = self._drawn(self._symmetries, generator)
        frames, truths = changed_frames(frames, change), changed_images(truths, change)
        left_out = self._left_out(count, generator).to(frames.device)
        is_turned = self._turn_weight > 0 and float(torch.rand((), generator=generator)) < _TURNED_SHARE
        turn = self._drawn(self._symmetries[1:], generator) if is_turned else None
        if turn is not None:
            frames = torch.cat([frames, changed_frames(frames, turn)])
            truths = torch.cat([truths, changed_images(truths, turn)])
            left_out = torch.cat([left_out, torch.zeros_like(left_out)])
        difference = network.difference(frames)
        image, _linear = network.reconstruct(difference, left_out)
        error = image - truths[:, None]
        total = relative_square(error, truths, network.linear.mask).mean()
        if self._physics_weight:
            answers = network.operator(error).square().mean(dim=1)
            scale = difference.square().mean(dim=1) + _LEAST_SIZE**2 * self._variance
            total = total + self._physics_weight * (answers / scale).mean()
        if turn is not None:
            first, second = (smoothed_images(part[:, 0], network.linear.mask) for part in image.split(count))
            apart = (changed_images(first, turn) - second) * network.linear.mask
            distance = relative_square(apart[:, None], truths[count:], network.linear.mask)
            total = total + self._turn_weight * (distance * (left_out[:count] == 0)).mean()
        return total

    @staticmethod
    def _drawn(known: Sequence[Symmetry], generator: torch.Generator) -> Symmetry:
        """A turn or mirror, for all of a batch alike."""
        return known[int(torch.randint(len(known), (), generator=generator))]

    def _left_out(self, count: int, generator: torch.Generator) -> Tensor:
        electrode = torch.randint(1, self._voltages.electrodes + 1, (count,), generator=generator)
        chosen = torch.rand(count, generator=generator) < _LEFT_OUT_SHARE
        return torch.where(chosen, electrode, torch.zeros_like(electrode))

    def score(self, network: nn.Module, frames: Tensor, truths: Tensor) -> NDArray[np.float64]:
        """Loss of the image, relative error and correlation of every one."""
        assert isinstance(network, ImpedanceNetwork)
        image, _linear = network.reconstruct(network.difference(frames), torch.zeros(len(frames), dtype=torch.int64))
        error = (image[:, 0] - truths).flatten(1)
        inside = network.linear.mask.flatten() > 0
        found, true = image.flatten(1)[:, inside], truths.flatten(1)[:, inside]
        found, true = found - found.mean(dim=1, keepdim=True), true - true.mean(dim=1, keepdim=True)
        product = (found * true).sum(dim=1) / (found.norm(dim=1) * true.norm(dim=1) + 1e-12)
        loss = relative_square(image - truths[:, None], truths, network.linear.mask)
        relative = error.norm(dim=1) / (truths.flatten(1).norm(dim=1) + 1e-12)
        return torch.stack([loss, relative, product], dim=1).double().cpu().numpy()

    def rank(self, row: Row) -> tuple[float, ...]:
        """The lowest relative error."""
        return (-row["val_relative_error"],)

    def final(
        self, network: nn.Module, samples: Sequence[VoltageSample], *, advance: Advance = lambda: None
    ) -> ReconstructionScores:
        """As a device answers: from the voltages on."""
        return score_reconstruction(network, self._spec, samples, advance=advance)

    def draw(
        self, rows: Sequence[Row], scores: ReconstructionScores, samples: Sequence[VoltageSample], folder: Path
    ) -> None:
        """Curves, and the bodies that went worst beside their truth."""
        from physedge.train.reconstruction_pictures import draw_reconstruction_curves, draw_worst_images

        _ = samples
        draw_reconstruction_curves(rows, max(rows, key=self.rank), folder / "curves.png")
        draw_worst_images(scores.evaluation, folder / "worst.png")


def relative_square(error: Tensor, truths: Tensor, mask: Tensor) -> Tensor:
    """(sample,): squared error over the squared true image, so that weak bodies count like strong ones.

    Args:
        error: (sample, 1, height, width).
        truths: (sample, height, width); an empty one counts as one of the least size.
        mask: (height, width).
    """
    size = truths.square().sum(dim=(1, 2)) + _LEAST_SIZE**2 * mask.sum()
    return error.square().sum(dim=(1, 2, 3)) / size


def declared_voltages(folders: Sequence[Path]) -> VoltageSpec:
    """What the voltages of all folders are.

    Raises:
        UsageError: A folder does not say it (`PE-DATA-023`), or two say otherwise (`PE-DATA-022`).
    """
    first, *others = [read_declaration(folder) for folder in folders]
    for other in others:
        if other != first:
            raise UsageError(
                "PE-DATA-022",
                found=f"two sets of voltages, {first} and {other}",
                expected="sets of one body and one protocol",
                next_step="train on sets that were made with the same options",
            )
    return first


@torch.no_grad()
def differences_of(network: ImpedanceNetwork, examples: PreparedExamples[VoltageSample]) -> Tensor:
    """(sample, voltage) of a whole set, on the processor."""
    frames = torch.from_numpy(np.stack([examples[index].frame for index in range(len(examples))]))
    differences: Tensor = network.difference(frames.to(network.deviation.device))
    return differences.cpu()


@torch.no_grad()
def learn_doubts(network: ImpedanceNetwork, differences: Tensor) -> None:
    """Learn what the images of a trained network leave unexplained on clean data.

    Args:
        network: Trained.
        differences: (sample, voltage) of clean data.
    """
    was_training = network.training
    network.eval()
    rests = []
    for part in differences.split(_BATCH):
        image, _linear = network.reconstruct(part, torch.zeros(len(part), dtype=torch.int64))
        rests.append(part - network.operator(image))
    network.doubts.learn_residual(torch.cat(rests))
    network.train(was_training)
