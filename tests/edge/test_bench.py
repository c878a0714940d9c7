"""`physedge bench` on the tiny bundle: every engine, a record, a picture, and a baseline that it is held against."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import pytest
from typer.testing import CliRunner

from physedge.cli.app import build_app, main
from physedge.deploy.bench import bench_bundle, bench_cases
from physedge_calibrate.bench import run_bench
from physedge_runtime.bundle import Bundle
from physedge_runtime.errors import UsageError

ROUNDS = 8


def run(*words: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(build_app(), ["bench", *words], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def test_every_engine_precision_and_thread_count_is_timed_in_one_run(tiny_bundle: Bundle) -> None:
    report = bench_bundle(tiny_bundle, engines=["onnxruntime", "openvino"], threads=[1, 2], rounds=ROUNDS)
    assert [timing.name for timing in report.bench.timings] == [
        "onnxruntime fp32 1 thread",
        "onnxruntime fp32 2 threads",
        "openvino fp32 1 thread",
        "openvino fp32 2 threads",
    ]
    for timing, result in zip(report.bench.timings, report.results, strict=True):
        assert timing.samples == ROUNDS
        assert 0 < timing.least_ms <= timing.median_ms <= timing.most_ms
        assert result.largest_difference < 1e-5
        assert set(timing.percentiles_ms) == {"p50"}


def test_what_is_named_must_be_there(tiny_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="PE-ENGINE-003"):
        bench_cases(tiny_bundle, precisions=["int8"])
    with pytest.raises(UsageError, match="PE-ENGINE-001"):
        bench_bundle(tiny_bundle, engines=["abacus"], rounds=ROUNDS)


@pytest.fixture
def even_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call takes as long as every other, whatever the machine does: what is tested is what is made of times."""
    ticks = count(step=1_000_000)
    clock = partial(next, ticks)
    even = partial(run_bench, wall_clock=clock, cpu_clock=clock)
    monkeypatch.setattr("physedge.deploy.bench.run_bench", even)


@pytest.mark.usefixtures("even_clock")
def test_the_record_and_the_picture_are_written_and_serve_as_a_baseline(
    write_tiny: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, record = str(write_tiny()), tmp_path / "then.json"
    common = ["--engine", "onnxruntime", "--threads", "1", "--rounds", str(ROUNDS)]
    status, text, _ = run(bundle, *common, "--output", str(record))
    assert status == 0
    assert "onnxruntime fp32 1 thread" in text
    kept = json.loads(record.read_text("utf-8"))
    assert kept["bench"]["before"]["processors"] >= 1
    assert {"load_1min", "clock_mhz"} <= set(kept["bench"]["after"])
    assert kept["cases"][0]["largest_difference"] < 1e-5
    assert kept["bench"]["timings"][0]["cpu_median_ms"] == 3.0  # clocks are read four times a call, in nests
    assert record.with_suffix(".png").read_bytes().startswith(b"\x89PNG")

    # Far slower then: nothing to complain of now.
    (row,) = kept["bench"]["timings"]
    row["cpu_median_ms"] *= 100
    record.write_text(json.dumps(kept), "utf-8")
    now = ["--output", str(tmp_path / "now.json"), "--baseline", str(record)]
    assert run(bundle, *common, *now)[0] == 0

    # Far faster then: the run ends in status 1 and names the case.
    row["cpu_median_ms"] = row["cpu_median_error_ms"] = 1e-6
    record.write_text(json.dumps(kept), "utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["bench", bundle, *common, *now])
    assert ended.value.code == 1
    assert "PE-CALIB-010: slower than the baseline: onnxruntime fp32 1 thread" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "identifier"),
    [
        ({"kind": "something else"}, "PE-BENCH-001"),
        ({"bench": {}}, "PE-BENCH-001"),
        ({"device": {"processor": "an abacus", "cores": 10}}, "PE-BENCH-002"),
    ],
)
def test_a_file_that_is_no_baseline_of_this_device_is_refused(
    tiny_bundle: Bundle, tmp_path: Path, change: dict[str, object], identifier: str
) -> None:
    report = bench_bundle(tiny_bundle, engines=["onnxruntime"], threads=[1], rounds=ROUNDS)
    path = tmp_path / "then.json"
    path.write_text(json.dumps(report.to_dict() | change, default=str), "utf-8")
    with pytest.raises(UsageError, match=identifier):
        report.slower_than(path)
    with pytest.raises(UsageError, match="PE-BENCH-001"):
        report.slower_than(tmp_path / "none.json")


def test_a_profile_shows_operators_and_modules_side_by_side(
    write_tiny: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "tiny.bench.json"
    engines = ["--engine", "onnxruntime", "--engine", "openvino", "--threads", "1"]
    status, text, _ = run(str(write_tiny()), *engines, "--rounds", str(ROUNDS), "--profile", "--output", str(record))
    assert status == 0
    assert "ms by kind of work" in text and "ms by module" in text
    assert "openvino fp32: operators explain" in text
    found = json.loads((tmp_path / "tiny.profile.json").read_text("utf-8"))["profiles"]
    assert [one["title"] for one in found] == ["onnxruntime fp32", "openvino fp32"]
    for one in found:
        assert one["sum_ms"] == pytest.approx(sum(row["ms"] for row in one["operators"]))
        assert one["sum_ms"] == pytest.approx(sum(one["by_module_ms"].values()))
    assert (tmp_path / "tiny.profile.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit) as ended:
        main(["bench", str(write_tiny()), "--engine", "fake", "--threads", "1", "--rounds", "3", "--profile"])
    assert ended.value.code == 2
    assert "PE-BENCH-004" in capsys.readouterr().err
