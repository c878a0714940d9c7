"""Learning from a trained network: the loss by its formula, what a teacher is made of, and a whole training."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import cv2
import pytest
import torch
from tiny_segmenter import write_task

from physedge.train.fit import fit
from physedge.train.options import TrainOptions
from physedge.train.teacher import TEMPERATURE, distillation_loss, read_teacher
from physedge_runtime.errors import UsageError
from physedge_runtime.spec import read_spec


def options(task: Path, output: Path, **changes: object) -> TrainOptions:
    plain: dict[str, object] = {
        "model": "tiny_segmenter:tiny",
        "data": (task,),
        "output": output,
        "height_px": 32,
        "width_px": 32,
        "epochs": 4,
        "learning_rate": 0.02,
        "augmentation": "none",
        "average_decay": 0.0,
        "accelerator": "cpu",
        "devices": "1",
    }
    return TrainOptions(**{**plain, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("task"))


@pytest.fixture(scope="module")
def taught(task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "teacher"
    fit(options(task, run, epochs=8))
    return run


def test_the_loss_of_one_pixel_is_the_divergence_by_hand() -> None:
    student, teacher = torch.tensor(1.0).view(1, 1, 1, 1), torch.tensor(-2.0).view(1, 1, 1, 1)
    p, q = (1 / (1 + math.exp(-value / TEMPERATURE)) for value in (-2.0, 1.0))
    expected = (p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))) * TEMPERATURE**2
    assert distillation_loss(student, teacher).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("planes", [1, 3])
def test_the_loss_is_least_where_both_agree(planes: int) -> None:
    generator = torch.Generator().manual_seed(1)
    teacher = torch.randn(2, planes, 4, 5, generator=generator, dtype=torch.float64)
    student = teacher.clone().requires_grad_()
    loss = distillation_loss(student, teacher)
    assert loss.item() == pytest.approx(0.0, abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, student)
    assert gradient.abs().max() < 1e-12
    assert distillation_loss(teacher + torch.randn(teacher.shape, generator=generator), teacher) > 1e-3


def test_two_classes_by_softmax_are_one_by_sigmoid() -> None:
    generator = torch.Generator().manual_seed(2)
    student, teacher = torch.randn(2, 2, 1, 3, 3, generator=generator, dtype=torch.float64)

    def pair(logits: torch.Tensor) -> torch.Tensor:
        return torch.cat((torch.zeros_like(logits), logits), dim=1)

    torch.testing.assert_close(
        distillation_loss(student, teacher), distillation_loss(pair(student), pair(teacher)), atol=1e-12, rtol=0
    )


def test_a_student_comes_nearer_to_its_teacher_than_one_that_sees_the_truth_alone(
    task: Path, taught: Path, tmp_path: Path
) -> None:
    from physedge.deploy.network import load_weights
    from physedge.models.registry import load_factory

    paths = sorted(task.rglob("images/*.png"))[:8]
    pictures = torch.stack([torch.from_numpy(cv2.imread(str(path))).permute(2, 0, 1) for path in paths]) / 255.0
    distances = {}
    for name, teacher in (("alone", None), ("taught", taught)):
        result = fit(options(task, tmp_path / name, teacher=teacher, seed=5))
        student = load_factory("tiny_segmenter:tiny")(classes=1, channels=3).eval()
        load_weights(student, result.weights)
        master = read_teacher(taught, read_spec(result.spec))
        normalise = master.spec.normalise
        with torch.no_grad():
            logits = student((pictures - normalise.mean[0]) / normalise.std[0])
        distances[name] = distillation_loss(logits, master(pictures)).item()
    assert distances["taught"] < 0.7 * distances["alone"]
    assert str(taught) in (tmp_path / "taught/config.toml").read_text("utf-8")


def test_a_teacher_only_answers(taught: Path) -> None:
    teacher = read_teacher(taught, read_spec(taught / "spec.toml"))
    pictures = torch.rand(2, 3, 32, 32)
    first = teacher(pictures)
    assert first.shape == (2, 1, 32, 32) and not first.requires_grad
    assert torch.equal(first, teacher(pictures))  # no dropout, no moving statistics


@pytest.mark.parametrize("missing", ["config.toml", "spec.toml", "best.safetensors"])
def test_a_folder_that_is_no_finished_run_is_refused(taught: Path, tmp_path: Path, missing: str) -> None:
    copy = tmp_path / "run"
    shutil.copytree(taught, copy)
    (copy / missing).unlink()
    with pytest.raises(UsageError, match="PE-TRAIN-010"):
        read_teacher(copy, read_spec(taught / "spec.toml"))


def test_a_teacher_of_another_question_is_refused(taught: Path) -> None:
    spec = read_spec(taught / "spec.toml")
    other = spec.model_copy(update={"classes": ("background", "liver", "tumour")})
    with pytest.raises(UsageError, match="PE-TRAIN-011: a teacher for background, lesion on 3 channel"):
        read_teacher(taught, other)
