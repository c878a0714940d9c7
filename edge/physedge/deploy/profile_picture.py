"""Profiles side by side as a picture: each module of the network a group of bars, each bar its kinds of work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from physedge_calibrate.profile import Profile
from physedge_calibrate.profile_readers import KINDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = (
    "#1763a6", "#5fa2d8", "#7b4fa3", "#e08a1e", "#c4412f", "#4d9a6b", "#9bc53d", "#b08968", "#8a97a8", "#c9ced6",
)  # fmt: skip


def draw_profiles(path: Path, profiles: Sequence[Profile]) -> None:
    """Write a PNG: on the left the whole of each profile by kind of work, on the right every module."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    modules = list(dict.fromkeys(module for one in profiles for module in one.by_module()))
    height = 1.6 + 0.17 * max(len(modules) * (len(profiles) + 1), 12)
    figure = Figure(figsize=(14, height), layout="constrained")
    FigureCanvasAgg(figure)
    whole, parts = figure.subplots(1, 2, width_ratios=(2, 3))
    colours: dict[str, str] = dict(zip(KINDS, _COLOURS, strict=True))
    for row, one in enumerate(profiles):
        _bar(whole, row, one.by_kind(), colours, height=0.6)
        furthest = max(one.sum_ms, one.whole_ms)
        whole.text(furthest, row, f"  {one.sum_ms:.1f}", va="center", fontsize=9)
        whole.plot([one.whole_ms] * 2, [row - 0.38, row + 0.38], color="#222222", linewidth=1.4)
    whole.set_yticks(range(len(profiles)), [one.title for one in profiles], fontsize=9)
    whole.set_title("sum of the operators; line: the whole without counters", fontsize=10, loc="left")
    tables = [one.table() for one in profiles]
    labels, places = [], []
    for group, module in enumerate(modules):
        for index, (one, table) in enumerate(zip(profiles, tables, strict=True)):
            place = group * (len(profiles) + 1) + index
            _bar(parts, place, {kind: table.get((module, kind), 0.0) for kind in KINDS}, colours, height=0.9)
            places.append(place)
            labels.append(f"{module}  {one.title}" if index == 0 else one.title)
    parts.set_yticks(places, labels, fontsize=7)
    parts.set_title("by module", fontsize=10, loc="left")
    for axis in (whole, parts):
        axis.invert_yaxis()
        axis.set_xlabel("ms a frame, one thread", fontsize=9)
        axis.margins(x=0.1)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    used = [kind for kind in KINDS if any(kind in one.by_kind() for one in profiles)]
    figure.legend(
        handles=[Patch(color=colours[kind], label=kind) for kind in used],
        fontsize=8,
        frameon=False,
        ncols=5,
        loc="outside lower center",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _bar(axis: Axes, place: int, values: dict[str, float], colours: dict[str, str], *, height: float) -> None:
    left = 0.0
    for kind, colour in colours.items():
        value = values.get(kind, 0.0)
        axis.barh(place, value, left=left, color=colour, height=height)
        left += value
