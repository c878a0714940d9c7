"""Whole trainings on a task that is learned in seconds."""

from __future__ import annotations

import csv
import dataclasses
import signal
import tomllib
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_segmenter import write_scenes, write_task

from physedge.models.registry import load_factory
from physedge.project import read_project
from physedge.train.fit import begin_with, build_network, fit, spec_of
from physedge.train.guards import first_not_finite
from physedge.train.module import move_average
from physedge.train.options import TrainOptions
from physedge.train.record import columns, save_weights
from physedge.train.run_files import spec_text, write_project
from physedge.train.segmentation import SegmentationRecipe
from physedge_runtime.errors import BuildError, EnvironmentFault, UsageError
from physedge_runtime.frame import Colour, Crop, FrameSpec
from physedge_runtime.spec import ModelSpec, Normalise, SegmentSpec, Task, read_spec

TINY = "tiny_segmenter:tiny"


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("task"))


def _options(task: Path, output: Path, **changes: Any) -> TrainOptions:
    plain = TrainOptions(
        model=TINY,
        data=(task,),
        output=output,
        height_px=32,
        width_px=32,
        epochs=2,
        batch=8,
        learning_rate=0.02,
        augmentation="mild",
        average_decay=0.9,
        accelerator="cpu",
        devices="1",
    )
    return dataclasses.replace(plain, **changes)


@pytest.fixture(scope="module")
def trained(task: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainOptions, Any, list[str]]:
    options = _options(task, tmp_path_factory.mktemp("runs") / "trained", epochs=12)
    lines: list[str] = []
    return options, fit(options, report=lines.append), lines


def test_a_simple_task_is_learned(trained: tuple[TrainOptions, Any, list[str]]) -> None:
    _, result, lines = trained
    assert result.scores.mean("dice") > 0.93
    assert result.best.scores["dice"] == pytest.approx(result.scores.mean("dice"), abs=1e-6)
    assert len(lines) == 12
    assert lines[-1].startswith("epoch 12/12  loss ")


