"""What the growth block is worth: the same network with it, with its density standing still, and without it.

    python benchmarks/physnet_ablation.py --data ../shared/data/brain_mri --size 128 --epochs 20 --seeds 0 1 2
    python benchmarks/physnet_ablation.py --data DIR --size 64 --variants growth none mobilenet vgg16

All are trained on the same split with the same seeds, order and augmentation, and scored on the same pictures. The data
names no patients: neighbouring file numbers are neighbouring slices, so intervals are given by picture and by blocks of
40 numbers within a class. Differences are paired, picture by picture, over the mean of the seeds that both have. An
interrupted run goes on where it stopped, and answers of finished ones are read again. VARIANTS lists what there is;
those that end in `masks` learn u_0 from `--densities` as well; the last two are baselines, which are slow to train and
get `--baseline-seeds` of the seeds.
"""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from machine import machine_line

from physedge.train.asked import options_from_words
from physedge.train.class_scores import ClassScores
from physedge.train.fit import fit
from physedge.train.options import TrainOptions
from physedge_calibrate.evaluate_classification import ClassificationEvaluation
from physedge_calibrate.statistics import mcnemar_p_value, mean_interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One network of the comparison.

    Attributes:
        title: In the table.
        model: None for the one that is asked for.
        growth: Words of `--growth`.
        masks: Whether it learns u_0 from synthetic densities.
        is_baseline: A network of others, for comparison.
    """

    title: str
    model: str | None = None
    growth: tuple[str, ...] = ()
    masks: bool = False
    is_baseline: bool = False


VARIANTS = {
    "growth": Variant(title="with growth"),
    "still": Variant(title="density standing still", growth=("evolves=false",)),
    "none": Variant(title="without the block", growth=("off",)),
    "growth-masks": Variant(title="with growth, u_0 from masks", masks=True),
    "still-masks": Variant(title="standing still, u_0 from masks", growth=("evolves=false",), masks=True),
    "mobilenet": Variant(title="MobileNetV2", model="baseline_networks:mobilenet_v2", is_baseline=True),
    "vgg16": Variant(title="VGG16 with norms", model="baseline_networks:vgg16", is_baseline=True),
}
_SHOWN = ("accuracy", "macro_f1", "auroc", "ece", "accuracy_of_tumours")


def block_of(name: str) -> str:
    """Class and block of 40 numbers of `glioma/sartaj_gg_123`; pictures without a number stand for themselves."""
    found = re.match(r"(.*?)(\d+)$", name)
    return f"{found[1]}{int(found[2]) // 40}" if found else name


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--densities", type=Path, help="For the variants with masks.")
    parser.add_argument("--model", default="physnet_e")
    parser.add_argument("--variants", nargs="+", choices=tuple(VARIANTS), default=["growth", "still", "none"])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--baseline-seeds", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("build/ablation"))
    asked = parser.parse_args()
    right: dict[str, list[np.ndarray]] = {name: [] for name in asked.variants}
    print(f"{asked.model} at {asked.size}x{asked.size}, {asked.epochs} epochs of batch 16, seeds {asked.seeds}\n")
    print("| variant | seed | " + " | ".join(_SHOWN) + " |\n|---|---|" + "---|" * len(_SHOWN))
    blocks: list[str] = []
    means: dict[str, list[list[float]]] = {name: [] for name in asked.variants}
    for place, seed in enumerate(asked.seeds):
        for name in asked.variants:
            if VARIANTS[name].is_baseline and place >= asked.baseline_seeds:
                continue
            evaluation = _answered(_options(asked, VARIANTS[name], seed, asked.output / f"{name}-{asked.size}-{seed}"))
            figures = evaluation.figures(0)
            # A plain network does not know which class means none.
            tumours = np.array([stratum != "no_tumor" for stratum in evaluation.strata])
            own = evaluation.scores("accuracy")[tumours]
            figures["accuracy_of_tumours"] = mean_interval(own, generator=np.random.default_rng(0))
            cells = [
                f"{figures[one].estimate:.3f} ({figures[one].low:.3f} to {figures[one].high:.3f})" for one in _SHOWN
            ]
            print(f"| {VARIANTS[name].title} | {seed} | " + " | ".join(cells) + " |", flush=True)
            right[name].append(evaluation.scores("accuracy"))
            means[name].append([figures[one].estimate for one in _SHOWN])
            blocks = [block_of(one) for one in evaluation.names]
    for name in asked.variants:
        table = np.array(means[name])
        cells = [f"{mean:.3f}" for mean in table.mean(axis=0)]
        if len(table) > 1:
            cells = [f"{mean} ± {spread:.3f}" for mean, spread in zip(cells, table.std(axis=0, ddof=1), strict=True)]
        print(f"| {VARIANTS[name].title} | mean ± sd | " + " | ".join(cells) + " |")
    first = asked.variants[0]
    print(
        f"\n{len(blocks)} pictures in {len(set(blocks))} blocks; difference of accuracy over the seeds that both have, "
        f"{VARIANTS[first].title} less the other, 95 %:"
    )
    for name in asked.variants[1:]:
        count = len(right[name])
        difference = np.mean(right[first][:count], axis=0) - np.mean(right[name], axis=0)
        by_picture, by_block = (
            mean_interval(difference, groups=groups, generator=np.random.default_rng(0)) for groups in (None, blocks)
        )
        p_values = [mcnemar_p_value(a > 0, b > 0) for a, b in zip(right[first][:count], right[name], strict=True)]
        print(
            f"- {VARIANTS[name].title}, {count} seed(s): {by_picture.estimate:+.3f}, "
            f"by picture {by_picture.low:+.3f} to {by_picture.high:+.3f}, "
            f"by block {by_block.low:+.3f} to {by_block.high:+.3f}; McNemar p "
            + ", ".join(f"{p:.2f}" for p in p_values)
        )
    print(machine_line())


def _answered(options: TrainOptions) -> ClassificationEvaluation:
    """What the network of a run answers on the validation set; it is trained where it has not been."""
    kept = options.output / "answers.npz"
    if not kept.is_file():
        scores = fit(options).scores
        assert isinstance(scores, ClassScores)
        found = scores.evaluation
        np.savez(kept, names=found.names, strata=found.strata, probability=found.probability, truths=found.truths)
    with np.load(kept, allow_pickle=False) as answers:
        names = tuple(str(name) for name in answers["names"])
        return ClassificationEvaluation(
            names=names,
            groups=names,
            strata=tuple(str(stratum) for stratum in answers["strata"]),
            classes=options.classes,
            probability=answers["probability"],
            truths=answers["truths"],
        )


def _options(asked: argparse.Namespace, variant: Variant, seed: int, output: Path) -> TrainOptions:
    return options_from_words(
        model=variant.model or asked.model,
        data=[asked.data],
        task="classification",
        size=str(asked.size),
        classes=None,
        grey=False,
        physics="paper",
        growth=variant.growth,
        densities=asked.densities if variant.masks else None,
        augment=None,
        output=output,
        weights=None,
        teacher=None,
        epochs=asked.epochs,
        batch=16,
        learning_rate=asked.learning_rate,
        progressive=False,
        seed=seed,
        workers=0,
        devices="1",
        nodes=1,
        strategy="auto",
        accelerator="cpu",
        resume=True,
    )


if __name__ == "__main__":
    main()
