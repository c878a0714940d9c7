"""Class folders, the metrics of a classifier's probabilities, and its evaluation."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from class_pictures import CLASSES, write_class_folders, write_class_task

from physedge_calibrate.answer_loss import largest_share
from physedge_calibrate.class_folders import class_names, read_class_folders
from physedge_calibrate.evaluate import evaluate, read_samples
from physedge_calibrate.evaluate_classification import ClassificationEvaluation, hold_classification
from physedge_calibrate.gate import Judgement, judge, standard
from physedge_calibrate.metrics import (
    auroc,
    auroc_interval,
    calibration_error_interval,
    expected_calibration_error,
    reliability,
)
from physedge_calibrate.metrics.table import ACCURACY, metric_for
from physedge_runtime.errors import UsageError
from physedge_runtime.frame import FrameSpec
from physedge_runtime.spec import ModelSpec, Task
from physedge_runtime.verdict import Verdict

SPEC = ModelSpec(name="spots", task=Task.CLASSIFICATION, classes=CLASSES, frame=FrameSpec(height=32, width=32))


def _softmax(logits: Any) -> Any:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def answers() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    truths = rng.integers(0, 4, 200)
    logits = rng.normal(size=(200, 4)) + 1.5 * np.eye(4)[truths]
    return _softmax(logits), truths


def test_auroc_is_that_of_an_independent_implementation(answers: tuple[Any, Any]) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    probability, truths = answers
    expected = sklearn.roc_auc_score(truths, probability, multi_class="ovr", average="macro")
    assert auroc(probability, truths) == pytest.approx(expected, abs=1e-12)


def test_auroc_of_known_orders() -> None:
    truths = np.array([0, 0, 1, 1])
    perfect = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.1, 0.9]])
    assert auroc(perfect, truths) == 1.0
    assert auroc(perfect[::-1], truths) == 0.0
    assert auroc(np.full((4, 2), 0.5), truths) == 0.5
    with pytest.raises(ValueError, match="two classes"):
        auroc(perfect, np.zeros(4, int))


def test_weights_mean_repeated_samples(answers: tuple[Any, Any]) -> None:
    probability, truths = answers
    twice = np.concatenate([probability, probability[:50]]), np.concatenate([truths, truths[:50]])
    from physedge_calibrate.metrics.confidence import _auroc_of

    weights = np.ones((1, 200))
    weights[0, :50] = 2.0
    assert _auroc_of(probability, truths)(weights)[0] == pytest.approx(auroc(*twice), abs=1e-12)


def test_intervals_hold_the_estimate_and_are_wider_by_group(answers: tuple[Any, Any]) -> None:
    probability, truths = answers
    for interval in (auroc_interval, calibration_error_interval):
        single = interval(probability, truths, groups=None, generator=np.random.default_rng(0))
        grouped = interval(probability, truths, groups=np.arange(200) // 20, generator=np.random.default_rng(0))
        assert single.low <= single.estimate <= single.high or interval is calibration_error_interval
        assert (single.unit, single.group_count, grouped.unit, grouped.group_count) == ("sample", 200, "group", 10)
        assert 0 < single.width < 0.2


def test_calibration_error_by_hand() -> None:
    probability = np.array([[0.95, 0.05], [0.95, 0.05], [0.65, 0.35], [0.65, 0.35]])
    truths = np.array([0, 0, 0, 1])
    # 0.95 sure and right twice: 0.05; 0.65 sure and right once of two: 0.15; half of the samples each.
    assert expected_calibration_error(probability, truths) == pytest.approx(0.10)
    confidence, accuracy, count = reliability(probability, truths)
    assert count.tolist() == [0, 0, 0, 0, 0, 0, 2, 0, 0, 2]
    assert (confidence[6], accuracy[6]) == (pytest.approx(0.65), 0.5)
    assert np.isnan(accuracy[0])


def test_class_folders_are_read_in_the_order_of_the_network(tmp_path: Path) -> None:
    write_class_task(tmp_path, train=3, val=2)
    assert class_names(tmp_path) == CLASSES
    samples = read_class_folders(tmp_path / "val", ("right", "left", "none"))
    assert [sample.label for sample in samples] == [0, 0, 1, 1, 2, 2]
    assert samples[0].name == "right/p000"
    assert samples[0].stratum == "right"
    assert all(sample.picture().ndim == 3 and sample.picture().shape[2] == 3 for sample in samples)


def test_groups_of_class_folders_come_from_the_table(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 2, seed=0)
    (tmp_path / "groups.csv").write_text("name,group\nleft/p000,patient1\np001,patient2\n")
    groups = {sample.name: sample.group for sample in read_class_folders(tmp_path, CLASSES)}
    assert groups["left/p000"] == "patient1"
    assert groups["left/p001"] == groups["right/p001"] == "patient2"
    assert groups["none/p000"] == "none/p000"


def test_class_folders_that_cannot_be_used(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 1, seed=0)
    with pytest.raises(UsageError, match=r"PE-DATA-011: .*no folder for up; .*left, up"):
        read_class_folders(tmp_path, ("left", "up"))
    with pytest.raises(UsageError, match=r"PE-DATA-013: .*the folder right, a class that the network does not know"):
        read_class_folders(tmp_path, ("left", "none"))
    with pytest.raises(UsageError, match=r"PE-DATA-011: .*holds 0 folder\(s\)"):
        class_names(tmp_path / "left")
    (tmp_path / "left/p000.png").unlink()
    with pytest.raises(UsageError, match=r"PE-DATA-012: the class folder .*left holds no picture"):
        read_class_folders(tmp_path, CLASSES)
    with pytest.raises(UsageError, match="PE-DATA-001"):
        read_class_folders(tmp_path / "nowhere", CLASSES)


def test_an_evaluation_of_a_classifier(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 8, seed=4)
    samples = read_samples(tmp_path, SPEC)

    def infer(frame: Any) -> dict[str, Any]:
        grey = frame[0].astype(np.float32).mean(axis=2) / 255.0
        left, right = (grey[8:24, part].max() for part in (slice(0, 16), slice(16, 32)))
        spots = np.array([[left, 0.6, right]]) * 20
        return {"probability": _softmax(spots).astype(np.float32), "mass": np.array([[left + right]], np.float32)}

    found = evaluate(infer, samples, SPEC)
    figures = found.figures(0)
    assert list(figures)[:4] == ["accuracy", "macro_f1", "auroc", "ece"]
    assert figures["accuracy"].estimate == found.scores("accuracy").mean() == 1.0
    assert figures["recall_none"].sample_count == 8
    assert found.strata[0] == "left"
    assert found.found_from is None
    assert len(found.answers) == len(found) == 24
    assert found.confusion().tolist() == [[8, 0, 0], [0, 8, 0], [0, 0, 8]]  # type: ignore[attr-defined]
    assert found.outputs["mass"].shape == (24, 1)  # type: ignore[attr-defined]


def test_every_task_reads_samples_of_its_own_kind(tmp_path: Path) -> None:
    spec = ModelSpec.model_validate(
        {"name": "x", "task": "reconstruction", "voltages": {"count": 4, "electrodes": 4, "protocol": "adjacent"}}
    )
    with pytest.raises(UsageError, match="PE-DATA-020"):
        read_samples(tmp_path, spec)


def _evaluation(predictions: Any, truths: Any) -> ClassificationEvaluation:
    count = len(truths)
    return ClassificationEvaluation(
        names=tuple(f"p{index}" for index in range(count)),
        groups=tuple(f"p{index}" for index in range(count)),
        strata=("",) * count,
        classes=CLASSES,
        probability=np.eye(3)[predictions] * 0.9 + 0.033,
        truths=np.asarray(truths),
    )


def _judged(wrong: int, *, count: int = 300) -> Judgement:
    """Full precision is right in all but 30 pictures; the candidate errs in `wrong` more, all of one class."""
    truths = np.arange(count) % 3
    full = truths.copy()
    full[:30] = (full[:30] + 1) % 3
    worse = full.copy()
    worse[np.flatnonzero(truths == 2)[-wrong:] if wrong else []] = 0
    reference, candidate = _evaluation(full, truths), _evaluation(worse, truths)
    losses, remarks = hold_classification(reference, candidate, 0)
    return judge(
        reference.scores("accuracy"),
        candidate.scores("accuracy"),
        tolerance=standard(),
        generator=np.random.default_rng(0),
        metric=ACCURACY,
        set_losses=losses,
        remarks=remarks,
        resamples=1000,
    )


def test_what_samples_contribute_to_macro_f1() -> None:
    """Their mean is the score, and over the samples of a class it is in proportion to the F1 of that class."""
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    truths, predictions = rng.choice(3, 90, p=[0.6, 0.3, 0.1]), rng.integers(0, 3, 90)
    predictions[:60] = truths[:60]
    found = _evaluation(predictions, truths).scores("macro_f1")
    each = sklearn.f1_score(truths, predictions, average=None)
    assert found.mean() == pytest.approx(each.mean(), abs=1e-12)
    means = np.array([found[truths == label].mean() * np.count_nonzero(truths == label) for label in range(3)])
    assert means / means.sum() == pytest.approx(each / each.sum(), abs=1e-12)
    with pytest.raises(KeyError):
        _evaluation(predictions, truths).scores("dice")


def test_macro_f1_can_decide() -> None:
    truths = np.arange(600) % 3
    full, worse = truths.copy(), truths.copy()
    worse[np.flatnonzero(truths == 2)[:30]] = 0
    scores = [_evaluation(one, truths).scores("macro_f1") for one in (full, worse)]
    metric = metric_for("macro_f1", task="classification")
    judged = judge(*scores, tolerance=standard(), generator=np.random.default_rng(0), metric=metric, resamples=1000)
    assert judged.verdict is Verdict.REJECT
    assert "mean macro F1 is worse by 0.0" in judged.reasons[0]


@pytest.mark.parametrize(
    ("count", "moved", "verdict"),
    [
        (160, 0.02, Verdict.INCONCLUSIVE),
        (298, 0.02, Verdict.INCONCLUSIVE),
        (299, 0.02, Verdict.ACCEPT),
        (160, 1e-5, Verdict.ACCEPT),
    ],
)
def test_no_lost_answer_among_few_pictures_shows_little(count: int, moved: float, verdict: Verdict) -> None:
    """0.99 to the power of 298 is above 5 %, of 299 below; the same arithmetic needs no statistics."""
    truths = np.arange(count) % 3
    reference = _evaluation(truths, truths)
    candidate = dataclasses.replace(reference, probability=np.abs(reference.probability - moved))
    losses, remarks = hold_classification(reference, candidate, 0)
    judged = judge(
        reference.scores("accuracy"),
        candidate.scores("accuracy"),
        tolerance=standard(),
        generator=np.random.default_rng(0),
        metric=ACCURACY,
        set_losses=losses,
        remarks=remarks,
        resamples=1000,
    )
    assert judged.verdict is verdict
    if verdict is Verdict.INCONCLUSIVE:
        assert "299 without a lost one would do" in judged.reasons[0]


def test_how_many_pictures_would_do_is_said_for_chance_and_for_a_loss() -> None:
    unsure = _judged(1, count=160)
    assert unsure.verdict is Verdict.INCONCLUSIVE
    (counted,) = [reason for reason in unsure.reasons if "were lost and" in reason]
    assert "1 of 160 answers were lost and 0 won: if that is chance" in counted
    # s = sqrt(1/160), allowed 0.01 of 130/160: (2.49 s / tolerance)^2
    expected = math.ceil((2.49 * math.sqrt(1 / 160) / (0.01 * 130 / 160)) ** 2)
    assert f"{expected} pictures would do" in counted


def test_shares_that_few_events_leave_open() -> None:
    assert largest_share(0, 299) == pytest.approx(1 - 0.05 ** (1 / 299), rel=1e-9)
    assert largest_share(5, 5) == 1
    # The chance of at most two events among 100 at that share is 5 %.
    share = largest_share(2, 100)
    chance = sum(math.comb(100, k) * share**k * (1 - share) ** (100 - k) for k in range(3))
    assert chance == pytest.approx(0.05, abs=1e-9)


def test_macro_f1_must_be_kept_as_well() -> None:
    kept = _judged(0)
    assert kept.verdict is Verdict.ACCEPT
    assert kept.set_losses[0].drop.estimate == 0
    assert "McNemar p = 1" in kept.notes[-1]
    lost = _judged(30)
    assert lost.verdict is Verdict.REJECT
    assert any("macro F1 is worse by 0.1" in reason for reason in lost.reasons)
    assert "only full precision is right in 30 of 300 pictures, only the candidate in 0" in lost.notes[-1]
    unsure = _judged(2)
    assert unsure.verdict is Verdict.INCONCLUSIVE
    assert any("macro F1 may be worse by up to" in reason for reason in unsure.reasons)
