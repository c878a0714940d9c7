"""Classifiers through the same doors as everything else: training, export with a verdict, verify, a stream."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from class_pictures import CLASSES, write_class_folders, write_class_task
from stream_dicom import write_dicom

from physedge.cli.app import main
from physedge.train.asked import options_from_words
from physedge.train.augment import STRENGTHS, augment_pictures
from physedge.train.classification import ClassificationRecipe
from physedge.train.fit import fit, spec_of
from physedge.train.options import TrainOptions
from physedge_calibrate.class_folders import read_class_folders
from physedge_calibrate.regression import answer_frames, broken_bounds
from physedge_runtime.errors import UsageError
from physedge_runtime.spec import Task, read_spec


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class_task(tmp_path_factory.mktemp("task"), train=16, val=8)


def _options(task: Path, output: Path, **changes: Any) -> TrainOptions:
    plain = TrainOptions(
        model="tiny_classifier:tiny",
        task=Task.CLASSIFICATION,
        data=(task,),
        output=output,
        classes=CLASSES,
        height_px=32,
        width_px=32,
        epochs=12,
        batch=8,
        learning_rate=0.01,
        augmentation="none",
        average_decay=0.8,
        accelerator="cpu",
        devices="1",
    )
    return dataclasses.replace(plain, **changes)


def test_classes_are_learned_from_folders(task: Path, tmp_path: Path) -> None:
    """From grey, colour, transparent and 16-bit pictures of odd sizes."""
    result = fit(_options(task, tmp_path / "run"))
    assert result.scores is not None
    figures = result.scores.to_dict()["validation"]
    assert figures["accuracy"]["value"] > 0.9  # type: ignore[index]
    assert result.best.scores["accuracy"] > 0.9
    assert "macro F1" in result.scores.sentence()
    spec = read_spec(result.spec)
    assert (spec.task, spec.classes) == (Task.CLASSIFICATION, CLASSES)
    assert {path.name for path in result.output.iterdir()} == {
        "best.safetensors",
        "config.toml",
        "confusion.png",
        "curves.png",
        "last.ckpt",
        "metrics.csv",
        "spec.toml",
        "validation.csv",
        "worst.png",
    }
    with (result.output / "validation.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 24
    own = [float(row[f"probability_{row['truth']}"]) for row in rows]
    assert own == sorted(own)
    with (result.output / "metrics.csv").open() as lines:
        assert "val_accuracy" in next(csv.reader(lines))


def test_rare_classes_weigh_more(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 6, seed=0)
    for path in sorted((tmp_path / "left").iterdir())[2:]:
        path.unlink()
    options = _options(tmp_path, tmp_path)
    recipe = ClassificationRecipe(spec_of(options), options)
    samples = read_class_folders(tmp_path, CLASSES)
    recipe.fit_to(recipe.prepare(samples, where="the training set", advance=lambda: None))
    weights = recipe._weights.tolist()
    assert weights == pytest.approx([14 / (3 * 2), 14 / (3 * 6), 14 / (3 * 6)])
    with pytest.raises(UsageError, match="PE-DATA-012: the training set has no picture of right"):
        recipe.prepare(samples[:4], where="the training set", advance=lambda: None)


def test_noise_of_a_grey_picture_is_grey() -> None:
    pictures = torch.full((2, 3, 16, 16), 0.5)
    changed = augment_pictures(pictures, STRENGTHS["mri"], torch.Generator().manual_seed(0), (16, 16))
    assert torch.equal(changed[:, 0], changed[:, 1])
    assert not torch.equal(changed, pictures)


def _words(**changes: Any) -> TrainOptions:
    plain: dict[str, Any] = {
        "task": None,
        "size": None,
        "classes": None,
        "grey": False,
        "physics": "paper",
        "growth": (),
        "densities": None,
        "augment": None,
        "output": None,
        "weights": None,
        "teacher": None,
        "epochs": 1,
        "batch": 4,
        "learning_rate": 0.01,
        "progressive": False,
        "seed": 0,
        "workers": 0,
        "devices": "1",
        "nodes": 1,
        "strategy": "auto",
        "accelerator": "cpu",
        "resume": False,
    }
    return options_from_words(**{**plain, **changes})


def test_words_of_a_classifier(task: Path) -> None:
    options = _words(model="physnet_e", data=[task])
    assert (options.task, options.classes, options.height_px) == (Task.CLASSIFICATION, CLASSES, 224)
    assert _words(model="pmrnet_e", data=[task]).classes == ("background", "lesion")
    assert _words(model="a:b", data=[task], task="classification", classes="x, y").classes == ("x", "y")
    with pytest.raises(
        UsageError, match=r"PE-TRAIN-001: task = 'segmentation'.*classification, which physnet_e answers"
    ):
        _words(model="physnet_e", data=[task], task="segmentation")
    with pytest.raises(UsageError, match="PE-DATA-011"):
        _words(model="physnet_e", data=[task / "train/left"])


def _run(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    return int(ended.value.code or 0)


def test_from_folders_to_a_stream(
    task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train, export with a verdict, verify, stream a folder: as a person types it."""
    monkeypatch.chdir(tmp_path)
    size = ("--size", "32", "--epochs", "1", "--batch", "16", "--accelerator", "cpu", "--devices", "1")
    assert _run("train", "physnet_e", "--data", str(task), *size, "--growth", "none_class=none") == 0
    assert _run("export", "--target", "onnxruntime", "--precision", "fp32") == 0  # on the data that train named
    printed = capsys.readouterr()
    assert "accuracy" in printed.out + printed.err
    bundle = "build/physnet_e.physedge"
    assert "Not for diagnosis, triage or treatment planning" in Path("build/physnet_e.card.md").read_text("utf-8")
    assert _run("verify", bundle, "--data", str(task), "--json") in (0, 1)
    capsys.readouterr()
    kept = answer_frames(Path(bundle), task)
    assert (kept.kind.noun, kept.classes, set(kept.scores)) == ("labels", CLASSES, {"accuracy", "macro_f1"})
    assert broken_bounds(kept, {"min_accuracy": 0.0, "min_macro_f1": 1.1})[0].startswith("mean macro F1 0.")
    out = tmp_path / "out.jsonl"
    source = ("--source", str(task / "val/left"), "--pixel-mm", "3.0")
    assert _run("run", "--bundle", bundle, *source, "--sink", f"jsonl:{out}") == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    frames = [line for line in lines if line["kind"] == "frame"]
    assert len(frames) == 8
    told = [frame["answer"] or {"parameters": None} for frame in frames]
    answered = next(answer for answer in told if answer["parameters"])
    assert set(answered["parameters"]) == {
        "D_mm2_per_day",
        "rho_per_day",
        "front_width_mm",
        "mass_fraction",
        "foci_count",
    }
    assert answered["note"].startswith("on the frame's own pixel spacing")
    assert len(answered["maps"]["density"]["mean"]) == 5
    assert set(frames[0]["trust"]["signals"]) >= {"bounds", "mass", "refinement", "range", "agreement"}
    # The same picture as a scanner's file, whose spacing is its own.
    grey = read_class_folders(task / "val", CLASSES)[0].picture()[:, :, 0].astype(np.uint16) * 4
    scan = write_dicom(tmp_path / "scan.dcm", grey[np.newaxis], Modality="MR", PixelSpacing=[4.0, 4.0])
    assert _run("run", "--bundle", bundle, "--source", str(scan), "--sink", f"jsonl:{tmp_path / 'scan.jsonl'}") == 0
    told = [json.loads(line) for line in (tmp_path / "scan.jsonl").read_text().splitlines()]
    (frame,) = [line for line in told if line["kind"] == "frame"]
    assert frame["answer"]["label"] in CLASSES
    assert frame["answer"]["note"].startswith("on the frame's own pixel spacing")
    capsys.readouterr()
    # What cannot be meant: parameters, a spacing, a class that the bundle does not know, one that is missing.
    assert _run("train", "physnet_e", "--data", str(task), *size, "--growth", "growth_per_day=[0.2, 0.1]") == 2
    assert capsys.readouterr().err.startswith("PE-TRAIN-009: ")
    assert _run("run", "--bundle", bundle, "--source", str(task / "val/left"), "--pixel-mm", "0") == 2
    assert capsys.readouterr().err.startswith("PE-RUN-004: ")
    other = write_class_folders(tmp_path / "other", 1, seed=0)
    (other / "left").rename(other / "above")
    assert _run("verify", bundle, "--data", str(other)) == 2
    assert "PE-DATA-011" in capsys.readouterr().err
    (other / "left").mkdir()
    assert _run("verify", bundle, "--data", str(other)) == 2
    assert "the folder above, a class that the network does not know" in capsys.readouterr().err


def test_a_picture_of_sixteen_bits_is_read_as_its_upper_eight(tmp_path: Path) -> None:
    folder = write_class_folders(tmp_path, 1, seed=0)
    deep = (np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000).astype(np.uint16)
    cv2.imwrite(str(folder / "left/p000.png"), deep)
    picture = read_class_folders(folder, CLASSES)[0].picture()
    np.testing.assert_array_equal(picture[:, :, 0], deep >> 8)
