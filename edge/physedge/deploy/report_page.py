"""One page that a person reads: the verdict first, then what led to it; it needs nothing beside itself."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from physedge.deploy.candidate_table import candidates_of
from physedge.deploy.diff_page import png
from physedge.deploy.page import page, safe, table
from physedge.deploy.worst_frames import FrameScore, SideBySide, WorstFrames
from physedge_calibrate.metrics.table import METRICS
from physedge_runtime.bundle import Bundle
from physedge_runtime.verdict import Verdict

_COLOURS = {Verdict.ACCEPT: "#1d7f4e", Verdict.REJECT: "#b3261e", Verdict.INCONCLUSIVE: "#a86a00"}
_GREY = "#5b6672"
_SHOWN_LAYERS = 8
_STYLE = (
    "<style>body{max-width:1280px}table{font-size:13px}.verdict{color:#fff;padding:.9em 1.2em;border-radius:8px}"
    ".verdict b{font-size:1.5em}.frames{display:flex;gap:6px;margin:.4em 0 1.2em}.frames figure{margin:0}"
    ".frames img{display:block;min-width:180px;image-rendering:pixelated}figcaption{font-size:13px}"
    "code{background:#f2f4f7;padding:.1em .3em}"
    "svg text{font:12px system-ui,sans-serif}</style>"
)


def shipped_entry(bundle: Bundle) -> str:
    """The graph that ships for the target."""
    manifest = bundle.manifest
    return manifest.shipped.get(manifest.target, manifest.artefacts[0].entry)


def write_page(bundle: Bundle, worst: WorstFrames, frames: Sequence[SideBySide]) -> str:
    """The page of a bundle.

    Args:
        bundle: The bundle.
        worst: The frames to look at.
        frames: The same with pictures, where the data was at hand.

    Raises:
        IntegrityError: The table of candidates does not have the form that export writes (`PE-PACK-003`).
    """
    manifest = bundle.manifest
    judged = candidates_of(bundle)
    parts = [_STYLE, _banner(bundle)]
    if judged is not None:
        parts += ["<h2>Candidates</h2>", _candidates(judged), _drops(judged), _stages(judged), _strata(bundle, judged)]
        parts.append(_further(bundle, judged))
    parts += _pictured(bundle, "calibration/coverage.png", "Coverage of the calibration pictures", _coverage(bundle))
    parts += _pictured(bundle, "calibration/sensitivity.png", "Sensitivity of the layers", _sensitivity(bundle))
    if judged is not None:
        parts += _worst(judged, worst, frames)
    parts += ["<h2>How to reproduce</h2>", _reproduce(bundle)]
    return page(f"{manifest.spec.name} {manifest.spec.version}: is it fit for the device?", parts)


def _banner(bundle: Bundle) -> str:
    manifest = bundle.manifest
    entry = shipped_entry(bundle)
    record = next((one for one in manifest.verdicts if one.artefact == entry), None)
    reason = record.reasons[0] if record is not None and record.reasons else "nothing was judged"
    artefact = manifest.artefact(entry)
    facts = [
        ("ships", f"{entry} on {manifest.target}: {artefact.method}"),
        ("share of MACs in INT8", f"{artefact.int8_mac_share:.3f}"),
        ("judged on", "" if record is None else f"{record.samples} samples in {record.groups} groups, {record.device}"),
        ("intended use as its maker states it", manifest.spec.intended_use),
    ]
    colour = _COLOURS.get(manifest.verdict, _GREY)
    rest = record.reasons[1:] if record is not None else ()
    more = "".join(f"<li>{safe(text)}.</li>" for text in rest)
    return (
        f'<div class=verdict style="background:{colour}"><b>{manifest.verdict}</b><br>{safe(reason)}.</div>'
        f"{f'<ul>{more}</ul>' if more else ''}{table(('', ''), facts)}"
        "<p>Not a medical device; no claim of clinical performance.</p>"
    )


def _candidates(judged: Mapping[str, Any]) -> str:
    metric = METRICS[judged["metric"]].title
    titles = ("graph", "made by", "MACs in INT8", f"{metric} (95 % interval)", "kept", "worst stratum", "CPU ms")
    rows = []
    for one in judged["candidates"]:
        comparison, timed = one["comparison"], one["time"]
        rows.append(
            (
                one["entry"],
                one["method"],
                f"{one['int8_mac_share']:.3f}",
                _figure(one["measured"]),
                "" if comparison is None else f"{comparison['kept_fraction']:.4f}",
                _worst_stratum(comparison),
                "" if timed is None else f"{timed['cpu_median_ms']:.2f} ± {timed['cpu_median_error_ms']:.2f}",
                "" if timed is None else f"{timed['speed_up']:.2f}x",
                one["verdict"],
                one["reason"].removeprefix(f"{one['verdict']}: "),
            )
        )
    told = (
        f"<p>Judged on {safe(judged['engine'])}, {safe(judged['device'])}; tolerance "
        f"{safe(judged['tolerance'])}: {safe(judged['kept_fraction'])} of full precision is to be kept."
    )
    if judged["bench"] is not None:
        rounds, load = judged["bench"]["rounds"], judged["bench"]["before"]["load_1min"]
        told += f" Timed in one interleaved run of {safe(rounds)} rounds, load {load:.1f}."
    missing = "".join(f"<p>{safe(sentence[:1].upper() + sentence[1:])}.</p>" for sentence in judged.get("not_made", ()))
    return told + "</p>" + table((*titles, "speed-up", "verdict", "why"), rows) + missing


def _drops(judged: Mapping[str, Any]) -> str:
    """A picture of the loss of each candidate with its upper bound, against what is allowed."""
    rows = [(one["entry"], one["comparison"], one["verdict"]) for one in judged["candidates"] if one["comparison"]]
    if not rows:
        return ""
    ends = [value for _, c, _ in rows for value in (c["drop"]["low"], c["drop"]["high"]) if value is not None]
    allowed = float(rows[0][1]["allowed_drop"])
    low, high = float(min([0.0, *ends])), float(max([allowed * 1.3, *ends]))
    width, left, height = 900, 260, 28

    def place(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - 20)

    bottom = height * len(rows) + 10
    parts = [
        f'<line x1="{place(0):.1f}" x2="{place(0):.1f}" y1="0" y2="{bottom}" stroke="#bbb"/>',
        f'<line x1="{place(allowed):.1f}" x2="{place(allowed):.1f}" y1="0" y2="{bottom}" stroke="#b3261e" '
        'stroke-dasharray="4 3"/>',
        f'<text x="{place(allowed):.1f}" y="{bottom + 14}" text-anchor="middle" fill="#b3261e">'
        f"{allowed:.4f} allowed</text>",
        f'<text x="{place(0):.1f}" y="{bottom + 14}" text-anchor="middle">0</text>',
    ]
    for index, (entry, comparison, verdict) in enumerate(rows):
        y, drop = height * index + 18, comparison["drop"]
        colour = _COLOURS.get(Verdict(verdict), _GREY)
        parts.append(f'<text x="0" y="{y + 4}">{safe(entry)}</text>')
        if drop["low"] is not None and drop["high"] is not None:
            parts.append(
                f'<line x1="{place(drop["low"]):.1f}" x2="{place(drop["high"]):.1f}" y1="{y}" y2="{y}" '
                f'stroke="{colour}" stroke-width="3"/>'
            )
        parts.append(f'<circle cx="{place(drop["estimate"]):.1f}" cy="{y}" r="5" fill="{colour}"/>')
    caption = (
        "Mean loss against full precision; ends of a bar are one-sided at 95 %, right of the dashed line is too much"
    )
    return (
        f'<figure><svg viewBox="0 0 {width} {bottom + 22}" width="{width}" role="img" aria-label="{caption}">'
        f"{''.join(parts)}</svg><figcaption>{caption}</figcaption></figure>"
    )


def _stages(judged: Mapping[str, Any]) -> str:
    names = ("torch", "full_precision", "simulated", "target")
    titles = ("graph", "torch", "ONNX in full precision", "simulated: Q/DQ in float", f"on {judged['engine']}")
    rows = [(one["entry"], *(_number(one["stages"][name]) for name in names)) for one in judged["candidates"]]
    return "<h3>Where a score was lost</h3>" + table(titles, rows)


def _shipped_row(bundle: Bundle, judged: Mapping[str, Any]) -> Mapping[str, Any]:
    """The candidate that ships; full precision where none passed."""
    entry = shipped_entry(bundle)
    rows = [row for row in judged["candidates"] if row["entry"] == entry] or judged["candidates"][:1]
    one: Mapping[str, Any] = rows[0]
    return one


def _further(bundle: Bundle, judged: Mapping[str, Any]) -> str:
    """Figures and laws that what ships had to keep besides, and which candidate broke which law."""
    one, parts = _shipped_row(bundle, judged), []
    losses = one.get("set_losses") or []
    if losses:
        titles: tuple[str, ...] = ("figure", "full precision", "lost", "lost at most (one-sided 95 %)", "allowed")
        rows = [_loss_row(loss, judged["kept_fraction"]) for loss in losses]
        parts += ["<h3>Further figures of what ships</h3>", table(titles, rows)]
    laws = one.get("laws") or []
    if laws:
        titles = ("law", "off by", "allowed", "cases", "worst at", "")
        rows = [_law_row(law) for law in laws]
        parts += [f"<h3>Laws of the network, on {safe(judged['engine'])}</h3>", table(titles, rows)]
        broken = [
            (row["entry"], ", ".join(law["title"] for law in row.get("laws", ()) if not law["held"]))
            for row in judged["candidates"]
            if any(not law["held"] for law in row.get("laws", ()))
        ]
        parts += [table(("candidate", "breaks"), broken)] if broken else []
    return "".join(parts)


def _loss_row(loss: Mapping[str, Any], kept_fraction: float) -> tuple[object, ...]:
    drop = loss["drop"]
    return (
        loss["title"],
        _number(loss["reference"]),
        f"{drop['estimate']:+.4f}",
        "not known" if drop["high"] is None else f"{drop['high']:.4f}",
        f"{(1 - kept_fraction) * abs(loss['reference']) if loss['most'] is None else loss['most']:.4f}",
    )


def _law_row(law: Mapping[str, Any]) -> tuple[object, ...]:
    return (
        law["title"],
        "not a number" if law["measured"] is None else f"{law['measured']:.3g} {law['unit']}",
        f"{law['allowed']:.3g} {law['unit']}",
        law["cases"],
        law["where"],
        "holds" if law["held"] else "BROKEN",
    )


def _strata(bundle: Bundle, judged: Mapping[str, Any]) -> str:
    one = _shipped_row(bundle, judged)
    strata = (one["comparison"] or {}).get("strata") or []
    if len(strata) < 2:
        return ""
    rows = [
        (
            row["name"] or "(none)",
            row["sample_count"],
            _number(row["reference_mean"]),
            _number(row["candidate_mean"]),
            f"{row['kept_fraction']:.4f}",
        )
        for row in strata
    ]
    titles = ("stratum", "samples", "full precision", "what ships", "kept")
    return "<h3>Strata, the worst first</h3>" + table(titles, rows)


def _pictured(bundle: Bundle, entry: str, title: str, text: str) -> list[str]:
    data = bundle.contents.get(entry)
    if data is None:
        return []
    source = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return [f"<h2>{title}</h2>", f'<figure><img alt="{title}" src="{source}"></figure>', text]


def _coverage(bundle: Bundle) -> str:
    text = bundle.contents.get("calibration/coverage.txt", b"").decode("utf-8", "replace")
    return f"<pre>{safe(text)}</pre>" if text else ""


def _sensitivity(bundle: Bundle) -> str:
    raw = bundle.contents.get("calibration/sensitivity.json")
    layers = json.loads(raw) if raw is not None else []
    rows = [
        (one["module"], one["operator"], f"{one['mac_share']:.4f}", f"{one['error']:.5f}")
        for one in layers[:_SHOWN_LAYERS]
    ]
    return table(("layer", "operator", "share of MACs", "error of the output, over its spread"), rows)


def _worst(judged: Mapping[str, Any], worst: WorstFrames, frames: Sequence[SideBySide]) -> list[str]:
    metric = METRICS[judged["metric"]].title
    parts = ["<h2>Frames to look at</h2>"]
    if frames:
        parts.append("<p>These are pictures of the evaluation data: pass the page on only where its terms allow.</p>")
    else:
        parts.append(
            "<p>Pictures do not travel in a bundle: give the data with <code>--data DIR</code> to see them.</p>"
        )
    shown = {frame.score.name: frame for frame in frames}
    for title, scores in (
        ("Worst against the truth: what ships answers these frames worst", worst.by_truth),
        ("Changed most: what ships lost most here against full precision", worst.by_change),
    ):
        parts.append(f"<h3>{title}</h3>")
        if frames:
            parts += [_side_by_side(shown[one.name], metric) for one in scores if one.name in shown]
        else:
            parts.append(_score_table(scores, metric))
    return parts


def _score_table(scores: Sequence[FrameScore], metric: str) -> str:
    rows = [
        (one.name, one.group, one.stratum, f"{one.reference:.4f}", f"{one.shipped:.4f}", f"{one.loss:+.4f}")
        for one in scores
    ]
    return table(("frame", "group", "stratum", f"{metric}, full precision", f"{metric}, shipped", "lost"), rows)


def _side_by_side(frame: SideBySide, metric: str) -> str:
    score = frame.score
    told = f"{score.name}: {metric} {score.shipped:.4f} shipped, {score.reference:.4f} in full precision"
    panels = "".join(_panel(*panel) for panel in frame.panels)
    lines = "".join(f"<p>{safe(line)}</p>" for line in frame.lines)
    return f"<p><b>{safe(told)}</b></p>" + (f"<div class=frames>{panels}</div>" if panels else "") + lines


def _panel(title: str, picture: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    data = base64.b64encode(png(picture)).decode()
    name = safe(title)
    return f'<figure><img alt="{name}" src="data:image/png;base64,{data}"><figcaption>{name}</figcaption></figure>'


def _reproduce(bundle: Bundle) -> str:
    manifest = bundle.manifest
    steps = [
        f"physedge export --target {manifest.target} --precision auto --calib DIR --data DIR [--model ...]",
        f"physedge verify {bundle.path.name} --data DIR",
        f"physedge bench {bundle.path.name}",
    ]
    facts = [
        ("bundle", bundle.path.name),
        ("sha256", bundle.sha256),
        ("vouched for", bundle.trust),
        ("made by", f"physedge {manifest.physedge_version}"),
        ("tools", ", ".join(f"{name} {version}" for name, version in sorted(manifest.tools.items()))),
        *((f"data: {role}", f"{one.count} files, sha256 {one.sha256}") for role, one in sorted(manifest.data.items())),
    ]
    commands = "\n".join(steps)
    return f"<pre>{safe(commands)}</pre>" + table(("", ""), facts)


def _worst_stratum(comparison: Mapping[str, Any] | None) -> str:
    strata = (comparison or {}).get("strata") or []
    if len(strata) < 2:
        return "one stratum"
    return f"{strata[0]['name'] or '(none)'}: {strata[0]['kept_fraction']:.4f}"


def _figure(metric: Mapping[str, float] | None) -> str:
    return "" if metric is None else f"{metric['value']:.4f} ({metric['low']:.4f} to {metric['high']:.4f})"


def _number(value: float | None) -> str:
    return "not run" if value is None else f"{value:.4f}"
