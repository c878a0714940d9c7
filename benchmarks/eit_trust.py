"""What a bundle says of planted faults: simulated bodies, measured tanks, and measured tanks that no limit ever saw.

    python benchmarks/eit_trust.py --bundle build/eit_post.physedge --sim sim --data ../shared/data/eit/uef2d

Sets: `simulated` are bodies of `sim/val`; `seen tanks` are the eight targets with truth, after which the form of the
signals was chosen, with the electrodes and the seed of that time; `fresh tanks` are the 24 targets without truth, which
played no part in it, with other electrodes and another seed. AUROC is against the clean frames of the same set. Behind
the share of clean frames in doubt: how many are above the limit of each signal (the largest, as a share of that limit).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from eit_tank import TARGETS
from machine import machine_line
from numpy.typing import NDArray

from physedge.physics.eit.faults import FAULTS, channel_of
from physedge_calibrate.trust_limits import share_interval
from physedge_calibrate.voltage_frames import read_arrays, read_voltage_samples
from physedge_runtime import load
from physedge_runtime.net import Net
from physedge_runtime.sources.voltage_files import read_voltages
from physedge_runtime.voltage_protocol import find_protocol

SIGNALS = ("electrode", "residual", "reciprocity")
SIMULATED = 100


def rows_of(
    net: Net, frames: Sequence[NDArray[np.float32]], electrodes: Sequence[int], seed: int
) -> dict[str, dict[str, float]]:
    """By fault: shares in doubt and with the right electrode named, AUROC of every signal."""
    spec = net.spec.voltages
    assert spec is not None
    protocol = find_protocol(spec.protocol, spec.electrodes)
    generator = np.random.default_rng(seed)
    clean = [net.infer(frame) for frame in frames]
    doubted = float(np.mean([result.trust.state != "ok" for result in clean]))
    low, high = share_interval(doubted, len(clean))
    limits = {name: spec.doubtful_above for name, spec in net.trust_signals.items() if spec.doubtful_above is not None}
    raised = {
        f"above {name}": float(sum(result.trust.signals[name] > limit for result in clean))
        for name, limit in limits.items()
    }
    largest = {f"largest {name}": max(result.trust.signals[name] for result in clean) / limits[name] for name in limits}
    rows = {"clean": {"doubtful": doubted, "low": low, "high": high, "samples": len(clean), **raised, **largest}}
    for name, fault in FAULTS.items():
        results, named = [], []
        for number, frame in enumerate(frames):
            # One electrode a frame for large sets, all of them for small ones.
            chosen = electrodes if len(frames) < SIMULATED else [electrodes[number % len(electrodes)]]
            for electrode in chosen:
                planted = np.stack([frame[0], fault(frame[1], protocol, electrode, generator)]).astype(np.float32)
                results.append(net.infer(planted))
                right = [electrode]
                if name == "dead channel":  # either of those that it measures between
                    right = np.flatnonzero(protocol.voltages[:, channel_of(protocol, electrode)]).tolist()
                named.append(any(f"electrode {one + 1}:" in results[-1].trust.reason for one in right))
        rows[name] = {
            "doubtful": float(np.mean([result.trust.state != "ok" for result in results])),
            "named": float(np.mean(named)),
            "samples": len(results),
        }
        for signal in SIGNALS:
            good = np.array([result.trust.signals[signal] for result in clean])
            bad = np.array([result.trust.signals[signal] for result in results])
            rows[name][signal] = float((good[:, None] < bad).mean() + 0.5 * (good[:, None] == bad).mean())
    return rows


def main() -> None:
    """Print a table for every set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--sim", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/eit/uef2d"))
    parser.add_argument("--out", type=Path, default=Path("build/eit"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    record: dict[str, dict[str, dict[str, float]]] = {}
    with load(asked.bundle).open(engine="onnxruntime", threads=1, allow_rejected=True) as net:
        spec = net.spec.voltages
        assert spec is not None
        rest = read_voltages(asked.data / "datamat_1_0.mat", spec)[0]

        def with_rest(paths: Sequence[Path]) -> list[NDArray[np.float32]]:
            return [np.stack([rest, read_voltages(path, spec)[0]]) for path in paths]

        simulated, _ = read_arrays(read_voltage_samples(asked.sim / "val", spec)[: 4 * SIMULATED : 4])
        everywhere = list(range(spec.electrodes))
        record["simulated"] = rows_of(net, list(simulated), everywhere, 11)
        seen = with_rest([asked.data / f"datamat_{target}.mat" for target in TARGETS])
        record["seen tanks"] = rows_of(net, seen, everywhere[::4], 0)
        fresh = with_rest(sorted((asked.data / "unlabelled").glob("*.mat")))
        record["fresh tanks"] = rows_of(net, fresh, everywhere[2::4], 12)
    (asked.out / "trust.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(machine_line())
    for name, rows in record.items():
        clean = rows["clean"]
        names = [name.removeprefix("above ") for name in clean if name.startswith("above ")]
        print(
            f"\n**{name}**: {int(clean['samples'])} clean frames, in doubt {clean['doubtful']:.3f} "
            f"[{clean['low']:.3f}, {clean['high']:.3f}]: "
            + ", ".join(f"{name} {int(clean[f'above {name}'])} ({clean[f'largest {name}']:.2f})" for name in names)
            + "\n"
        )
        print("| planted fault | in doubt | electrode named | AUROC electrode | residual | reciprocity |")
        print("|---|---|---|---|---|---|")
        for fault, row in rows.items():
            if fault != "clean":
                cells = " | ".join(f"{row[key]:.2f}" for key in ("doubtful", "named", *SIGNALS))
                print(f"| {fault} | {cells} |")


if __name__ == "__main__":
    main()
