"""What a person looks at after training a classifier: curves, confusion, reliability, and what went worst."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physedge.train.pictures import save_figure
from physedge.train.recipe import Row
from physedge_calibrate.class_folders import ClassifiedFile
from physedge_calibrate.evaluate_classification import ClassificationEvaluation
from physedge_calibrate.metrics.confidence import reliability
from physedge_runtime.frame import Frame
from physedge_runtime.resize import prepare
from physedge_runtime.spec import ModelSpec

if TYPE_CHECKING:
    from physedge.train.class_scores import ClassScores

_TRAIN, _VALIDATION = "#3366aa", "#dd7711"
_WORST_COUNT, _COLUMNS = 12, 6


def draw_class_curves(rows: Sequence[Row], best: Row, path: Path) -> None:
    """Draw loss and accuracy over the epochs, with the epoch that was kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained", dpi=110)
    loss, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in rows]
    style = {"marker": ".", "markersize": 4}
    loss.plot(epochs, [row["train_loss"] for row in rows], label="training, all terms", color=_TRAIN, **style)
    loss.plot(epochs, [row["val_loss"] for row in rows], label="validation, classes", color=_VALIDATION, **style)
    right.plot(epochs, [row["val_accuracy"] for row in rows], label="accuracy", color=_VALIDATION, **style)
    titles = ("Loss", f"Validation accuracy {best['val_accuracy']:.3f} at epoch {best['epoch']:.0f}, kept")
    for axes, title in zip((loss, right), titles, strict=True):
        axes.axvline(best["epoch"], color="black", linewidth=0.8, linestyle=":")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, loc="upper right")
        axes.xaxis.get_major_locator().set_params(integer=True)
    right.set_ylim(0, 1)
    loss.set_ylim(bottom=0)
    save_figure(figure, path)


def draw_confusion(evaluation: ClassificationEvaluation, path: Path) -> None:
    """Draw the confusion matrix, and how often the network is right at each confidence."""
    from matplotlib.figure import Figure

    counts = evaluation.confusion()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(9.5, 4.4), layout="constrained", dpi=110)
    matrix, sure = figure.subplots(1, 2)
    matrix.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for true, predicted in np.ndindex(*counts.shape):
        colour = "white" if shares[true, predicted] > 0.55 else "black"
        matrix.text(predicted, true, str(counts[true, predicted]), ha="center", va="center", color=colour)
    ticks = range(len(evaluation.classes))
    matrix.set_xticks(ticks, evaluation.classes, rotation=30, ha="right")
    matrix.set_yticks(ticks, evaluation.classes)
    matrix.set_xlabel("answer")
    matrix.set_ylabel("truth")
    matrix.set_title(f"Confusion of {len(evaluation)} pictures", fontsize=10)
    confidence, accuracy, samples = reliability(evaluation.probability, evaluation.truths)
    sure.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle=":")
    sure.plot(confidence, accuracy, color=_VALIDATION, marker="o", markersize=5)
    for x, y, count in zip(confidence, accuracy, samples, strict=True):
        if count:
            sure.annotate(str(count), (x, y), textcoords="offset points", xytext=(6, -10), fontsize=8)
    sure.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="share that is right", aspect="equal")
    sure.set_title("Reliability, with pictures a bin", fontsize=10)
    sure.grid(alpha=0.25)
    save_figure(figure, path)


def draw_worst_classified(scores: ClassScores, samples: Sequence[ClassifiedFile], spec: ModelSpec, path: Path) -> None:
    """Draw the pictures whose true class got the least probability; where there is a density, its contour."""
    from matplotlib.figure import Figure

    assert spec.frame is not None
    evaluation = scores.evaluation
    chosen = scores.worst(min(_WORST_COUNT, len(samples)))
    columns = min(_COLUMNS, len(chosen))
    lines = -(-len(chosen) // columns)
    figure = Figure(figsize=(2.3 * columns, 2.6 * lines + 0.6), layout="constrained", dpi=110)
    grid = np.atleast_1d(np.asarray(figure.subplots(lines, columns))).ravel()
    densities = evaluation.outputs.get("density")
    for axes in grid:
        axes.set_axis_off()
    for axes, index in zip(grid, chosen, strict=False):
        axes.imshow(prepare(Frame(pixels=samples[index].picture()), spec.frame), cmap="gray")
        if densities is not None:
            side = densities.shape[-1]
            places = (np.arange(side) + 0.5) * spec.frame.width / side - 0.5
            axes.contour(places, places, densities[index, -1], levels=[0.2, 0.5], colors=["#37e06b", "#ff3df2"])
        answer = evaluation.classes[int(evaluation.predictions[index])]
        sure = float(evaluation.probability[index].max())
        axes.set_title(f"{evaluation.strata[index]}\nread as {answer} ({sure:.2f})", fontsize=7)
    figure.suptitle(f"The {len(chosen)} worst of {len(samples)} validation pictures", fontsize=11)
    save_figure(figure, path)
