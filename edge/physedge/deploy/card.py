"""The model card: what was measured, in the order in which a reviewer asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from physedge.deploy.card_merge import merge_card
from physedge_calibrate.reasons import MINIMUM_STRATUM_SAMPLES
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
    "accuracy_of_tumours": "accuracy among tumours",
    "auroc": "AUROC, one class against the rest",
    "ece": "expected calibration error, 10 bins",
}


def write_card(manifest: Manifest, earlier: str = "", *, physics: Mapping[str, int] | None = None) -> str:
    """The card of a bundle, Markdown: what was measured, and every word that people wrote into an earlier one.

    Args:
        manifest: Of the bundle.
        earlier: The card of an earlier export; empty where there is none.
        physics: Module of the network that is computed in floating point, to the number of its operators.

    Raises:
        UsageError: A measured block of the earlier card was changed by hand (`PE-CARD-001`).
    """
    return merge_card(card_blocks(manifest, physics or {}), earlier)


def card_blocks(manifest: Manifest, physics: Mapping[str, int]) -> dict[str, str]:
    """The measured blocks of a card by name, in order; see `physedge.deploy.card_merge`."""
    blocks = {
        "what-it-is": _head(manifest),
        "what-runs": _shipped(manifest),
        "measured": ["## What was measured", "", *_measured(manifest.verdicts)],
        "limits": ["## Limits", "", *(f"- {limit}" for limit in _limits(manifest))],
        "physics": ["## Physics", "", *_physics(manifest, physics)],
        "data": ["## Data", "", *_data(manifest)],
        "made-with": ["## Made with", "", ", ".join(f"{tool} {name}" for tool, name in sorted(manifest.tools.items()))],
    }
    return {name: "\n".join(lines).rstrip("\n") + "\n" for name, lines in blocks.items()}


def _head(manifest: Manifest) -> list[str]:
    spec = manifest.spec
    return [
        f"# {spec.name} {spec.version}",
        "",
        "**Not a medical device.** Nothing here is a claim of clinical performance.",
        "",
        f"- Intended use as its maker states it: {spec.intended_use}",
        f"- Task: {spec.task}; classes: {', '.join(spec.classes) or 'none'}",
        f"- Input: {_input_line(manifest)}",
        f"- Size: {manifest.parameters:,} parameters, {manifest.macs:,} multiply-accumulates a frame",
        f"- Verdict: **{manifest.verdict}**",
    ]


def _shipped(manifest: Manifest) -> list[str]:
    lines = [
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
    return [*lines, "", "Every other engine runs full precision."]


def _limits(manifest: Manifest) -> list[str]:
    """What the measurements do not say, each read off the manifest."""
    judged = [verdict for verdict in manifest.verdicts if verdict.verdict is not Verdict.NOT_RUN]
    if not judged:
        return ["How right its answers are was not judged: there is no figure for it, on any data or device."]
    limits = []
    for verdict in judged:
        name = f"{verdict.precision} on {verdict.engine}"
        limits.append(
            f"{name}: judged on {verdict.samples} samples of {verdict.groups} groups, on one device "
            f"({verdict.device}). Other data and other devices: `physedge verify --data` there."
        )
        limits += [
            f"{name}: the stratum {stratum['name']} has {stratum['sample_count']} samples, too few to refuse by."
            for stratum in _strata(verdict)
            if stratum["sample_count"] < MINIMUM_STRATUM_SAMPLES
        ]
    shipped = {engine for engine in manifest.shipped if any(engine in verdict.engine for verdict in judged)}
    limits += [f"{engine}: not judged." for engine in sorted(set(manifest.shipped) - shipped)]
    if "calibration" not in manifest.data:
        return limits
    count = manifest.data["calibration"].count
    return [*limits, f"INT8 was calibrated on {count} pictures; brighter or noisier ones may leave its range."]


def _physics(manifest: Manifest, physics: Mapping[str, int]) -> list[str]:
    lines = []
    if physics:
        modules = ", ".join(f"{name} ({count})" for name, count in sorted(physics.items()))
        lines.append(f"- Computed in floating point in every graph, by module (operators): {modules}.")
    else:
        lines.append("- No module of this network asks to be computed in floating point.")
    lines += [
        f"- {one.entry} must answer {len(manifest.golden)} golden frames within {one.golden_mean_bound:g} of full "
        f"precision in the mean and {one.golden_max_bound:g} at any place, at every start."
        for one in manifest.artefacts
    ]
    lines += [
        f"- {one.entry} carries its own answers by {one.own.computed_by}: every start on {one.own.engine} tells "
        "whether it computes as there."
        for one in manifest.artefacts
        if one.own is not None
    ]
    trust = manifest.trust
    if trust.signals:
        fitted = f"fitted to clean frames ({trust.fitted_on})" if trust.fitted_on else "not fitted"
        lines.append(f"- Trust signals with every answer: {', '.join(sorted(trust.signals))}; limits {fitted}.")
    if trust.measured is not None:
        lines.append(f"- Share of clean frames of unseen groups that they doubt: {_figure('', trust.measured)}.")
    return lines


def _data(manifest: Manifest) -> list[str]:
    kinds = {"calibration": "calibrated INT8", "evaluation": "judged it", "weights": "the trained weights"}
    return [
        f"- {role} ({kinds.get(role, 'used')}): {_files(record.count)}, sha256 of all {record.sha256}"
        for role, record in sorted(manifest.data.items())
    ] or ["No data was used beyond the weights."]


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count} files"


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
            lines += _strata_lines(verdict)
        lines += [f"- {reason}." for reason in verdict.reasons]
        lines.append("")
    return lines or ["Nothing: no evaluation data was given."]


def _strata_lines(verdict: VerdictRecord) -> list[str]:
    strata = _strata(verdict)
    if not strata:
        return []
    title = _TITLES.get(verdict.metric, verdict.metric)
    return [
        f"| stratum, worst first | samples | {title}, full precision | {title}, this graph |",
        "|---|---|---|---|",
        *(
            f"| {one['name']} | {one['sample_count']} | {one['reference_mean']:.4f} | {one['candidate_mean']:.4f} |"
            for one in strata
        ),
        "",
    ]


def _strata(verdict: VerdictRecord) -> list[dict[str, Any]]:
    comparison = verdict.details.get("comparison")
    strata = comparison.get("strata", ()) if isinstance(comparison, dict) else ()
    return [one for one in strata if one["name"]]  # without a name it is the whole set once more


def _figure(name: str, metric: Metric) -> str:
    unit = _UNITS.get(name, "")
    return f"{metric.value:.4f}{unit} ({metric.low:.4f} to {metric.high:.4f})"
