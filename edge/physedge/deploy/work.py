"""What the stations of one export hand on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from physedge.deploy.candidates import Made
from physedge.deploy.card_merge import card_path
from physedge.deploy.judge import REFERENCE_ENGINE, Court, Graph
from physedge.deploy.network import Network
from physedge.deploy.options import ExportOptions
from physedge.deploy.pack import bundle_path
from physedge.deploy.progress import Progress
from physedge.deploy.trust import SignalWatch
from physedge_calibrate.evaluate import Sample
from physedge_calibrate.laws.greit import Target
from physedge_runtime.manifest import DataRecord, Output, VerdictRecord
from physedge_runtime.spec import SignalSpec
from physedge_runtime.verdict import Verdict


@dataclass(slots=True)
class Work:
    """What the stations hand on."""

    options: ExportOptions
    network: Network
    progress: Progress
    outputs: tuple[Output, ...]
    made: list[Made]
    data: dict[str, DataRecord]
    statements: list[str]
    not_made: tuple[str, ...] = ()
    samples: Sequence[Sample] = ()
    verdicts: list[VerdictRecord] = field(default_factory=list)
    extra: dict[str, bytes] = field(default_factory=dict)
    card: str = ""
    watches: dict[str, SignalWatch] = field(default_factory=dict)
    signals: Mapping[str, SignalSpec] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()

    @property
    def graphs(self) -> list[Graph]:
        """All that will be packed, full precision first."""
        return [made.graph for made in self.made]

    @property
    def engine(self) -> str:
        """The engine that judges for this target."""
        return self.options.target if self.options.target != "tensorrt" else REFERENCE_ENGINE

    def court(self) -> Court:
        """What every judgement shares."""
        return Court(
            spec=self.network.spec,
            outputs=self.outputs,
            samples=self.samples,
            tolerance=self.options.tolerance,
            threads=self.options.threads,
            seed=self.options.seed,
            spread=self.options.spread,
            metric_name=self.options.metric,
            signals=self.signals,
            targets=self.targets,
        )


def where_card_lies(network: Network, options: ExportOptions) -> Path:
    """One card for a network, whatever the verdict puts into the name of its bundle."""
    return card_path(bundle_path(network.spec.name, Verdict.ACCEPT, options.output))
