"""The reviewer's pack: one folder with what is known of a bundle, readable from its index page.

Two packs of the same bundle, requirements and test run differ in their date only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from physedge.deploy.pack import CARD_ENTRY
from physedge.deploy.page import Html, folded, markdown, marked, page, safe, table
from physedge.deploy.sbom import SBOM_ENTRY, bill_of_materials, licence_of, runtime_packages
from physedge.deploy.trace import Requirements, TestResult, Trace, hazard_status, trace_requirements
from physedge_runtime.bundle import MANIFEST, Bundle, write_atomically
from physedge_runtime.manifest import Metric, VerdictRecord, canonical_json

_NO_PURPOSE = "not stated"
_FILES = {
    "manifest.json": "what the bundle says of itself, with the hash of every file in it",
    CARD_ENTRY: "the model card, as text",
    SBOM_ENTRY: "bill of materials, CycloneDX 1.6",
    "verdicts.json": "every verdict with all its numbers",
    "trace.json": "requirement to test to result of the last run",
    "hazards.json": "hazard to measures to tests",
    "soup.json": "software of unknown provenance",
    "anomalies.json": "known anomalies and how they are dealt with",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a pack is made of.

    Attributes:
        bundle: The bundle.
        requirements: Requirements, hazards, anomalies, purposes.
        results: The last run of the tests; empty where there was none.
        made_on: Stands on the index page.
    """

    bundle: Bundle
    requirements: Requirements
    results: tuple[TestResult, ...] = ()
    made_on: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """A pack that was written.

    Attributes:
        index: The page to begin with.
        files: Everything that was written, by name.
        traces: Every requirement with its tests.
    """

    index: Path
    files: tuple[str, ...]
    traces: tuple[Trace, ...]

    @property
    def unmet(self) -> tuple[str, ...]:
        """Requirements that are not fully met by the last run."""
        return tuple(trace.requirement.id for trace in self.traces if trace.status != "met")


def write_pack(evidence: Evidence, folder: Path) -> Pack:
    """Write the pack; other files in the folder are left alone."""
    traces = trace_requirements(evidence.requirements, evidence.results)
    verdicts = _verdicts(evidence.bundle)
    soup = _soup(evidence)
    files = {
        "manifest.json": evidence.bundle.read(MANIFEST),
        CARD_ENTRY: evidence.bundle.contents.get(CARD_ENTRY, b"This bundle has no card.\n"),
        SBOM_ENTRY: evidence.bundle.contents.get(SBOM_ENTRY) or _bill(evidence.bundle),
        "verdicts.json": canonical_json(
            [{"measured": where, **verdict.model_dump(mode="json")} for where, verdict in verdicts]
        ),
        "trace.json": canonical_json([_trace_record(trace) for trace in traces]),
        "hazards.json": canonical_json(_hazards(evidence, traces)),
        "soup.json": canonical_json(soup),
        "anomalies.json": canonical_json([entry.model_dump(mode="json") for entry in evidence.requirements.anomaly]),
    }
    files["index.html"] = _index(evidence, traces, verdicts, soup, sorted(files)).encode("utf-8")
    for name, data in files.items():
        write_atomically(folder / name, data)
    return Pack(index=folder / "index.html", files=tuple(sorted(files)), traces=traces)


def _verdicts(bundle: Bundle) -> list[tuple[str, VerdictRecord]]:
    """Those of the export, and the one that `verify --data` wrote beside the bundle, if it is about this bundle."""
    found = [("at the export", verdict) for verdict in bundle.manifest.verdicts]
    beside = bundle.path.with_name(f"{bundle.path.name.removesuffix('.physedge')}.verdict.json")
    if beside.is_file():
        content = json.loads(beside.read_text(encoding="utf-8"))
        if content.get("bundle_sha256") == bundle.sha256:
            found.append((beside.name, VerdictRecord.model_validate(content["verdict"])))
    return found


def _bill(bundle: Bundle) -> bytes:
    manifest = bundle.manifest
    return bill_of_materials(manifest, {one.entry: manifest.entries[one.entry].sha256 for one in manifest.artefacts})


def _soup(evidence: Evidence) -> list[dict[str, str]]:
    purposes = evidence.requirements.purpose
    known: dict[str, list[str]] = {}
    for anomaly in evidence.requirements.anomaly:
        known.setdefault(anomaly.package, []).append(anomaly.id)
    packages = runtime_packages(("onnxruntime", *evidence.bundle.manifest.shipped))
    names = [package.name.lower().replace("_", "-") for package in packages]
    return [
        {
            "package": name,
            "version": package.version,
            "licence": licence_of(package),
            "purpose": purposes.get(name, _NO_PURPOSE),
            "anomalies": ", ".join(known.get(name, [])),
        }
        for name, package in zip(names, packages, strict=True)
    ]


