"""Classification and reconstruction metrics against closed forms and independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from physedge_calibrate.metrics import (
    confusion_matrix,
    correct,
    correlation,
    headline_metric,
    macro_f1,
    macro_f1_drop_interval,
    macro_f1_interval,
    relative_error,
    ssim,
)


def labels(count: int, *, seed: int, wrong: float = 0.2) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    truths = random.integers(0, 4, count)
    return np.where(random.random(count) < wrong, random.integers(0, 4, count), truths), truths


def test_the_most_probable_class_counts() -> None:
    assert correct(np.array([0.1, 0.7, 0.2]), np.array(1)) == 1.0
    assert correct(np.array([0.1, 0.7, 0.2]), np.array([0])) == 0.0
    assert correct(np.array(2), np.array(2)) == 1.0


def test_macro_f1_agrees_with_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    for seed in range(5):
        predictions, truths = labels(120, seed=seed)
        ours = macro_f1(predictions, truths, class_count=4)
        assert ours == pytest.approx(metrics.f1_score(truths, predictions, average="macro"))
        assert (
            confusion_matrix(predictions, truths, class_count=4) == metrics.confusion_matrix(truths, predictions)
        ).all()


def test_the_interval_of_macro_f1_agrees_with_a_plain_bootstrap() -> None:
    predictions, truths = labels(300, seed=1)
    random = np.random.default_rng(2)
    draws = []
    for _ in range(1500):
        index = random.integers(0, 300, 300)
        draws.append(macro_f1(predictions[index], truths[index], class_count=4))
    found = macro_f1_interval(predictions, truths, class_count=4, groups=None, generator=np.random.default_rng(3))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.006), pytest.approx(high, abs=0.006))


def test_the_loss_of_macro_f1_is_paired() -> None:
    predictions, truths = labels(300, seed=4)
    worse = predictions.copy()
    worse[::50] = (worse[::50] + 1) % 4
    same, lost = (
        macro_f1_drop_interval(
            predictions, other, truths, class_count=4, groups=None, generator=np.random.default_rng(5)
        )
        for other in (predictions, worse)
    )
    assert (same.low, same.high) == (0.0, 0.0)
    expected = macro_f1(predictions, truths, class_count=4) - macro_f1(worse, truths, class_count=4)
    assert lost.estimate == pytest.approx(expected)
    alone = macro_f1_interval(worse, truths, class_count=4, groups=None, generator=np.random.default_rng(6))
    assert lost.width < 0.7 * alone.width


def test_classes_out_of_range_are_a_bug_of_the_caller() -> None:
    with pytest.raises(ValueError, match="expected classes 0 to 1"):
        macro_f1([0, 2], [0, 1], class_count=2)
    with pytest.raises(ValueError, match="one length"):
        macro_f1([0], [0, 1], class_count=2)


def test_relative_error_and_correlation_have_their_closed_forms() -> None:
    truth = np.random.default_rng(7).normal(size=(1, 16, 16))
    assert relative_error(1.1 * truth, truth) == pytest.approx(0.1)
    assert relative_error(truth * 0, truth * 0) == 0.0
    assert correlation(3 * truth + 5, truth) == pytest.approx(1.0)
    assert correlation(-truth, truth) == pytest.approx(-1.0)
    assert correlation(np.ones_like(truth), truth) == 0.0
    with pytest.raises(ValueError, match="not 0 everywhere"):
        relative_error(truth, truth * 0)
    with pytest.raises(ValueError, match="one shape"):
        relative_error(truth, truth[0])


def test_ssim_agrees_with_a_loop_over_windows() -> None:
    random = np.random.default_rng(8)
    truth = random.uniform(size=(14, 17))
    prediction = truth + 0.2 * random.normal(size=truth.shape)
    span = float(np.ptp(truth))
    c1, c2 = (0.01 * span) ** 2, (0.03 * span) ** 2
    values = []
    for top in range(14 - 6):
        for left in range(17 - 6):
            p, t = (image[top : top + 7, left : left + 7].ravel() for image in (prediction, truth))
            cov = np.cov(p, t)
            values.append(
                (2 * p.mean() * t.mean() + c1)
                * (2 * cov[0, 1] + c2)
                / ((p.mean() ** 2 + t.mean() ** 2 + c1) * (cov[0, 0] + cov[1, 1] + c2))
            )
    assert ssim(prediction, truth) == pytest.approx(np.mean(values))
    assert ssim(truth[None], truth[None]) == pytest.approx(1.0)
    with pytest.raises(ValueError, match="at least 7 pixels"):
        ssim(truth[:3], truth[:3])


@pytest.mark.parametrize(("task", "name"), [("classification", "accuracy"), ("reconstruction", "relative_error")])
def test_every_task_has_a_headline(task: str, name: str) -> None:
    assert headline_metric(task).name == name
