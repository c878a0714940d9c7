"""The table of candidates of a bundle, as `export --precision auto` judged and timed them, in Markdown.

physedge export --target openvino --precision auto --calib DIR --data DIR --output build/net.physedge
python benchmarks/candidates.py build/net.physedge
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from physedge.deploy.choosing import ENTRY
from physedge_runtime.bundle import read_bundle
from physedge_runtime.keys import ANYBODY


def figure(metric: dict[str, float]) -> str:
    """A value with its interval."""
    return f"{metric['value']:.4f} ({metric['low']:.4f} to {metric['high']:.4f})"


def worst_stratum(comparison: dict[str, Any]) -> str:
    """The stratum that keeps least."""
    strata = comparison["strata"]
    if len(strata) < 2:
        return "one stratum"
    worst = strata[0]
    return f"{worst['name']}, {worst['sample_count']} samples: {worst['kept_fraction']:.4f}"


def further(one: dict[str, Any]) -> str:
    """What else had to be kept: further figures with their loss, and how many laws hold."""
    losses = [
        f"{loss['title']} {loss['drop']['estimate']:.4f}" + ("" if loss["most"] is None else f" of {loss['most']:.4f}")
        for loss in one["set_losses"]
    ]
    held = sum(law["held"] for law in one["laws"])
    return ", ".join([*losses, *([f"{held} of {len(one['laws'])} laws"] if one["laws"] else [])])


def main() -> None:
    """Print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    bundle = read_bundle(parser.parse_args().bundle, trust=ANYBODY)
    judged = json.loads(bundle.read(ENTRY))
    groups = len({sample["group"] for sample in judged["samples"]})
    print(
        f"{bundle.manifest.spec.name}: {judged['metric']}, {len(judged['samples'])} samples in {groups} groups, "
        f"on {judged['engine']}, tolerance {judged['kept_fraction']}; verdict {bundle.manifest.verdict}"
    )
    titles = (
        "graph",
        "MACs in INT8",
        "metric (95 % interval)",
        "lost at most",
        "lost besides; laws that hold",
        "worst stratum keeps",
        "CPU ms",
        "speed-up",
    )
    print(f"\n| {' | '.join(titles)} | outcome |")
    print("|" + "---|" * (len(titles) + 1))
    for one in judged["candidates"]:
        comparison, timed = one["comparison"], one["time"]
        print(
            f"| {one['method']} | {one['int8_mac_share']:.3f} | {figure(one['measured'])} | "
            f"{comparison['drop']['high']:.4f} of {comparison['allowed_drop']:.4f} | {further(one)} | "
            f"{worst_stratum(comparison)} | "
            f"{timed['cpu_median_ms']:.1f} ± {timed['cpu_median_error_ms']:.1f} | {timed['speed_up']:.2f}x | "
            f"{one['verdict']}: {one['reason'].removeprefix(one['verdict'] + ': ')} |"
        )
    for sentence in judged.get("not_made", ()):
        print(f"\n{sentence[:1].upper() + sentence[1:]}.")
    print("\n| graph | torch | ONNX, full precision | simulated | target |")
    print("|---|---|---|---|---|")
    for one in judged["candidates"]:
        values = [one["stages"][name] for name in ("torch", "full_precision", "simulated", "target")]
        print(f"| {one['entry']} | " + " | ".join("" if v is None else f"{v:.4f}" for v in values) + " |")
    bench = judged["bench"]
    tools = ", ".join(f"{name} {version}" for name, version in sorted(bundle.manifest.tools.items()))
    print(
        f"\n{judged['device']}; {bench['rounds']} interleaved rounds, load {bench['before']['load_1min']:.1f} to "
        f"{bench['after']['load_1min']:.1f}; {tools}"
    )


if __name__ == "__main__":
    main()
