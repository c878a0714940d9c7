"""The reviewer's pack: one folder with what is known of a bundle, readable from its index page.

Two packs of the same bundle, requirements and test run differ in their date only.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from physedge.deploy.pack import CARD_ENTRY
from physedge.deploy.page import page, table
from physedge.deploy.sbom import SBOM_ENTRY, bill_of_materials, licence_of, runtime_packages
from physedge.deploy.trace import Requirements, TestResult, Trace, hazard_status, trace_requirements
from physedge_runtime.bundle import MANIFEST, Bundle, write_atomically
from physedge_runtime.manifest import Metric, VerdictRecord, canonical_json


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
            "purpose": purposes.get(name, "not stated"),
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
    links = " · ".join(f'<a href="{name}">{name}</a>' for name in files)
    parts = [
        f"<p>Made on {evidence.made_on.isoformat()}. Not a medical device; no claim of clinical performance.</p>",
        f"<p>{links}</p>",
        table(
            ("", ""),
            [
                ("bundle", bundle.path.name),
                ("sha256", bundle.sha256),
                ("vouched for", bundle.trust),
                ("release", manifest.release),
                ("intended use as its maker states it", manifest.spec.intended_use),
                ("verdict", manifest.verdict),
                ("made by", f"physedge {manifest.physedge_version}"),
            ],
        ),
        "<h2>Verdicts</h2>",
        table(
            ("where", "graph", "engine", "verdict", "metric", "full precision", "this graph", "samples", "groups"),
            [_verdict_row(where, verdict) for where, verdict in verdicts],
        ),
        "<h2>Requirements and the tests that show them</h2>",
        table(
            ("requirement", "what is promised", "status", "tests of the last run"),
            [(one.requirement.id, one.requirement.text, one.status, _counted(one)) for one in traces],
        ),
        "<h2>Hazards</h2>",
        table(
            ("hazard", "what can go wrong", "measures", "status"),
            [(one["id"], one["text"], ", ".join(one["measures"]), one["status"]) for one in _hazards(evidence, traces)],
        ),
        "<h2>Software of unknown provenance</h2>",
        table(("package", "version", "licence", "purpose", "known anomalies"), [tuple(one.values()) for one in soup]),
        "<h2>Known anomalies</h2>",
        table(
            ("anomaly", "package", "what is known", "how it is dealt with"),
            [(one.id, one.package, one.text, one.handled) for one in evidence.requirements.anomaly],
        ),
        "<h2>Model card</h2>",
        f"<pre>{html.escape(bundle.contents.get(CARD_ENTRY, b'').decode('utf-8', 'replace'))}</pre>",
    ]
    return page(f"{manifest.spec.name} {manifest.spec.version}: the reviewer's pack", parts)


def _verdict_row(where: str, verdict: VerdictRecord) -> tuple[object, ...]:
    return (
        where,
        verdict.artefact,
        verdict.engine,
        verdict.verdict,
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