def test_a_run_leaves_what_it_says(trained: tuple[TrainOptions, Any, list[str]]) -> None:
    options, result, _ = trained
    names = {path.name for path in options.output.iterdir()}
    assert names == {
        "best.safetensors",
        "config.toml",
        "curves.png",
        "last.ckpt",
        "metrics.csv",
        "spec.toml",
        "validation.csv",
        "worst.png",
    }
    with (options.output / "metrics.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert tuple(rows[0]) == columns(SegmentationRecipe.scores)
    assert [int(row["epoch"]) for row in rows] == list(range(1, 13))
    assert float(rows[result.best.epoch - 1]["val_dice"]) == pytest.approx(result.best.scores["dice"], abs=1e-5)
    with (options.output / "validation.csv").open() as lines:
        scores = list(csv.DictReader(lines))
    assert len(scores) == 8
    assert [float(row["dice_grid"]) for row in scores] == sorted(float(row["dice_grid"]) for row in scores)
    assert scores[0]["group"].startswith("video")
    for picture in ("curves.png", "worst.png"):
        assert (options.output / picture).read_bytes().startswith(b"\x89PNG")


def test_the_kept_weights_belong_to_the_specification(trained: tuple[TrainOptions, Any, list[str]]) -> None:
    options, result, _ = trained
    spec = read_spec(result.spec)
    assert spec == spec_of(options)
    network = build_network(options, spec, for_training=False)
    network.load_state_dict(load_file(result.weights))


def test_the_directory_knows_the_run(trained: tuple[TrainOptions, Any, list[str]], tmp_path: Path) -> None:
    options, result, _ = trained
    write_project(tmp_path, options)
    project = read_project(tmp_path)
    assert project is not None
    assert project.model == TINY
    for found, meant in (
        (project.weights, result.weights),
        (project.spec, result.spec),
        (project.data, options.data[0]),
    ):
        assert found is not None
        assert found.resolve() == meant.resolve()


class _Stop(pl.Callback):
    """Ends a training after the second step of an epoch, as Ctrl-C does."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.current_epoch == self._epoch and batch_idx == 1:
            raise KeyboardInterrupt


def test_a_resumed_training_gives_the_weights_of_an_uninterrupted_one(task: Path, tmp_path: Path) -> None:
    straight = _options(task, tmp_path / "straight", epochs=4, progressive=True)
    fit(straight)
    halted = dataclasses.replace(straight, output=tmp_path / "halted")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(halted, callbacks=(_Stop(epoch=2),))
    assert signal.getsignal(signal.SIGINT) is before
    assert len((halted.output / "metrics.csv").read_text().splitlines()) == 3  # the header and two epochs
    fit(dataclasses.replace(halted, resume=True))
    for kept in ("state_dict", "optimizer_states", "lr_schedulers"):
        first, second = (
            torch.load(options.output / "last.ckpt", weights_only=True)[kept] for options in (straight, halted)
        )
        _assert_same(first, second)
    a, b = (load_file(options.output / "best.safetensors") for options in (straight, halted))
    _assert_same(a, b)
    columns = [
        [line.rsplit(",", 1)[0] for line in (options.output / "metrics.csv").read_text().splitlines()]
        for options in (straight, halted)
    ]
    assert columns[0] == columns[1]  # all but the seconds


def _assert_same(first: Any, second: Any) -> None:
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            _assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            _assert_same(one, other)
    else:
        assert first == second


def test_resuming_what_is_finished_only_scores_again(trained: tuple[TrainOptions, Any, list[str]]) -> None:
    options, result, _ = trained
    again = fit(dataclasses.replace(options, resume=True))
    assert again.best == result.best
    np.testing.assert_array_equal(again.scores.evaluation.grid.dice, result.scores.evaluation.grid.dice)


def test_several_classes_from_grey_pictures(tmp_path: Path) -> None:
    task = write_task(tmp_path / "task", labels=2)
    options = _options(task, tmp_path / "run", classes=("background", "bright", "dark"), colour=Colour.GREY, epochs=12)
    result = fit(options)
    spec = read_spec(result.spec)
    assert (spec.output_channels, spec.frame and spec.frame.colour) == (3, Colour.GREY)
    assert load_file(result.weights)["body.0.weight"].shape == (12, 1, 3, 3)
    assert result.scores is not None
    assert result.scores.mean("dice") > 0.85
    labels = result.scores.evaluation.probabilities[0].argmax(axis=0)
    assert set(np.unique(labels)) == {0, 1, 2}


def test_a_built_in_network_trains_with_all_its_heads(task: Path, tmp_path: Path) -> None:
    options = _options(task, tmp_path / "run", model="pmrnet_e", epochs=1, batch=12, average_decay=0.0)
    result = fit(options)
    spec = read_spec(result.spec)
    assert len(build_network(options, spec).get_submodule("auxiliary")) == 3  # type: ignore[arg-type]
    weights = load_file(result.weights)
    assert not any(name.startswith("auxiliary") for name in weights)
    build_network(options, spec, for_training=False).load_state_dict(weights)


def test_a_set_without_folders_is_divided_by_sequence(tmp_path: Path) -> None:
    write_scenes(tmp_path / "all", 20, seed=5)
    result = fit(_options(tmp_path / "all", tmp_path / "run", epochs=1))
    groups = [{sample.group for sample in part} for part in (result.splits.train, result.splits.val)]
    assert not groups[0] & groups[1]
    assert result.splits.test


def test_a_run_is_not_overwritten(trained: tuple[TrainOptions, Any, list[str]]) -> None:
    with pytest.raises(UsageError, match=r"PE-TRAIN-002: .*trained holds a run already.*--resume"):
        fit(trained[0])


def test_another_run_is_not_resumed(trained: tuple[TrainOptions, Any, list[str]]) -> None:
    with pytest.raises(UsageError, match=r"PE-TRAIN-003: .*config\.toml says batch = 8, not 4"):
        fit(dataclasses.replace(trained[0], resume=True, batch=4))


def test_a_damaged_checkpoint_is_named(trained: tuple[TrainOptions, Any, list[str]], tmp_path: Path) -> None:
    options = dataclasses.replace(trained[0], output=tmp_path, resume=True)
    (tmp_path / "config.toml").write_bytes((trained[0].output / "config.toml").read_bytes())
    (tmp_path / "last.ckpt").write_bytes(b"PK\x03\x04 no checkpoint")
    with pytest.raises(UsageError, match=r"PE-TRAIN-006: .*last\.ckpt cannot be read"):
        fit(options)


def test_a_folder_that_cannot_be_made(task: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"PE-TRAIN-004: .*cannot be written"):
        fit(_options(task, tmp_path / "file/run"))


def test_numbers_that_are_none_end_the_training(task: Path, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"PE-TRAIN-005: the loss is nan in step 1 of epoch 1"):
        fit(_options(task, tmp_path / "run", model="tiny_segmenter:broken"))
    assert not (tmp_path / "run/best.safetensors").exists()


def test_weights_that_are_no_numbers_are_named() -> None:
    module = torch.nn.Linear(2, 2)
    assert first_not_finite(module) is None
    with torch.no_grad():
        module.bias[0] = float("inf")
    assert first_not_finite(module) == "bias"


def test_a_device_that_is_not_here(task: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"PE-TRAIN-007: .*accelerator abacus"):
        fit(_options(task, tmp_path / "run", accelerator="abacus"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"epochs": 0}, "epochs = 0"),
        ({"batch": 0}, "batch = 0"),
        ({"learning_rate": -1.0}, "learning_rate = -1.0.*--learning-rate"),
        ({"average_decay": 1.0}, "average_decay = 1.0"),
        ({"classes": ("background",)}, "two or more"),
    ],
)
def test_options_out_of_range(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=f"PE-TRAIN-001: .*{words}"):
        _options(tmp_path, tmp_path, **change)


def test_the_specification_is_read_back_as_it_was(tmp_path: Path) -> None:
    spec = spec_of(_options(tmp_path, tmp_path, model="pmrnet_e")).model_copy(
        update={
            "intended_use": 'Research "only"\nµ = 1\t\\',
            "frame": FrameSpec(height=64, width=96, crop=Crop(left=0.1, top=0.0, width=0.8, height=1.0)),
            "normalise": Normalise(mean=(0.4, 0.5, 0.6), std=(0.2, 0.2, 1e-7)),
            "float_modules": ("a.B", "c.D"),
        }
    )
    (tmp_path / "spec.toml").write_text(spec_text(spec), encoding="utf-8")
    assert read_spec(tmp_path / "spec.toml") == spec
    assert tomllib.loads(spec_text(spec))["frame"]["crop"]["left"] == 0.1


def test_a_class_of_several_words_is_written_so_that_it_can_be_read(tmp_path: Path) -> None:
    segment = {"small polyp": SegmentSpec(type=("41329004", "SCT", "Polyp"))}
    frame = FrameSpec(height=64, width=64)
    spec = ModelSpec(name="own", task=Task.SEGMENTATION, classes=("none", "small polyp"), frame=frame, segment=segment)
    (tmp_path / "spec.toml").write_text(spec_text(spec), encoding="utf-8")
    assert read_spec(tmp_path / "spec.toml") == spec


def test_the_average_lags_behind_and_counts_whole_numbers() -> None:
    network, average = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    with torch.no_grad():
        network.weight.fill_(3.0)
    assert network.num_batches_tracked is not None
    network.num_batches_tracked.fill_(7)
    move_average(average, network, 0.75)
    assert average.weight.tolist() == [1.5, 1.5]
    assert int(average.num_batches_tracked or 0) == 7


@pytest.mark.parametrize("model", ["pmrnet", "pmrnet_e"])
def test_strict_weights_are_opened_as_strict_ones(tmp_path: Path, model: str) -> None:
    options = _options(tmp_path, tmp_path / "run", model=model, physics="strict", width_px=64)
    write_project(tmp_path, options)
    project = read_project(tmp_path)
    assert project is not None
    strict = load_factory(project.model)(classes=1, channels=3)
    trained = build_network(options, spec_of(options), for_training=False)
    assert {name: value.shape for name, value in strict.state_dict().items()} == {
        name: value.shape for name, value in trained.state_dict().items()
    }


def test_a_training_begins_with_given_weights(
    trained: tuple[TrainOptions, Any, list[str]], task: Path, tmp_path: Path
) -> None:
    options = _options(task, tmp_path / "run", epochs=1, weights=trained[1].weights, learning_rate=1e-6)
    assert fit(options).best.scores["dice"] == pytest.approx(trained[1].best.scores["dice"], abs=0.02)
    (tmp_path / "none.safetensors").write_bytes(b"nothing")
    with pytest.raises(UsageError, match="PE-NETWORK-003"):
        fit(_options(task, tmp_path / "other", weights=tmp_path / "none.safetensors"))


def test_heads_for_training_stay_fresh_beside_given_weights(task: Path, tmp_path: Path) -> None:
    options = _options(task, tmp_path, model="pmrnet_e")
    spec = spec_of(options)
    network, donor = build_network(options, spec), build_network(options, spec, for_training=False)
    save_weights(donor, tmp_path / "donor.safetensors")
    begin_with(network, tmp_path / "donor.safetensors", build_network(options, spec, for_training=False))
    state = network.state_dict()
    assert all(torch.equal(state[name], value) for name, value in donor.state_dict().items())
