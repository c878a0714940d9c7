"""One evaluation in this process, over two processes and over a local Ray cluster: the same figures."""

from __future__ import annotations

import dataclasses
import hashlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from disks import write_disks
from numpy.typing import NDArray
from tiny_network import SIDE_PX, tiny_graph, tiny_spec

from physedge_calibrate import spread as spread_module
from physedge_calibrate.dataset import LabelledFile, read_labelled
from physedge_calibrate.evaluate_segmentation import SegmentationEvaluation
from physedge_calibrate.samples import OF_THE_SET
from physedge_calibrate.spread import LEAST_SAMPLES, EngineJob, Spread, evaluate_spread, kept_workers, merged
from physedge_runtime.engines import EngineRequest
from physedge_runtime.errors import EnvironmentFault

COUNT = 26


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledFile]:
    return read_labelled(write_disks(tmp_path_factory.mktemp("spread"), COUNT))


@pytest.fixture(scope="module")
def job() -> EngineJob:
    graph = tiny_graph()
    request = EngineRequest(
        graph=graph,
        graph_sha256=hashlib.sha256(graph).hexdigest(),
        input_shape=(1, SIDE_PX, SIDE_PX, 3),
        outputs={"probability": (1, 1, SIDE_PX, SIDE_PX)},
        threads=1,
    )
    return EngineJob(engine="onnxruntime", request=request, spec=tiny_spec())


@pytest.fixture(scope="module")
def alone(job: EngineJob, samples: list[LabelledFile]) -> tuple[SegmentationEvaluation, str]:
    found, fingerprint = evaluate_spread(job, samples)
    assert isinstance(found, SegmentationEvaluation)
    return found, fingerprint


def assert_same(found: object, alone: tuple[SegmentationEvaluation, str]) -> None:
    evaluation, fingerprint = found  # type: ignore[misc]
    expected, name = alone
    assert fingerprint == name
    assert (evaluation.names, evaluation.groups, evaluation.strata) == (
        expected.names,
        expected.groups,
        expected.strata,
    )
    for part in ("grid", "native"):
        for column in dataclasses.fields(expected.grid):
            values = [getattr(getattr(one, part), column.name) for one in (evaluation, expected)]
            np.testing.assert_array_equal(*values)
    np.testing.assert_array_equal(evaluation.probabilities, expected.probabilities)
    assert evaluation.found_from == expected.found_from


def _pools(monkeypatch: pytest.MonkeyPatch, *, start_s: float) -> list[int]:
    """Sets what a process is said to cost, and lists the pools that are made from now on."""
    made: list[int] = []
    pool = spread_module._pool

    def counted(processes: int) -> ProcessPoolExecutor:
        made.append(processes)
        return pool(processes)

    monkeypatch.setattr(spread_module, "_START_S", start_s)
    monkeypatch.setattr(spread_module, "_pool", counted)
    return made


def test_what_takes_less_than_a_process_to_start_stays_here(
    job: EngineJob,
    samples: list[LabelledFile],
    alone: tuple[SegmentationEvaluation, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = _pools(monkeypatch, start_s=1e6)
    steps: list[int] = []
    assert_same(evaluate_spread(job, samples, spread=Spread(processes=2), advance=lambda: steps.append(1)), alone)
    assert (made, len(steps)) == ([], COUNT)
    few = samples[: 2 * LEAST_SAMPLES - 1]  # too few for two
    assert len(evaluate_spread(job, few, spread=Spread(processes=2))[0]) == len(few)


def test_two_processes_give_what_one_gives_in_the_order_of_the_samples(
    job: EngineJob,
    samples: list[LabelledFile],
    alone: tuple[SegmentationEvaluation, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = _pools(monkeypatch, start_s=0.0)
    steps: list[int] = []
    found = evaluate_spread(job, samples, spread=Spread(processes=2), advance=lambda: steps.append(1))
    assert_same(found, alone)
    assert (made, len(steps)) == ([2], COUNT)


def test_kept_processes_answer_for_one_graph_after_the_other(
    job: EngineJob,
    samples: list[LabelledFile],
    alone: tuple[SegmentationEvaluation, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a process has open from the evaluation before is not taken for another graph, nor for other options."""
    made = _pools(monkeypatch, start_s=0.0)
    others = [
        replace(job, request=replace(job.request, graph=tiny_graph(bias=-3.1))),
        replace(job, request=replace(job.request, options={"optimise": False})),
    ]
    expected = [evaluate_spread(other, samples) for other in others]
    with kept_workers():
        found = [evaluate_spread(one, samples, spread=Spread(processes=2)) for one in (job, *others, job)]
    assert made == [2]
    for pair in zip(found, (alone, *expected, alone), strict=True):
        assert_same(*pair)  # type: ignore[arg-type]
    assert found[0][0].scores("dice").mean() != found[1][0].scores("dice").mean()


@pytest.mark.slow  # Ray gives its own processes 15 s to start, which cores that others share may not do.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_local_ray_cluster_gives_the_same_and_reports_no_usage(
    job: EngineJob,
    samples: list[LabelledFile],
    alone: tuple[SegmentationEvaluation, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    found = evaluate_spread(job, samples, spread=Spread(ray="local"))
    assert_same(found, alone)
    from ray._common.usage import usage_lib

    assert not usage_lib.usage_stats_enabled()
    assert not ray.is_initialized()


def test_no_cluster_at_the_address_is_one_sentence(job: EngineJob, samples: list[LabelledFile]) -> None:
    pytest.importorskip("ray")
    with pytest.raises(EnvironmentFault, match=r"PE-RAY-001: no Ray cluster at 127\.0\.0\.1:9"):
        evaluate_spread(job, samples, spread=Spread(ray="127.0.0.1:9"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An evaluation with every kind of field."""

    names: tuple[str, ...]
    classes: tuple[str, ...] = field(metadata={OF_THE_SET: True})
    scores_of: NDArray[np.float64]
    outputs: dict[str, NDArray[np.float64]]
    limit: float

    def __len__(self) -> int:
        return len(self.names)


def row(*names: str, limit: float = 0.5) -> Row:
    numbers = np.arange(len(names), dtype=np.float64)
    return Row(names=names, classes=("a", "b"), scores_of=numbers, outputs={"more": numbers[:, None]}, limit=limit)


def test_columns_are_joined_and_what_belongs_to_the_set_stays() -> None:
    found = merged([row("x", "y"), row("z", "w")])  # type: ignore[list-item]
    assert found.names == ("x", "y", "z", "w")
    assert found.classes == ("a", "b")  # type: ignore[attr-defined]
    assert found.outputs["more"].shape == (4, 1)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="disagree about limit"):
        merged([row("x"), row("y", limit=0.4)])  # type: ignore[list-item]


def test_processes_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="at least one process"):
        Spread(processes=0)
