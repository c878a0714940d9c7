"""A difference as files: `diff.json` for machines, `index.html` for people, which needs nothing beside itself."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physedge.deploy.diff import BundleDiff, Change
from physedge.deploy.diff_answers import WorstFrame
from physedge.deploy.page import page, safe, table
from physedge_runtime.bundle import Bundle, write_atomically
from physedge_runtime.manifest import canonical_json
from physedge_runtime.spec import Task

_WIDEST_PX = 320
_MOST_ROWS = 20
_COLOUR = np.array([64, 220, 120], np.uint8)
_CHANGED_COLOUR = np.array([255, 60, 60], np.uint8)


def write_diff(difference: BundleDiff, folder: Path) -> tuple[Path, Path]:
    """Write both files; the same difference gives the same bytes. Returns the page and the JSON."""
    shown, record = folder / "index.html", folder / "diff.json"
    write_atomically(record, canonical_json(as_json(difference)))
    write_atomically(shown, _page(difference).encode("utf-8"))
    return shown, record


def as_json(difference: BundleDiff) -> dict[str, Any]:
    """The difference as plain values."""
    metric = difference.metric
    return {
        "schema_version": 1,
        "before": _told(difference.before),
        "after": _told(difference.after),
        "engines": list(difference.engines),
        "manifest": [_change(change) for change in difference.manifest],
        "recipe": [_change(change) for change in difference.recipe],
        "entries": [_change(change) for change in difference.entries],
        "graphs": [
            {
                "entry": graph.entry,
                "operators": {name: list(counts) for name, counts in graph.operators.items()},
                "tensors": graph.tensors,
                "tensors_changed": graph.tensors_changed,
                "tensors_added": graph.tensors_added,
                "tensors_removed": graph.tensors_removed,
            }
            for graph in difference.graphs
        ],
        "frames": len(difference.frames),
        "changed_frames": difference.changed_frames,
        "changed_pixel_fraction": difference.changed_pixel_fraction,
        "metric": None
        if metric is None
        else {
            "name": difference.score,
            "change": metric.estimate,
            "low": metric.low,
            "high": metric.high,
            "groups": metric.group_count,
            "confidence": metric.confidence,
        },
        "by_frame": [
            {
                "name": frame.name,
                "changed_fraction": frame.changed_fraction,
                "largest": frame.largest,
                "said_before": frame.said_before,
                "said_after": frame.said_after,
                "score_before": frame.score_before,
                "score_after": frame.score_after,
            }
            for frame in difference.frames
        ],
    }


def summary_lines(difference: BundleDiff) -> list[str]:
    """The difference in a few sentences."""
    lines = [
        f"{len(difference.manifest)} values of the manifest, {len(difference.recipe)} of the recipe and "
        f"{len(difference.entries)} entries differ; graphs: {len(difference.graphs)}"
    ]
    if difference.frames:
        largest = max(frame.largest for frame in difference.frames)
        lines.append(
            f"answers to {difference.changed_frames} of {len(difference.frames)} frames changed, "
            f"{difference.changed_pixel_fraction:.3%} of all {_counted(difference)}; "
            f"single values by {largest:.3g} at most"
        )
    if difference.metric is not None:
        metric = difference.metric
        lines.append(
            f"{difference.score} (after - before): {metric.estimate:+.4f}, "
            f"95 % interval {metric.low:+.4f} to {metric.high:+.4f}, "
            f"{len(difference.frames)} frames in {metric.group_count} groups"
        )
    return lines


def png(picture: NDArray[np.uint8]) -> bytes:
    """A PNG file of a picture uint8 (height, width, 3)."""
    height, width, _ = picture.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
        + (chunk(b"IEND", b""))
    )


def _page(difference: BundleDiff) -> str:
    before, after = difference.before, difference.after
    title = f"{before.path.name} against {after.path.name}"
    parts = [
        *(f"<p>{safe(line)}.</p>" for line in summary_lines(difference)),
        table(
            ("", "before", "after"),
            [
                ("file", before.path.name, after.path.name),
                ("release", before.manifest.release, after.manifest.release),
                ("verdict", before.manifest.verdict, after.manifest.verdict),
                ("vouched for", before.trust, after.trust),
                ("sha256", before.sha256, after.sha256),
                ("answered by", *difference.engines),
            ],
        ),
        "<h2>Manifest</h2>",
        _changes(difference.manifest),
        "<h2>Recipe</h2>",
        _changes(difference.recipe),
        "<h2>Graphs</h2>",
        table(
            ("graph", "operators (before, after)", "tensors changed", "added", "removed", "in all"),
            [
                (
                    graph.entry,
                    ", ".join(f"{name} {old}, {new}" for name, (old, new) in graph.operators.items()) or "the same",
                    graph.tensors_changed,
                    graph.tensors_added,
                    graph.tensors_removed,
                    graph.tensors,
                )
                for graph in difference.graphs
            ],
        ),
        "<h2>Entries</h2>",
        _changes(difference.entries),
        "<h2>Frames that changed most</h2>",
        "".join(_figure(frame, difference.score) for frame in difference.worst) or _in_words(difference),
        "<p>Not a medical device.</p>",
    ]
    return page(title, parts)


def _figure(frame: WorstFrame, score: str) -> str:
    step = max(1, -(-frame.picture.shape[1] // _WIDEST_PX))
    picture = np.ascontiguousarray(_three_channels(frame.picture)[::step, ::step])
    before, after = frame.before[::step, ::step], frame.after[::step, ::step]
    sheet = np.concatenate(
        [
            picture,
            _tinted(picture, before > 0, _COLOUR),
            _tinted(picture, after > 0, _COLOUR),
            _tinted(picture, before != after, _CHANGED_COLOUR),
        ],
        axis=1,
    )
    change = frame.change
    scores = (
        f", {score} {change.score_before:.3f} before, {change.score_after:.3f} after"
        if change.score_before is not None and change.score_after is not None
        else ""
    )
    caption = f"{change.name}: {change.changed_fraction:.2%} of the pixels changed{scores}. "
    caption += "From left: the frame, before, after, what changed."
    data = base64.b64encode(png(sheet)).decode()
    return (
        f'<figure><img alt="{safe(caption)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{safe(caption)}</figcaption></figure>"
    )


def _in_words(difference: BundleDiff) -> str:
    """Frames whose answers are no masks, the most changed first."""
    changed = [frame for frame in difference.frames if frame.largest > 0]
    worst = sorted(changed, key=lambda frame: (-frame.changed_fraction, -frame.largest, frame.name))[:_MOST_ROWS]
    if not worst:
        return "<p>None changed.</p>"
    return table(
        ("frame", "before", "after", f"share of {_counted(difference)} changed", "largest difference"),
        [
            (one.name, one.said_before, one.said_after, f"{one.changed_fraction:.3g}", f"{one.largest:.3g}")
            for one in worst
        ],
    )


def _counted(difference: BundleDiff) -> str:
    return "results" if difference.before.manifest.spec.task is Task.CLASSIFICATION else "pixels"


def _three_channels(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(picture[:, :, np.newaxis], 3, axis=2) if picture.ndim == 2 else picture


def _tinted(picture: NDArray[np.uint8], where: NDArray[np.bool_], colour: NDArray[np.uint8]) -> NDArray[np.uint8]:
    tinted = picture.copy()
    tinted[where] = picture[where] // 2 + colour // 2
    return tinted


def _changes(changes: Sequence[Change]) -> str:
    return table(("what", "before", "after"), [(change.key, change.before, change.after) for change in changes])


def _change(change: Change) -> dict[str, Any]:
    return {"key": change.key, "before": change.before, "after": change.after}


def _told(bundle: Bundle) -> dict[str, Any]:
    return {
        "file": bundle.path.name,
        "sha256": bundle.sha256,
        "manifest_sha256": bundle.manifest_sha256,
        "release": bundle.manifest.release,
        "verdict": str(bundle.manifest.verdict),
        "trust": bundle.trust,
    }
