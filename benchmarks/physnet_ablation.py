"""What the growth block is worth: the same network with it, with its density standing still, and without it.

    python benchmarks/physnet_ablation.py --data ../shared/data/brain_mri --size 64 --epochs 16

All are trained on the same split with the same seeds, order and augmentation, and scored on the same pictures. The data
names no patients: neighbouring file numbers are neighbouring slices, so intervals are given by picture and by blocks of
40 numbers within a class. Differences are paired, picture by picture.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import numpy as np
from machine import machine_line

from physedge.train.asked import options_from_words
from physedge.train.class_scores import ClassScores
from physedge.train.fit import fit
from physedge_calibrate.statistics import mcnemar_p_value, mean_interval

VARIANTS = {"with growth": (), "density standing still": ("evolves=false",), "without the block": ("off",)}
_SHOWN = ("accuracy", "macro_f1", "auroc", "ece", "accuracy_of_tumours")


def block_of(name: str) -> str:
    """Class and block of 40 numbers of `glioma/sartaj_gg_123`; pictures without a number stand for themselves."""
    found = re.match(r"(.*?)(\d+)$", name)
    return f"{found[1]}{int(found[2]) // 40}" if found else name


def main() -> None:
    """Train, score and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="physnet_e")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--output", type=Path, default=Path("build/ablation"))
    asked = parser.parse_args()
    right: dict[str, list[np.ndarray]] = {name: [] for name in VARIANTS}
    print(f"{asked.model} at {asked.size}x{asked.size}, {asked.epochs} epochs of batch 16, seeds {asked.seeds}\n")
    print("| variant | seed | " + " | ".join(_SHOWN) + " |\n|---|---|" + "---|" * len(_SHOWN))
    blocks: list[str] = []
    for seed in asked.seeds:
        for name, growth in VARIANTS.items():
            result = fit(_options(asked, growth, seed, asked.output / f"{name.replace(' ', '-')}-{seed}"))
            scores = result.scores
            assert isinstance(scores, ClassScores)
            cells = [
                f"{figure.estimate:.3f} ({figure.low:.3f} to {figure.high:.3f})" if figure is not None else ""
                for figure in (scores.figures.get(column) for column in _SHOWN)
            ]
            if not cells[-1]:  # the plain network does not know which class means none
                tumours = np.array([stratum != "no_tumor" for stratum in scores.evaluation.strata])
                own = mean_interval(scores.evaluation.scores("accuracy")[tumours], generator=np.random.default_rng(0))
                cells[-1] = f"{own.estimate:.3f} ({own.low:.3f} to {own.high:.3f})"
            print(f"| {name} | {seed} | " + " | ".join(cells) + " |", flush=True)
            right[name].append(scores.evaluation.scores("accuracy"))
            blocks = [block_of(one) for one in scores.evaluation.names]
    full = np.mean(right["with growth"], axis=0)
    print(f"\n{len(blocks)} pictures in {len(set(blocks))} blocks; difference of accuracy, with growth less the other:")
    for name in list(VARIANTS)[1:]:
        difference = full - np.mean(right[name], axis=0)
        by_picture, by_block = (
            mean_interval(difference, groups=groups, generator=np.random.default_rng(0)) for groups in (None, blocks)
        )
        p = mcnemar_p_value(right["with growth"][0] > 0, right[name][0] > 0)
        print(
            f"- {name}: {by_picture.estimate:+.3f}, by picture {by_picture.low:+.3f} to {by_picture.high:+.3f}, "
            f"by block {by_block.low:+.3f} to {by_block.high:+.3f}; McNemar p = {p:.2f} (first seed)"
        )
    print(machine_line())


def _options(asked: argparse.Namespace, growth: tuple[str, ...], seed: int, output: Path):
    return options_from_words(
        model=asked.model,
        data=[asked.data],
        task=None,
        size=str(asked.size),
        classes=None,
        grey=False,
        physics="paper",
        growth=growth,
        augment=None,
        output=output,
        weights=None,
        teacher=None,
        epochs=asked.epochs,
        batch=16,
        learning_rate=2e-3,
        progressive=False,
        seed=seed,
        workers=0,
        devices="1",
        nodes=1,
        strategy="auto",
        accelerator="cpu",
        resume=False,
    )


if __name__ == "__main__":
    main()
