"""Remakes the weights that physedge ships: `pmrnet_e`, then `pmrnet_s` taught by it, on synthetic endoscopy alone.

    python -m physedge.train.demo [FOLDER]

FOLDER (default `build/demo-training`) takes the scenes, about 0.3 GB, and a run of each network; called again after
an interrupt, it goes on where it stopped. The weights go in half precision, with their specifications, into
`physedge/models/weights/`. The figures printed at the end are taken on scenes of another seed, which neither trained
nor chose the weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from physedge.data.synthesize import synthesize
from physedge.deploy.network import WEIGHTS_FOLDER, demo_name, load_weights
from physedge.models.registry import find
from physedge.train.fit import TrainResult, fit
from physedge.train.options import TrainOptions
from physedge.train.record import save_weights
from physedge.train.run_files import SPEC, spec_text, write_text
from physedge.train.validate import Scores, score_weights
from physedge_calibrate.dataset import read_labelled
from physedge_runtime.spec import read_spec

HEIGHT_PX, WIDTH_PX = 256, 320

INTENDED_USE = (
    "Shows physedge at work on synthetic endoscopy, on which alone it was trained. "
    "It has seen no patient and must not be used on one. Not a medical device."
)


TEACHER, PUPIL = "pmrnet_e", "pmrnet_s"
_EPOCHS = {TEACHER: 6, PUPIL: 8}


def demo_options(folder: Path, model: str) -> TrainOptions:
    """What the shipped weights of a network were trained with."""
    return TrainOptions(
        model=model,
        data=(folder / "scenes",),
        output=folder / model,
        teacher=folder / TEACHER if model == PUPIL else None,
        classes=("background", "polyp"),
        height_px=192,
        width_px=192,
        epochs=_EPOCHS[model],
        progressive=True,
        seed=0,
        accelerator="cpu",
        devices="1",
        resume=True,
    )


def make_demo_weights(
    folder: Path, weights_folder: Path = WEIGHTS_FOLDER, *, report: Callable[[str], None] = lambda _line: None
) -> dict[str, Scores]:
    """Draw the scenes, train, score on unseen scenes and write the weights.

    Args:
        folder: For the scenes and the runs.
        weights_folder: For the weights and their specifications.
        report: Takes one line at a time.

    Returns:
        The scores of each network on the unseen scenes.
    """
    for name, seed, frames, scene_frames in (("scenes", 1, 1600, 10), ("unseen", 2, 120, 2)):
        synthesize(
            "endoscopy",
            folder / name,
            frames,
            seed,
            sequence_length=scene_frames,
            height_px=HEIGHT_PX,
            width_px=WIDTH_PX,
            video=False,
        )
    return {
        model: publish(model, fit(demo_options(folder, model), report=report), folder / "unseen", weights_folder)
        for model in (TEACHER, PUPIL)
    }


def publish(model: str, result: TrainResult, unseen: Path, weights_folder: Path) -> Scores:
    """Write the best weights in half precision with their specification, and score exactly these."""
    spec = read_spec(result.output / SPEC).model_copy(
        update={"name": demo_name(model), "version": "1", "intended_use": INTENDED_USE}
    )
    network = find(model).build()
    load_weights(network, result.weights)
    weights_folder.mkdir(parents=True, exist_ok=True)
    weights = weights_folder / f"{demo_name(model)}.safetensors"
    save_weights(network, weights, half=True)
    write_text(weights.with_suffix(".toml"), spec_text(spec))
    load_weights(network, weights)
    return score_weights(network, spec, read_labelled(unseen, class_count=1))


def main() -> None:
    """The command."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/demo-training")
    for model, scores in make_demo_weights(folder, report=_print).items():
        _print(f"{model} on unseen scenes: {scores.sentence()}")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
