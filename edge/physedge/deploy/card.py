"""The model card: what was measured, in the order in which a reviewer asks."""

from __future__ import annotations

from physedge_runtime.manifest import Manifest, Metric, VerdictRecord
from physedge_runtime.verdict import Verdict

_UNITS = {"hd95": " px", "asd": " px", "hd95_px_native": " px"}
_TITLES = {
    "dice": "Dice",
    "iou": "IoU",
    "hd95": "HD95",
    "asd": "ASD",
    "dice_native": "Dice at the size of the raw pictures",
    "hd95_px_native": "HD95 at the size of the raw pictures",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "auroc": "AUROC, one class against the rest",
    "ece": "expected calibration error, 10 bins",
}


def write_card(manifest: Manifest) -> str:
    """The card of a bundle, Markdown."""
    spec = manifest.spec
    lines = [
        f"# {spec.name} {spec.version}",
        "",
        "**Not a medical device.** Nothing here is a claim of clinical performance.",
        "",
        f"- Intended use as its maker states it: {spec.intended_use}",
        f"- Task: {spec.task}; classes: {', '.join(spec.classes) or 'none'}",
        f"- Input: {_input_line(manifest)}",
        f"- Size: {manifest.parameters:,} parameters, {manifest.macs:,} multiply-accumulates a frame",
        f"- Verdict: **{manifest.verdict}**",
        "",
        "## What runs where",
        "",
        "| engine | graph | precision | share of MACs in INT8 | made by |",
        "|---|---|---|---|---|",
    ]
    for engine, entry in sorted(manifest.shipped.items()):
        artefact = manifest.artefact(entry)
        lines.append(
            f"| {engine} | {entry} | {artefact.precision} | {artefact.int8_mac_share:.3f} | {artefact.method} |"
        )
    lines += ["", "Every other engine runs full precision.", "", "## What was measured", ""]
    lines += _measured(manifest.verdicts)
    lines += ["", "## Data", ""]
    lines += [
        f"- {role}: {record.count} files named {record.name}, sha256 {record.sha256}"
        for role, record in sorted(manifest.data.items())
    ] or ["No data was used beyond the weights."]
    lines += [
        "",
        "## Made with",
        "",
        ", ".join(f"{tool} {version}" for tool, version in sorted(manifest.tools.items())),
    ]
    return "\n".join(lines) + "\n"


def _input_line(manifest: Manifest) -> str:
    frame = manifest.spec.frame
    if frame is None:
        assert manifest.spec.voltages is not None
        return f"{manifest.spec.voltages.count} voltages, {manifest.spec.voltages.electrodes} electrodes"
    return f"{frame.height} x {frame.width} {frame.colour} ({frame.fit}), from a frame of any size"


def _measured(verdicts: tuple[VerdictRecord, ...]) -> list[str]:
    lines: list[str] = []
    for verdict in verdicts:
        lines.append(f"### {verdict.precision} on {verdict.engine}: {verdict.verdict}")
        lines.append("")
        if verdict.verdict is not Verdict.NOT_RUN and verdict.reference is not None:
            title, full = _TITLES.get(verdict.metric, verdict.metric), _figure(verdict.metric, verdict.reference)
            lines.append(f"{verdict.samples} samples in {verdict.groups} groups on {verdict.device}.")
            lines.append(f"Full precision: {title} {full}.")
            lines += ["", "| metric | value (95 % interval) |", "|---|---|"]
            lines += [
                f"| {_TITLES.get(name, name)} | {_figure(name, value)} |" for name, value in verdict.metrics.items()
            ]
            lines.append("")
        lines += [f"- {reason}." for reason in verdict.reasons]
        lines.append("")
    return lines or ["Nothing: no evaluation data was given."]


def _figure(name: str, metric: Metric) -> str:
    unit = _UNITS.get(name, "")
    return f"{metric.value:.4f}{unit} ({metric.low:.4f} to {metric.high:.4f})"
