"""What a person looks at after a reconstruction was trained: curves, and the bodies that went worst."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from physedge.train.recipe import Row
from physedge_calibrate.evaluate_reconstruction import ReconstructionEvaluation

_WORST_COUNT = 6


def draw_reconstruction_curves(rows: Sequence[Row], best: Row, path: Path) -> None:
    """Draw loss, relative error and correlation over the epochs, with the epoch that was kept."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained", dpi=110)
    epochs = [row["epoch"] for row in rows]
    panels = (
        ("Loss", (("train_loss", "training, with physics"), ("val_loss", "validation, image only"))),
        (f"Validation relative error: {best['val_relative_error']:.3f} kept", (("val_relative_error", ""),)),
        ("Validation correlation", (("val_correlation", ""),)),
    )
    for axes, (title, lines) in zip(figure.subplots(1, 3), panels, strict=True):
        for column, label in lines:
            axes.plot(epochs, [row[column] for row in rows], label=label, marker=".", markersize=4)
        axes.axvline(best["epoch"], color="black", linewidth=0.8, linestyle=":")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(lines) > 1:
            axes.legend(fontsize=8, loc="upper right")
    _save(figure, path)


def draw_worst_images(evaluation: ReconstructionEvaluation, path: Path) -> None:
    """Draw the bodies with the largest relative error: truth, linear image, image, on one scale each."""
    from matplotlib.figure import Figure

    errors = evaluation.scores("relative_error")
    chosen = np.argsort(-errors, kind="stable")[:_WORST_COUNT]
    linear = evaluation.outputs.get("linear_image")
    rows = [("truth", evaluation.truths), ("network", evaluation.images)]
    if linear is not None:
        rows.insert(1, ("linear", linear))
    figure = Figure(figsize=(2.1 * len(chosen) + 0.4, 2.1 * len(rows) + 0.5), layout="constrained", dpi=110)
    grid = np.asarray(figure.subplots(len(rows), len(chosen), squeeze=False))
    for column, index in enumerate(chosen):
        largest = float(np.abs(evaluation.truths[index]).max()) or 1.0
        for axes, (title, images) in zip(grid[:, column], rows, strict=True):
            axes.imshow(images[index], cmap="RdBu_r", vmin=-largest, vmax=largest, interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            if column == 0:
                axes.set_ylabel(title)
        grid[0, column].set_title(f"{evaluation.names[index]}\nerror {errors[index]:.2f}", fontsize=8)
    figure.suptitle(f"The {len(chosen)} worst of {len(evaluation)} validation bodies", fontsize=11)
    _save(figure, path)


def _save(figure: object, path: Path) -> None:
    scratch = path.with_name(f".{path.name}")
    figure.savefig(scratch, format="png")  # type: ignore[attr-defined]
    scratch.replace(path)