def _hazards(evidence: Evidence, traces: Sequence[Trace]) -> list[dict[str, Any]]:
    by_id = {trace.requirement.id: trace for trace in traces}
    return [
        {
            "id": hazard.id,
            "text": hazard.text,
            "status": hazard_status(hazard, by_id),
            "measures": list(hazard.measures),
            "tests": sorted({test.name for name in hazard.measures for test in by_id[name].tests}),
        }
        for hazard in evidence.requirements.hazard
    ]


def _trace_record(trace: Trace) -> dict[str, Any]:
    return {
        "id": trace.requirement.id,
        "text": trace.requirement.text,
        "status": trace.status,
        "tests": {test.name: test.outcome for test in trace.tests},
        "missing": list(trace.missing),
    }


def _index(
    evidence: Evidence,
    traces: Sequence[Trace],
    verdicts: Sequence[tuple[str, VerdictRecord]],
    soup: Sequence[dict[str, str]],
    files: Sequence[str],
) -> str:
    bundle, manifest = evidence.bundle, evidence.bundle.manifest
    card = bundle.contents.get(CARD_ENTRY, b"").decode("utf-8", "replace")
    met = sum(trace.status == "met" for trace in traces)
    hazards = _hazards(evidence, traces)
    covered = sum(one["status"] == "met" for one in hazards)
    unstated = ", ".join(one["package"] for one in soup if one["purpose"] == _NO_PURPOSE)
    sections: dict[str, list[str]] = {
        "The bundle": [
            table(
                ("", ""),
                [
                    ("bundle", bundle.path.name),
                    ("sha256", bundle.sha256),
                    ("vouched for", bundle.trust),
                    ("release", manifest.release),
                    ("intended use as its maker states it", manifest.spec.intended_use),
                    ("verdict", marked(str(manifest.verdict))),
                    ("requirements met by the last run of the tests", f"{met} of {len(traces)}"),
                    ("hazards whose measures are all met", f"{covered} of {len(hazards)}"),
                    ("made by", f"physedge {manifest.physedge_version}"),
                ],
            )
        ],
        "Verdicts": [
            table(
                ("where", "graph", "engine", "verdict", "metric", "full precision", "this graph", "samples", "groups"),
                [_verdict_row(where, verdict) for where, verdict in verdicts],
            )
        ],
        "Model card": [f"<article>{markdown(card)}</article>"],
        "Requirements": [
            table(
                ("requirement", "what is promised", "status", "tests of the last run"),
                [
                    (one.requirement.id, one.requirement.text, marked(one.status), folded(_counted(one), _tests(one)))
                    for one in traces
                ],
            )
        ],
        "Hazards": [
            table(
                ("hazard", "what can go wrong", "measures", "status"),
                [(one["id"], one["text"], ", ".join(one["measures"]), marked(one["status"])) for one in hazards],
            )
        ],
        "Software of unknown provenance": [
            table(
                ("package", "version", "licence", "purpose", "known anomalies"), [tuple(one.values()) for one in soup]
            ),
            f"<p>No purpose is stated for: {safe(unstated)}.</p>" if unstated else "",
        ],
        "Known anomalies": [
            table(
                ("anomaly", "package", "what is known", "how it is dealt with"),
                [(one.id, one.package, one.text, one.handled) for one in evidence.requirements.anomaly],
            )
        ],
        "Files": [table(("file", "what it is"), [(_link(name), _FILES.get(name, "")) for name in files])],
    }
    parts = [
        f"<p>Made on {evidence.made_on.isoformat()}. Not a medical device; no claim of clinical performance.</p>",
        "<nav>" + "".join(f'<a href="#{_anchor(title)}">{title}</a> ' for title in sections) + "</nav>",
    ]
    for title, content in sections.items():
        parts += [f'<h2 id="{_anchor(title)}">{title}</h2>', *content]
    return page(f"{manifest.spec.name} {manifest.spec.version}: the reviewer's pack", parts)


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _link(name: str) -> Html:
    return Html(f'<a href="{safe(name)}">{safe(name)}</a>')


def _tests(trace: Trace) -> list[str]:
    return [f"{test.name}: {test.outcome}" for test in trace.tests]


def _verdict_row(where: str, verdict: VerdictRecord) -> tuple[object, ...]:
    return (
        where,
        verdict.artefact,
        verdict.engine,
        marked(str(verdict.verdict)),
        verdict.metric,
        _figure(verdict.reference),
        _figure(verdict.measured),
        verdict.samples,
        verdict.groups,
    )


def _figure(metric: Metric | None) -> str:
    return "" if metric is None else f"{metric.value:.4f} ({metric.low:.4f} to {metric.high:.4f})"


def _counted(trace: Trace) -> str:
    outcomes = [test.outcome for test in trace.tests]
    said = [f"{outcomes.count(kind)} {kind}" for kind in ("passed", "failed", "skipped") if kind in outcomes]
    return ", ".join([*said, *(f"missing: {name}" for name in trace.missing)]) or "no run given"
