"""How well trust signals find the answers that are wrong, beside the plain confidence of the mask.

    python benchmarks/trust.py --bundle BUNDLE --data ../shared/data/polyp/val

Risk-coverage: the frames sorted by a signal, most credible first; the mean error (1 - Dice) of the accepted fraction,
averaged over all fractions (AURC: lower is better). AUROC: of telling frames with a Dice below 0.7 from the others. The
plain confidence is 1 - the mean probability inside the mask: a signal that does not come near it has no place in a
network.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from machine import machine_line
from numpy.typing import NDArray

from physedge_calibrate.dataset import read_labelled
from physedge_runtime import Segmentation, load
from physedge_runtime.resize import labels_to_grid
from physedge_runtime.results import TrustState

BAD_BELOW = 0.7


def area_under_risk_coverage(signal: NDArray[np.float64], error: NDArray[np.float64]) -> float:
    """Mean over k of the mean error of the k most credible frames."""
    ordered = error[np.argsort(signal, kind="stable")]
    return float(np.mean(np.cumsum(ordered) / np.arange(1, len(ordered) + 1)))


def auroc(signal: NDArray[np.float64], bad: NDArray[np.bool_]) -> float:
    """Chance that a bad frame has the higher signal, ties counted half; NaN without both kinds."""
    if bad.all() or not bad.any():
        return float("nan")
    pairs = signal[bad][:, np.newaxis] - signal[~bad][np.newaxis]
    return float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--engine", default="auto")
    arguments = parser.parse_args()
    rows: list[dict[str, float]] = []
    dice: list[float] = []
    states: list[TrustState] = []
    samples = read_labelled(arguments.data)
    with load(arguments.bundle).open(engine=arguments.engine, threads=1, allow_rejected=True) as net:
        assert net.spec.frame is not None
        for sample in samples:
            result = net.infer(sample.picture())
            assert isinstance(result, Segmentation)
            truth, found = labels_to_grid(sample.labels(), net.spec.frame) > 0, result.mask > 0
            both = int(truth.sum()) + int(found.sum())
            dice.append(2 * int((truth & found).sum()) / both if both else 1.0)
            confidence = float(result.probability[0][found].mean()) if found.any() else 0.0
            rows.append({**result.trust.signals, "plain confidence": 1 - confidence})
            states.append(result.trust.state)
        engine = net.engine
    error = 1 - np.array(dice)
    bad = np.array(dice) < BAD_BELOW
    groups = len({sample.group for sample in samples})
    print(f"{len(rows)} frames of {groups} groups, {engine}")
    print(f"  mean Dice {1 - error.mean():.3f}, {bad.sum()} below {BAD_BELOW}")
    print(f"  AURC of a perfect order {area_under_risk_coverage(error, error):.4f}, of none {error.mean():.4f}")
    for name in rows[0]:
        signal = np.array([row[name] for row in rows])
        print(
            f"  {name:<17} AURC {area_under_risk_coverage(signal, error):.4f}  AUROC {auroc(signal, bad):.3f}  "
            f"from {signal.min():.3g} to {signal.max():.3g}"
        )
    doubted = np.array([state is not TrustState.OK for state in states])
    print(f"  not ok: {doubted[bad].sum()} of {bad.sum()} bad frames, {doubted[~bad].sum()} of {(~bad).sum()} others")
    print(machine_line())


if __name__ == "__main__":
    main()
