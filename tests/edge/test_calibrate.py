"""`physedge calibrate`: a set with evidence, graphs with their agreement, and every bad input in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from disks import write_disks
from typer.testing import CliRunner

from physedge.cli.app import build_app
from physedge.deploy.calibrate import CalibrateOptions, calibrate
from physedge.deploy.network import NetworkChoice
from physedge.physics.scenes import SCENES
from physedge_runtime.errors import SourceError, UsageError

SPEC = """
name = "red"
task = "segmentation"
classes = ["background", "disk"]
[frame]
height = 64
width = 64
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrate")
    (folder / "spec.toml").write_text(SPEC, encoding="utf-8")
    write_disks(folder / "data/train", 20)
    write_disks(folder / "data/val", 8, start=100)
    return folder


def options(home: Path, **changes: object) -> CalibrateOptions:
    values: dict[str, object] = {
        "choice": NetworkChoice(model="red_network:red", spec=home / "spec.toml"),
        "calibration": home / "data",
        "data": home / "data",
        "output": home / "out",
        "threads": 1,
    }
    return CalibrateOptions(**{**values, **changes})  # type: ignore[arg-type]


def test_the_verb_writes_lists_coverage_sensitivity_and_graphs_that_agree(home: Path) -> None:
    words = ["--calib", home / "data", "--data", home / "data", "--model", "red_network:red", "--spec"]
    words += [home / "spec.toml", "--output", home / "out", "--count", "12", "--strata", r"_f00(\d)", "--threads", "1"]
    result = CliRunner().invoke(build_app(), ["calibrate", *map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert {"images.json", "coverage.txt", "coverage.png", "sensitivity.png", "calibration.json"} <= set(told["files"])
    images = json.loads((home / "out/images.json").read_text("utf-8"))
    assert images["count"] == 12
    assert sorted(image["stratum"] for image in images["images"]) == ["0"] * 6 + ["1"] * 6
    assert all(len(image["sha256"]) == 64 for image in images["images"])
    assert {graph["file"] for graph in told["graphs"]} >= {"model.int8-cpu.onnx"}
    for graph in told["graphs"]:
        assert graph["agreement"] > 0.97
        assert 0 < graph["int8_mac_share"] <= 1
        assert (home / "out" / graph["file"]).stat().st_size > 0


def test_for_tensorrt_the_graph_is_computed_as_it_is_written(home: Path) -> None:
    report = calibrate(options(home, target="tensorrt", output=home / "trt"))
    assert any("no GPU judged it" in statement for statement in report.statements)
    (one,) = report.tried
    assert one.made.graph.entry == "model.int8-gpu.onnx"
    assert one.agreement > 0.97


@pytest.mark.parametrize(
    ("changes", "identifier"),
    [
        ({"calibration": Path("nowhere")}, "PE-DATA-001"),
        ({"strata": "_(benign|malignant)_"}, "PE-CALIB-008"),
        ({"strata": "(("}, "PE-CALIB-007"),
        ({"strata": "nowhere.csv"}, "PE-CALIB-007"),
        ({"target": "abacus"}, "PE-TARGET-001"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    home: Path, changes: dict[str, object], identifier: str
) -> None:
    with pytest.raises(UsageError, match=identifier) as raised:
        calibrate(options(home, output=home / "none", **changes))
    assert raised.value.exit_status == 2
    assert not (home / "none").exists()


def test_too_few_pictures_none_and_unreadable_ones(home: Path, tmp_path: Path) -> None:
    write_disks(tmp_path / "few", 3)
    with pytest.raises(UsageError, match="PE-CALIB-006: 3 calibration images"):
        calibrate(options(home, calibration=tmp_path / "few", output=tmp_path / "out"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="PE-DATA-002"):
        calibrate(options(home, calibration=tmp_path / "empty", output=tmp_path / "out"))
    write_disks(tmp_path / "broken", 9)
    next((tmp_path / "broken/images").iterdir()).write_bytes(b"no picture")
    with pytest.raises(SourceError, match="PE-SRC-005"):
        calibrate(options(home, calibration=tmp_path / "broken", output=tmp_path / "out"))


def test_evaluation_pictures_hidden_in_the_pool_are_a_leak_by_name(home: Path, tmp_path: Path) -> None:
    write_disks(tmp_path / "pool", 12)
    write_disks(tmp_path / "val", 2, start=100)
    picture = SCENES["endoscopy"](3, height_px=240, width_px=320).frame(0).image[:, :, ::-1]
    cv2.imwrite(str(tmp_path / "val/images/stolen.png"), picture)
    cv2.imwrite(str(tmp_path / "val/masks/stolen.png"), np.zeros(picture.shape[:2], np.uint8))
    small = cv2.resize(picture, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    brighter = np.clip(small.astype(np.float64) * 1.1 + 4, 0, 255).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "pool/images/renamed.jpg"), brighter, [cv2.IMWRITE_JPEG_QUALITY, 90])
    with pytest.raises(UsageError, match=r"PE-CALIB-005: a leak: .*stolen is nearly the same picture.*renamed\.jpg"):
        calibrate(options(home, calibration=tmp_path / "pool", data=tmp_path / "val", output=tmp_path / "out"))
