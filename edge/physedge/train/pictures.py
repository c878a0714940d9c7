"""What a person looks at after a training: the curves, and the frames that went worst."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from physedge.train.recipe import Row
from physedge.train.validate import Scores
from physedge_calibrate.dataset import LabelledFile
from physedge_runtime.frame_mask import mask_on_frame
from physedge_runtime.spec import ModelSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVES, WORST = "curves.png", "worst.png"
_TRUTH, _ANSWER = "#37e06b", "#ff3df2"  # neither occurs in tissue
_TRAIN, _VALIDATION, _SECOND = "#3366aa", "#dd7711", "#888888"
_WORST_COUNT, _COLUMNS = 8, 4


def draw_curves(rows: Sequence[Row], best: Row, path: Path) -> None:
    """Draw loss, overlap and distance over the epochs, with the epoch that was kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained", dpi=110)
    loss, overlap, distance = figure.subplots(1, 3)
    epochs = [row["epoch"] for row in rows]

    def line(axes: Axes, column: str, label: str, colour: str) -> None:
        axes.plot(epochs, [row[column] for row in rows], label=label, color=colour, marker=".", markersize=4)

    line(loss, "train_loss", "training, with all heads", _TRAIN)
    line(loss, "val_loss", "validation, last head", _VALIDATION)
    line(overlap, "val_dice", "Dice", _VALIDATION)
    line(overlap, "val_iou", "IoU", _SECOND)
    line(distance, "val_hd95_px", "HD95", _VALIDATION)
    line(distance, "val_asd_px", "ASD", _SECOND)
    for axes, title in (
        (loss, "Loss"),
        (overlap, f"Validation overlap: Dice {best['val_dice']:.3f} at epoch {best['epoch']:.0f}, kept"),
        (distance, "Validation distance in pixels of the network's grid"),
    ):
        axes.axvline(best["epoch"], color="black", linewidth=0.8, linestyle=":")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, loc="upper right")
        axes.xaxis.get_major_locator().set_params(integer=True)
    overlap.set_ylim(0, 1)
    loss.set_ylim(bottom=0)
    distance.set_ylim(bottom=0)
    save_figure(figure, path)


def draw_worst(scores: Scores, samples: Sequence[LabelledFile], spec: ModelSpec, path: Path) -> None:
    """Draw the frames with the lowest Dice at their own size, with both contours.

    Args:
        scores: Of these samples, in this order.
        samples: Read again for their pictures.
        spec: The declaration of the network.
        path: The file to be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    assert spec.frame is not None
    chosen = scores.worst(min(_WORST_COUNT, len(samples)))
    columns = min(_COLUMNS, len(chosen))
    lines = -(-len(chosen) // columns)
    figure = Figure(figsize=(3.4 * columns, 3.1 * lines + 0.6), layout="constrained", dpi=110)
    grid = np.atleast_1d(np.asarray(figure.subplots(lines, columns))).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, index in zip(grid, chosen, strict=False):
        picture, truth = samples[index].pair()
        probability = scores.evaluation.probabilities[index].astype(np.float32)
        mask = mask_on_frame(probability, spec.threshold, spec.frame, (picture.shape[0], picture.shape[1]))
        axes.imshow(picture)
        _contour(axes, truth, _TRUTH)
        _contour(axes, mask, _ANSWER)
        axes.set_title(f"{samples[index].name}   Dice {scores.evaluation.grid.dice[index]:.3f}", fontsize=8)
    figure.legend(
        handles=[Line2D([], [], color=_TRUTH, label="truth"), Line2D([], [], color=_ANSWER, label="network")],
        loc="outside lower center",
        ncols=2,
        fontsize=9,
    )
    figure.suptitle(f"The {len(chosen)} worst of {len(samples)} validation pictures", fontsize=11)
    save_figure(figure, path)


def _contour(axes: Axes, labels: NDArray[np.uint8], colour: str) -> None:
    for label in np.unique(labels[labels > 0]):
        # One pixel of background around it, so that a region that leaves the picture is closed.
        region = np.pad((labels == label).astype(np.float32), 1)
        height, width = region.shape
        axes.contour(
            np.arange(-1, width - 1), np.arange(-1, height - 1), region, levels=[0.5], colors=colour, linewidths=1.6
        )
    axes.set_xlim(-0.5, labels.shape[1] - 0.5)
    axes.set_ylim(labels.shape[0] - 0.5, -0.5)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, whole or not at all."""
    scratch = path.with_name(f".{path.name}")
    figure.savefig(scratch, format="png")
    scratch.replace(path)
