"""`export --precision auto`: every candidate made, judged and timed, the choice explained, the evidence kept."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from disks import write_disks

from physedge.deploy import candidates
from physedge.deploy.choosing import ENTRY
from physedge.deploy.export import ExportOptions, ExportReport, export
from physedge.deploy.network import NetworkChoice
from physedge.deploy.verify import verify
from physedge_calibrate.profile import OperatorTime, Profile
from physedge_calibrate.tolerance import standard
from physedge_runtime import Verdict, load
from physedge_runtime.bundle import read_bundle
from physedge_runtime.errors import UsageError

SPEC = """
name = "red"
task = "segmentation"
classes = ["background", "disk"]
[frame]
height = 64
width = 64
[normalise]
mean = [0.5]
std = [0.25]
"""
FULL, UNSIGNED, NNCF = "model.onnx", "model.int8-cpu.onnx", "model.int8-nncf.ovir"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> ExportReport:
    folder = tmp_path_factory.mktemp("candidates")
    (folder / "spec.toml").write_text(SPEC, encoding="utf-8")
    write_disks(folder / "data/train", 24)
    write_disks(folder / "data/val", 30, start=100)
    return export(
        ExportOptions(
            choice=NetworkChoice(model="red_network:red", spec=folder / "spec.toml"),
            target="openvino",
            precision="auto",
            calibration=folder / "data",
            data=folder / "data",
            output=folder / "red.physedge",
            strata=r"_f00(\d)",
            threads=1,
        )
    )


@pytest.fixture(scope="module")
def table(report: ExportReport) -> dict[str, dict[str, object]]:
    return {row["entry"]: row for row in json.loads(read_bundle(report.bundle).read(ENTRY))["candidates"]}


def test_all_candidates_are_judged_and_timed_in_one_run(table: dict[str, dict[str, object]]) -> None:
    assert {FULL, UNSIGNED, NNCF} <= set(table)
    for row in table.values():
        assert row["verdict"] == "ACCEPT"
        assert row["time"]["cpu_median_ms"] > 0
        assert row["time"]["speed_up"] > 0
    assert table[FULL]["int8_mac_share"] == 0
    assert 0 < table[UNSIGNED]["int8_mac_share"] <= 1
    assert 0 < table[NNCF]["int8_mac_share"] <= 1


def test_parts_that_int8_makes_slower_go_back_to_float(monkeypatch: pytest.MonkeyPatch) -> None:
    def profile(*parts: float) -> Profile:
        operators = tuple(
            OperatorTime(name=part, kind="k", kernel="k", module=f"{part}.mix", milliseconds=milliseconds)
            for part, milliseconds in zip(("stem", "stage", "head"), parts, strict=True)
        )
        return Profile(title="", operators=operators, explained=1.0, whole_ms=1.0, rounds=1)

    measured = iter([profile(1.0, 4.0, 1.0), profile(0.5, 6.0, 1.05), profile(1.0, 4.0, 1.0), profile(0.5, 2.0, 1.0)])
    monkeypatch.setattr(candidates, "profile_graph", lambda *_given, **_options: next(measured))
    asked: list[tuple[str, frozenset[str], str]] = []
    nodes = {f"{part}.mix/{kind}": f"{part}.mix" for part in ("stem", "stage", "head") for kind in ("Conv", "Add")}
    bench = SimpleNamespace(
        engine="onnxruntime",
        quantised=SimpleNamespace(model=b"", quantised_nodes=("stem.mix/Conv", "stage.mix/Conv", "head.mix/Conv")),
        traced=SimpleNamespace(model=b"", module_of_node=nodes, float_nodes=frozenset({"head.mix/Add"})),
        progress=lambda _text, _total: nullcontext(),
        request=lambda _graph: None,
        trial=lambda: None,
        statements=[],
        unsigned=lambda *given: asked.append(given),
    )
    candidates._timed(bench)  # type: ignore[arg-type]
    ((entry, in_float, told),) = asked
    assert entry == "model.int8-timed.onnx"
    assert in_float == {"head.mix/Add", "stage.mix/Conv", "stage.mix/Add"}
    assert told == ", stage in float (2.0 ms slower in INT8)"
    candidates._timed(bench)  # type: ignore[arg-type]
    assert len(asked) == 1
    assert bench.statements == ["the candidate timed was not made: no part of the network is slower in INT8"]


def test_one_ships_and_the_report_says_why_the_others_lost(
    report: ExportReport, table: dict[str, dict[str, object]]
) -> None:
    assert report.verdict is Verdict.ACCEPT
    (shipped,) = [entry for entry, row in table.items() if row["ships"]]
    assert report.manifest.shipped == {"openvino": shipped}
    for entry, row in table.items():
        assert any(statement.startswith(f"{entry}: ") for statement in report.statements)
        assert row["reason"].startswith("ships") == (entry == shipped)
    lowest = {row["precision"] for row in table.values()}
    assert lowest == {"fp32", "int8"}


def test_the_stages_are_attributed(table: dict[str, dict[str, object]]) -> None:
    stages = table[UNSIGNED]["stages"]
    assert set(stages) == {"torch", "full_precision", "simulated", "target"}
    assert all(value > 0.9 for value in stages.values())
    assert table[NNCF]["stages"]["simulated"] is None


def test_the_scores_of_every_sample_and_the_strata_are_kept(report: ExportReport) -> None:
    kept = json.loads(read_bundle(report.bundle).read(ENTRY))
    assert len(kept["samples"]) == 30
    assert {sample["stratum"] for sample in kept["samples"]} == {"0", "1"}
    worst = kept["candidates"][0]["comparison"]["strata"]
    assert [row["sample_count"] for row in worst] == [15, 15]
    images = json.loads(read_bundle(report.bundle).read("calibration/images.json"))
    assert {image["stratum"] for image in images["images"]} == {"0", "1"}


def test_the_bundle_holds_what_ships_and_opens_with_it(report: ExportReport) -> None:
    entries = {artefact.entry for artefact in report.manifest.artefacts}
    assert {FULL, UNSIGNED} <= entries <= {FULL, UNSIGNED, report.manifest.shipped["openvino"]}
    with load(report.bundle).open(threads=1) as net:
        assert net.engine_name == "openvino"
        assert net.artefact.entry == report.manifest.shipped["openvino"]


def test_a_folder_without_strata_by_the_pattern_is_refused(report: ExportReport, tmp_path: Path) -> None:
    data = report.bundle.parent / "data"
    with pytest.raises(UsageError, match="PE-CALIB-008"):
        export(
            ExportOptions(
                choice=NetworkChoice(model="red_network:red", spec=report.bundle.parent / "spec.toml"),
                calibration=data,
                data=data,
                output=tmp_path / "red.physedge",
                strata="_(benign|malignant)_",
            )
        )


def test_another_metric_may_decide_if_it_fits_the_task(report: ExportReport) -> None:
    data = report.bundle.parent / "data"
    found = verify(load(report.bundle), tolerance=standard(), data=data, threads=1, metric="hd95")
    assert found.verdict is not None
    assert found.verdict.metric == "hd95"
    assert found.verdict.measured is not None
    with pytest.raises(UsageError, match=r"PE-METRIC-001: 'accuracy', a metric for classification.*dice"):
        verify(load(report.bundle), tolerance=standard(), data=data, threads=1, metric="accuracy")
