"""The plugin as a device maker meets it: pytest in a project of its own, with a bundle and a few frames."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from disks import write_disks
from tiny_network import tiny_contents, tiny_graph

from physedge_calibrate.regression import (
    Answers,
    broken_bounds,
    changes_from,
    describe_changes,
    read_golden,
    write_golden,
)
from physedge_runtime.errors import IntegrityError, UsageError
from physedge_runtime.spec import Task

EXAMPLE = Path(__file__).parents[2] / "examples/device_ci"
TEST = """
def test_disks(physedge_regression):
    answers = physedge_regression("net.physedge", "data", {arguments})
    assert answers.mean("dice") > 0.8
"""


class Project:
    """A folder with a bundle, four frames and one test."""

    def __init__(self, folder: Path, write: Callable[..., Path], *, write_test: bool = True) -> None:
        self.folder = folder
        self._write = write
        write_disks(folder / "data", 4)
        self.ship(0.0)
        if write_test:
            self.test("min_dice=0.8")

    def ship(self, bias: float) -> None:
        """A bundle whose network answers with this bias; the bounds of its own golden frames let it."""
        (artefact,) = tiny_contents()[0].artefacts
        lenient = artefact.model_copy(update={"golden_mean_bound": 1.0, "golden_max_bound": 1.0})
        written = self._write(contents={"model.onnx": tiny_graph(bias=bias)}, artefacts=(lenient,))
        (self.folder / "net.physedge").write_bytes(written.read_bytes())

    def test(self, arguments: str) -> None:
        (self.folder / "test_net.py").write_text(TEST.format(arguments=arguments), "utf-8")

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


def test_the_plugin_comes_with_the_package() -> None:
    (found,) = [one for one in entry_points(group="pytest11") if one.module == "physedge_calibrate.pytest_plugin"]
    assert found.name == found.module


def test_the_example_project_passes_and_fails_with_another_network(
    tmp_path: Path, write_tiny: Callable[..., Path]
) -> None:
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLE, folder)
    project = Project(folder, write_tiny, write_test=False)
    first = project.run()
    assert first.returncode == 1
    assert "no golden file frames.npz; write it with --update-golden" in first.stdout
    assert project.run("--update-golden").returncode == 0
    assert project.run().returncode == 0
    project.ship(bias=3.0)
    worse = project.run()
    assert worse.returncode == 1
    assert "2 failed" in worse.stdout or "1 failed" in worse.stdout


@pytest.fixture
def project(tmp_path: Path, write_tiny: Callable[..., Path]) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    return Project(folder, write_tiny)


def test_a_bundle_within_its_bounds_passes_and_one_below_fails(project: Project) -> None:
    assert project.run().returncode == 0
    project.test("min_dice=1.5, max_iou=0.5")
    result = project.run()
    assert result.returncode == 1
    assert "mean Dice 1.0000 is below 1.5" in result.stdout
    assert "mean IoU 1.0000 is above 0.5" in result.stdout


def test_golden_answers_are_written_only_when_asked_for_and_then_hold(project: Project) -> None:
    project.test("golden='golden/disks.npz'")
    golden = project.folder / "golden/disks.npz"
    assert "no golden file disks.npz; write it with --update-golden" in project.run().stdout
    assert not golden.exists()

    written = project.run("--update-golden")
    assert written.returncode == 0
    assert "disks.npz: new golden file of 4 frames" in written.stdout
    before = golden.read_bytes()
    assert project.run().returncode == 0

    project.ship(bias=2.0)
    failed = project.run()
    assert failed.returncode == 1
    assert "4 masks differ in more than 0.1000% of their pixels" in failed.stdout
    assert golden.read_bytes() == before

    renewed = project.run("--update-golden")
    assert "4 of 4 masks differ" in renewed.stdout
    assert "dice" in renewed.stdout
    assert golden.read_bytes() != before
    assert project.run().returncode == 0


def answers(seed: int = 0, *, frames: int = 3) -> Answers:
    random = np.random.default_rng(seed)
    return Answers(
        names=tuple(f"f{index}" for index in range(frames)),
        answers=random.integers(0, 2, (frames, 8, 8), dtype=np.uint8),
        scores={"dice": random.uniform(size=frames), "hd95": random.uniform(1, 9, size=frames)},
        engine="an engine",
    )


def test_a_golden_file_gives_back_what_was_written_with_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        write_golden(tmp_path / name, answers())
    found = read_golden(tmp_path / "one.npz")
    assert found is not None
    assert changes_from(found, answers()) == ()
    assert found.mean("dice") == answers().mean("dice")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    assert read_golden(tmp_path / "none.npz") is None


def test_changes_are_counted_and_the_largest_comes_first() -> None:
    now = answers()
    masks = now.answers.copy()
    masks[0, 0, :2] ^= 1
    masks[2, :2] ^= 1
    later = Answers(names=now.names, answers=masks, scores=now.scores, engine="an engine")
    found = changes_from(now, later)
    assert [(change.name, change.fraction) for change in found] == [("f2", 16 / 64), ("f0", 2 / 64)]
    assert describe_changes(now, later).startswith("2 of 3 masks differ")


def test_a_file_that_is_no_golden_file_or_of_other_frames_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(b"nothing of the kind")
    with pytest.raises(IntegrityError, match=r"PE-GOLDEN-002: bad.npz is no golden file"):
        read_golden(tmp_path / "bad.npz")
    with pytest.raises(IntegrityError, match="PE-GOLDEN-001"):
        changes_from(answers(), answers(frames=2))


def test_labels_are_compared_by_their_names() -> None:
    before = Answers(
        names=("a", "b", "c"),
        answers=np.array([0, 1, 1], np.uint8),
        scores={"accuracy": np.array([1.0, 1.0, 0.0]), "macro_f1": np.array([1.0, 0.7, 0.0])},
        engine="an engine",
        task=Task.CLASSIFICATION,
        classes=("none", "cyst"),
    )
    after = dataclasses.replace(before, answers=np.array([0, 0, 1], np.uint8))
    (change,) = changes_from(before, after)
    assert (change.name, change.fraction, change.described) == ("b", 1.0, "cyst before, none now")
    assert describe_changes(before, after).startswith("1 of 3 labels differ")
    assert broken_bounds(before, {"min_accuracy": 0.7}) == ("mean accuracy 0.6667 is below 0.7",)
    with pytest.raises(UsageError, match=r"PE-METRIC-001.*accuracy, macro_f1"):
        broken_bounds(before, {"min_dice": 0.7})
    with pytest.raises(IntegrityError, match=r"PE-GOLDEN-001.*3 labels of none, wart.*3 labels of none, cyst"):
        changes_from(before, dataclasses.replace(after, classes=("none", "wart")))


def test_images_change_where_it_can_be_seen() -> None:
    image = np.linspace(0.0, 1.0, 16, dtype=np.float32).reshape(1, 4, 4)
    before = Answers(
        names=("tank",),
        answers=image,
        scores={"correlation": np.array([0.9])},
        engine="an engine",
        task=Task.RECONSTRUCTION,
    )
    moved = image.copy()
    moved[0, 0] += np.array([0.0, 0.005, 0.02, 0.5], np.float32)
    (change,) = changes_from(before, dataclasses.replace(before, answers=moved))
    assert change.fraction == 2 / 16
    assert "12.5000% of the values visibly, the farthest by 0.5" in change.described


@pytest.mark.parametrize(("task", "noun"), [(Task.CLASSIFICATION, "labels"), (Task.RECONSTRUCTION, "images")])
def test_golden_files_of_every_task_give_back_their_answers(tmp_path: Path, task: Task, noun: str) -> None:
    kept = {"labels": np.array([1, 0], np.uint8), "images": np.ones((2, 3, 3), np.float32)}[noun]
    written = Answers(
        names=("a", "b"), answers=kept, scores={}, engine="e", task=task, classes=("x", "y") if noun == "labels" else ()
    )
    write_golden(tmp_path / "g.npz", written)
    found = read_golden(tmp_path / "g.npz")
    assert found is not None
    assert (found.task, found.classes, found.kind.noun) == (task, written.classes, noun)
    assert changes_from(found, written) == ()


def test_bounds_are_named_after_metrics() -> None:
    assert broken_bounds(answers(), {"min_dice": 0.0, "max_hd95": 10.0}) == ()
    with pytest.raises(UsageError, match="PE-METRIC-003"):
        broken_bounds(answers(), {"dice": 0.5})
    with pytest.raises(UsageError, match="PE-METRIC-001"):
        broken_bounds(answers(), {"min_luck": 0.5})
