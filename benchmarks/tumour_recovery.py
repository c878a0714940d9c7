"""Reads the front's speed 2 sqrt(D rho) and sqrt(D / rho) back from synthetic tumours of known D and rho.

    python benchmarks/tumour_recovery.py --slices 24 --plot build/tumour_recovery.png

`uniform`: one D everywhere, where theory is exact but for the front's age and curvature. `tissue`: D by tissue, fluid
and borders nearby, which theory knows nothing of; there the same reading is biased, and the table says by how much.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from machine import machine_line
from matplotlib.figure import Figure

from physedge.physics.tumour.equation import TumourGrowth
from physedge.physics.tumour.recovery import front_radius_mm, recover
from physedge.physics.tumour.slice import draw_slice

_COLOURS = {"nodular": "#3366aa", "diffuse": "#dd7711"}


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=24, help="Of each kind and tissue.")
    parser.add_argument("--plot", type=Path, default=Path("build/tumour_recovery.png"))
    asked = parser.parse_args()
    figure = Figure(figsize=(12.5, 4.2), layout="constrained", dpi=110)
    speed_axes, width_axes, same_axes = figure.subplots(1, 3)
    print("recovered over true, median (10 % to 90 %)\n")
    print("| tissue | kind | slices | speed 2 sqrt(D rho) | sqrt(D / rho), one date | D, two dates | rho, two dates |")
    print("|---|---|---|---|---|---|---|")
    for tissue in ("uniform", "tissue"):
        for kind, colour in _COLOURS.items():
            points = [_point(seed, kind, uniform=tissue == "uniform") for seed in range(asked.slices)]
            found = np.array([point for point in points if np.isfinite(point).all()])
            true, read = found[:, :4], found[:, 4:]
            ratio = np.percentile(read / true, (50, 10, 90), axis=0).T
            cells = " | ".join(f"{middle:.2f} ({low:.2f} to {high:.2f})" for middle, low, high in ratio)
            print(f"| {tissue} | {kind} | {len(found)} | {cells} |")
            marker = "o" if tissue == "uniform" else "x"
            speed_axes.scatter(true[:, 0], read[:, 0], s=16, marker=marker, color=colour, label=f"{kind}, {tissue}")
            width_axes.scatter(true[:, 1], read[:, 1], s=16, marker=marker, color=colour)
    for axes, title, unit in (
        (speed_axes, "Two dates: speed of the front", "mm/day"),
        (width_axes, "One date: sqrt(D / rho)", "mm"),
    ):
        ends = [0, 1.05 * max(axes.get_xlim()[1], axes.get_ylim()[1])]
        axes.plot(ends, ends, color="black", linewidth=0.8, linestyle=":")
        axes.set(xlim=ends, ylim=ends, xlabel=f"true, {unit}", ylabel=f"read, {unit}", aspect="equal")
        axes.set_title(title, fontsize=10)
    speed_axes.legend(fontsize=8)
    largest = _draw_same(same_axes)
    print(
        f"\n(k D, k rho, t / k), k = 1/4 to 4: densities differ by at most {largest:.1e}: one date tells D / rho alone"
    )
    asked.plot.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(asked.plot)
    print(f"plot: {asked.plot}")
    print(machine_line())


def _point(seed: int, kind: str, *, uniform: bool) -> list[float]:
    drawn = draw_slice(seed, kind, uniform=uniform)
    D, rho = drawn.diffusivity_mm2_per_day, drawn.growth_per_day
    if front_radius_mm(drawn.density[0], drawn.cell_mm) < 4:
        return [math.nan] * 8
    read = recover(drawn.density[0], drawn.density[1], drawn.later_days, drawn.cell_mm)
    return [
        2 * math.sqrt(D * rho),
        math.sqrt(D / rho),
        D,
        rho,
        read.speed_mm_per_day,
        read.front_width_mm,
        read.diffusivity_mm2_per_day,
        read.growth_per_day,
    ]


def _draw_same(axes) -> float:
    """Profiles of tumours with the same D / rho and rho t; gives their largest difference."""
    rows, columns = np.indices((121, 121)) - 60
    start = 0.6 * np.exp(-0.5 * (rows**2 + columns**2) / 4.0)
    profiles = []
    for k, style in ((1.0, "-"), (0.25, "--"), (4.0, ":")):
        growth = TumourGrowth(diffusivity=np.full(start.shape, 0.3 * k), growth_per_day=0.03 * k, cell_mm=1.0)
        density = growth.densities(start, (220.0 / k,))[0]
        profiles.append(density)
        label = f"D {0.3 * k:g} mm²/day, rho {0.03 * k:g}/day, {220 / k:.0f} days"
        axes.plot(np.arange(-60, 61), density[60], style, label=label, linewidth=3 if k == 1 else 1.8)
    axes.set(xlabel="mm", ylabel="density", ylim=(0, 1.5))
    axes.set_title("One date cannot tell D from rho: three tumours, one picture", fontsize=10)
    axes.legend(fontsize=8, loc="upper center")
    return float(max(np.abs(profile - profiles[0]).max() for profile in profiles))


if __name__ == "__main__":
    main()
