"""`export` and `verify` from a network of one's own to a bundle with a verdict, on real engines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from disks import disk_pair, write_disks

from physedge.deploy.export import ExportOptions, ExportReport, export
from physedge.deploy.network import NetworkChoice
from physedge.deploy.options import with_project_data
from physedge.deploy.verify import verify
from physedge_calibrate.tolerance import standard
from physedge_runtime import Segmentation, Verdict, load
from physedge_runtime.errors import BuildError, GateFailed, UsageError
from physedge_runtime.resize import to_frame
from physedge_runtime.results import TrustState

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


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    (folder / "spec.toml").write_text(SPEC, encoding="utf-8")
    write_disks(folder / "data/train", 24)
    write_disks(folder / "data/val", 30, start=100)
    return folder


def options(home: Path, factory: str = "red_network:red", **changes: object) -> ExportOptions:
    values: dict[str, object] = {
        "choice": NetworkChoice(model=factory, spec=home / "spec.toml"),
        "output": home / "red.physedge",
        "threads": 1,
    }
    return ExportOptions(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def report(home: Path) -> ExportReport:
    return export(options(home, target="openvino", precision="int8", calibration=home / "data", data=home / "data"))


def test_int8_on_openvino_is_judged_and_accepted(report: ExportReport) -> None:
    assert report.verdict is Verdict.ACCEPT
    (record,) = report.manifest.verdicts
    assert record.measured is not None
    assert record.reference is not None
    assert record.reference.value > 0.95
    assert record.measured.value >= 0.99 * record.reference.value
    assert (record.samples, record.groups, record.engine, record.precision) == (30, 15, "openvino", "int8")


def test_the_bundle_opens_and_finds_the_disk(report: ExportReport) -> None:
    picture, mask = disk_pair(100)
    with load(report.bundle).open(threads=1) as net:
        assert net.engine_name == "openvino"
        assert net.artefact.precision == "int8"
        result = net.infer(picture)
    assert isinstance(result, Segmentation)
    assert net.spec.frame is not None
    found = to_frame(result.mask, net.spec.frame, result.frame_shape) > 0
    both = np.logical_and(found, mask > 0).sum() * 2 / (found.sum() + (mask > 0).sum())
    assert both > 0.95


def test_a_reduced_graph_carries_its_own_answers(report: ExportReport) -> None:
    full, reduced = report.manifest.artefacts
    assert full.own is None
    assert reduced.own is not None
    assert reduced.own.engine == "openvino"
    assert reduced.own.computed_by.startswith("openvino 20")
    assert len(reduced.own.answers) == len(report.manifest.golden)
    with load(report.bundle).open(threads=1, only_as_exported=True) as net:
        assert net.computes_as_exported is True
    with load(report.bundle).open(engine="onnxruntime", precision="int8", threads=1) as net:
        assert net.computes_as_exported is None


def test_every_other_engine_runs_full_precision(report: ExportReport) -> None:
    with load(report.bundle).open(engine="onnxruntime", threads=1) as net:
        assert net.artefact.precision == "fp32"


def test_the_evidence_of_the_calibration_travels(report: ExportReport) -> None:
    bundle = load(report.bundle)
    assert bundle.read("calibration/coverage.png").startswith(b"\x89PNG")
    assert b"disk_s000_f000" in bundle.read("calibration/images.json")
    assert set(report.manifest.data) == {"calibration", "evaluation"}


def test_no_path_of_this_machine_is_in_the_bundle(report: ExportReport, home: Path) -> None:
    data = report.bundle.read_bytes()
    assert str(home).encode() not in data
    assert str(Path(__file__).parents[2]).encode() not in data


def test_the_card_says_what_was_measured(report: ExportReport) -> None:
    card = load(report.bundle).read("card.md").decode()
    assert "Not a medical device" in card
    assert "30 samples in 15 groups" in card
    assert "ACCEPT" in card


def test_words_in_the_card_outlive_an_export_and_measured_blocks_cannot_be_changed(home: Path) -> None:
    output, card = home / "carded.physedge", home / "carded.card.md"
    card.write_text("## Who uses it\n\nTrained staff.\n", encoding="utf-8")
    made = export(options(home, output=output))
    assert load(made.bundle).read("card.md") == card.read_bytes()
    assert "Trained staff." in card.read_text(encoding="utf-8") and "NOT RUN" in card.read_text(encoding="utf-8")
    card.write_text(card.read_text(encoding="utf-8").replace("NOT RUN", "ACCEPT"), encoding="utf-8")
    with pytest.raises(UsageError, match="PE-CARD-001"):
        export(options(home, output=output))


def test_the_same_inputs_give_the_same_bytes(report: ExportReport, home: Path) -> None:
    again = export(
        options(
            home,
            target="openvino",
            precision="int8",
            calibration=home / "data",
            data=home / "data",
            output=home / "again.physedge",
        )
    )
    assert again.bundle.read_bytes() == report.bundle.read_bytes()


def test_verify_repeats_the_verdict_and_writes_it_beside(report: ExportReport, home: Path) -> None:
    found = verify(load(report.bundle), tolerance=standard(), data=home / "data", threads=1)
    assert found.passed
    assert found.verdict is not None
    assert found.verdict.verdict is Verdict.ACCEPT
    assert found.as_exported is True
    assert found.written == report.bundle.with_name("red.verdict.json")
    assert found.written.is_file()


def test_without_data_there_is_no_verdict_and_that_is_said(home: Path) -> None:
    report = export(options(home, output=home / "plain.physedge"))
    assert report.verdict is Verdict.NOT_RUN
    assert report.passed
    assert any("--calib" in sentence for sentence in report.statements)
    assert any("--data" in sentence for sentence in report.statements)
    assert report.manifest.verdicts[0].reasons


def test_three_evaluation_pictures_are_too_few(home: Path, tmp_path: Path) -> None:
    few = write_disks(tmp_path / "few", 3, start=300)
    report = export(options(home, data=few, output=tmp_path / "red.physedge"))
    assert report.verdict is Verdict.INCONCLUSIVE
    assert not report.passed
    assert report.bundle.name == "red.inconclusive.physedge"
    assert "too few" in " ".join(report.manifest.verdicts[0].reasons)
    with pytest.raises(GateFailed, match="PE-BUNDLE-012"):
        load(report.bundle).open()


def test_evaluation_pictures_hidden_in_the_calibration_set_are_a_leak(home: Path, tmp_path: Path) -> None:
    pool = write_disks(write_disks(tmp_path / "pool", 10), 1, start=100)
    with pytest.raises(UsageError, match="leak"):
        export(options(home, precision="int8", calibration=pool, data=home / "data/val"))


def test_int8_without_calibration_is_refused_before_any_work(home: Path) -> None:
    with pytest.raises(UsageError, match="PE-EXPORT-002"):
        export(options(home, precision="int8"))


PROJECT = 'model = "red_network:red"\nspec = "spec.toml"\n'


def test_export_takes_the_data_of_the_project_and_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    project = home / "physedge.toml"
    project.write_text(f'{PROJECT}data = "data"\n', encoding="utf-8")
    try:
        own = NetworkChoice()
        for precision, calibration in (("auto", home / "data"), ("int8", home / "data"), ("fp32", None)):
            filled, told = with_project_data(ExportOptions(choice=own, precision=precision))
            assert (filled.data, filled.calibration, len(told)) == (home / "data", calibration, 1)
        made = export(ExportOptions(choice=own, precision="fp32", output=home / "own.physedge", threads=1))
        assert made.verdict is Verdict.ACCEPT
        assert "data of physedge.toml: its val/ judges" in made.statements
        # What is said goes before; another network has other data.
        for said in (
            ExportOptions(choice=own, data=home / "data"),
            ExportOptions(choice=own, calibration=home / "data"),
            ExportOptions(choice=NetworkChoice(model="red_network:red")),
        ):
            assert with_project_data(said) == (said, ())
        # A folder that training divided tells nobody which picture is which.
        project.write_text(f'{PROJECT}data = "data/val"\n', encoding="utf-8")
        with pytest.raises(UsageError, match="PE-EXPORT-002"):
            export(ExportOptions(choice=own, precision="int8"))
    finally:
        project.unlink()


def test_an_unknown_precision_or_fp16_on_a_processor_is_refused(home: Path) -> None:
    with pytest.raises(UsageError, match="PE-EXPORT-001"):
        export(options(home, precision="int4"))
    with pytest.raises(UsageError, match="PE-EXPORT-004"):
        export(options(home, precision="fp16"))
    with pytest.raises(UsageError, match="PE-TARGET-001: the target 'toaster'"):
        export(options(home, target="toaster"))
    with pytest.raises(UsageError, match="PE-EXPORT-005: --profile rtx40 for the target onnxruntime"):
        export(options(home, target="onnxruntime", profile="rtx40"))


def test_a_folder_of_golden_frames_without_a_picture_is_refused(home: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"PE-DATA-002: {tmp_path} holds no pictures"):
        export(options(home, precision="fp32", golden=tmp_path))


def test_nan_in_the_weights_fails_the_export(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "nan.physedge"
    with pytest.raises(BuildError, match="PE-TRACE-001"):
        export(options(home, "red_network:broken", output=path))
    assert not path.exists()


@pytest.mark.parametrize("calibration", ["absent", "empty"])
def test_missing_or_empty_folders_are_one_sentence(home: Path, tmp_path: Path, calibration: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"PE-DATA-00[12]"):
        export(options(home, precision="int8", calibration=tmp_path / calibration))
    with pytest.raises(UsageError, match=r"PE-DATA-00[12]"):
        export(options(home, data=tmp_path / calibration))


def test_tensorrt_without_a_gpu_delivers_graphs_and_a_recipe_and_claims_nothing(home: Path) -> None:
    import json

    report = export(options(home, target="tensorrt", output=home / "rtx.physedge"))
    assert report.verdict is Verdict.NOT_RUN
    assert report.passed
    assert any("no engine was run here" in sentence for sentence in report.statements)
    bundle = load(report.bundle)
    recipe = json.loads(bundle.read("tensorrt/recipe.json"))
    assert recipe["graph"] == "model.fp16.onnx"
    assert recipe["graph_sha256"] == bundle.manifest.entries["model.fp16.onnx"].sha256
    assert "--stronglyTyped" in recipe["trtexec"]
    assert all(artefact.own is None for artefact in bundle.manifest.artefacts)  # nobody ran TensorRT
    with bundle.open(engine="onnxruntime", threads=1) as net:
        assert net.artefact.precision == "fp32"


def test_int8_for_tensorrt_is_symmetric_and_says_so(home: Path) -> None:
    import onnx

    report = export(
        options(
            home,
            target="tensorrt",
            precision="int8",
            calibration=home / "data",
            data=home / "data",
            output=home / "rtx8.physedge",
        )
    )
    graph = onnx.load_from_string(load(report.bundle).read("model.int8-gpu.onnx")).graph
    zeros = [t for t in graph.initializer if "zero_point" in t.name]
    assert zeros
    assert all(np.all(onnx.numpy_helper.to_array(tensor) == 0) for tensor in zeros)
    assert report.manifest.shipped == {"tensorrt": "model.int8-gpu.onnx"}
    # Its numbers as it is written, and no verdict: no GPU judged it.
    assert report.verdict is Verdict.NOT_RUN
    (told,) = [sentence for sentence in report.statements if "judged on no GPU: it would be ACCEPT" in sentence]
    assert told.startswith("model.int8-gpu.onnx: computed as written in ONNX Runtime")


def test_auto_judges_and_times_every_graph_and_says_why_the_others_lost(home: Path) -> None:
    report = export(
        options(home, precision="auto", calibration=home / "data", data=home / "data", output=home / "auto.physedge")
    )
    assert report.verdict is Verdict.ACCEPT
    assert {record.precision for record in report.manifest.verdicts} == {"fp32", "int8"}
    shipped = report.manifest.shipped["onnxruntime"]
    told = [sentence for sentence in report.statements if sentence.startswith("model.")]
    assert len(told) == len(report.manifest.verdicts)
    lost = [sentence for sentence in told if not sentence.startswith(shipped)]
    assert all("times as fast" in sentence or "within the noise of the timing" in sentence for sentence in lost)


def test_trust_is_fitted_to_the_evaluated_frames_and_told(report: ExportReport) -> None:
    trust = report.manifest.trust
    assert trust.fitted_on.startswith("30 evaluation frames of 15 groups, widened by ")
    assert trust.false_alarm_rate == 0.01
    assert trust.measured is not None
    assert trust.measured.high > 0.1  # 15 groups say little, and the interval says so
    assert trust.signals["input"].doubtful_above is not None
    assert any("limits for 1.0% false alarms" in sentence for sentence in report.statements)


def test_an_input_from_elsewhere_is_doubtful_on_the_device(report: ExportReport) -> None:
    picture, _ = disk_pair(100)
    with load(report.bundle).open(threads=1) as net:
        assert net.infer(picture).trust.state is TrustState.OK
        foreign = net.infer(np.full_like(picture, 250))
    assert foreign.trust.state is TrustState.DOUBTFUL
    assert "the input is unlike those of the calibration set" in foreign.trust.reason
